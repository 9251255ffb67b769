"""The readers of CloudWatch's filter patterns and alarms that tests of deploy/ use."""

from __future__ import annotations

import pytest

from tests.deploy.alarms import raises
from tests.deploy.filter_patterns import Line, matches, values

LINE = {"event": "failed", "exit_code": 76, "error": {"name": "TakenOver"}, "Rows": 0, "complete": True}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ('{ $.event = "failed" }', True),
        ('{ $.event = "finished" }', False),
        ('{ $.event = "fai*" }', True),
        ('{ $.event = "f?iled" }', False),
        ('{ $.event != "finished" }', True),
        ('{ $.nothing != "finished" }', False),
        ("{ $.exit_code = 76 }", True),
        ("{ $.exit_code = 7 }", False),
        ("{ $.complete = 1 }", False),
        ('{ $.exit_code = "76" }', False),
        ("{ $.exit_code >= 76 }", True),
        ("{ $.exit_code < 76 }", False),
        ("{ $.event > 1 }", False),
        ("{ $.Rows = * }", True),
        ("{ $.BadRows = * }", False),
        ('{ $.error.name = "TakenOver" }', True),
        ('{$.event="failed"&&$.exit_code=76}', True),
        ('{ $.event = "failed" && ($.exit_code = 1 || $.exit_code = 76) }', True),
        ('{ $.event = "failed" && ($.exit_code = 1 || $.exit_code = 2) }', False),
        ('{ $.exit_code = 1 && $.event = "x" || $.exit_code = 76 }', True),
        ('{ $.exit_code = 76 || $.exit_code = 1 && $.event = "x" }', True),
    ],
)
def test_a_pattern(pattern: str, found: bool) -> None:
    assert matches(pattern, LINE) == found


@pytest.mark.parametrize(
    "pattern",
    [
        "failed",
        "{ $.event = failed }",
        '{ $.event = "failed" ',
        '{ $.event = "failed" } more',
        "{ $.event IS NULL }",
        '{ ($.event = "failed" }',
        '{ $.event < "failed" }',
        "{ $.event = $.error }",
    ],
)
def test_what_it_cannot_read_it_refuses(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is not read here|expected|ends in the middle|behind its end"):
        matches(pattern, LINE)


@pytest.mark.parametrize(("value", "sent"), [("$.Rows", [5.0, 0.0]), ("1", [1.0, 1.0, 1.0]), ("$.event", [])])
def test_what_a_filter_sends(value: str, sent: list[float]) -> None:
    transformation = {"name": "x", "namespace": "y", "value": value}
    lines: list[Line] = [{"event": "metrics", "Rows": 5}, {"event": "metrics", "Rows": 0}, {"event": "metrics"}, {}]
    assert values({"pattern": '{ $.event = "metrics" }', "metric_transformation": [transformation]}, lines) == sent


@pytest.mark.parametrize(
    ("changed", "minutes", "raised"),
    [
        ({}, [[13.0], [1.0], [13.0]], True),
        ({}, [[13.0], [1.0], [1.0, 13.0]], True),
        ({}, [[13.0], [13.0], [12.0], [12.0]], False),
        ({}, [[13.0], [], [13.0]], True),
        ({}, [[13.0], [], []], False),
        ({"treat_missing_data": "breaching"}, [[13.0], [], []], True),
        ({"statistic": "Sum"}, [[7.0, 7.0], [7.0, 7.0]], True),
        ({"statistic": "Minimum"}, [[1.0, 13.0], [1.0, 13.0]], False),
        ({"comparison_operator": "LessThanOrEqualToThreshold"}, [[12.0], [0.0]], True),
    ],
)
def test_an_alarm(changed: dict[str, object], minutes: list[list[float]], raised: bool) -> None:
    alarm = {
        "alarm_name": "lease",
        "period": 60,
        "statistic": "Maximum",
        "comparison_operator": "GreaterThanThreshold",
        "threshold": 12,
        "datapoints_to_alarm": 2,
        "evaluation_periods": 3,
        "treat_missing_data": "notBreaching",
    }
    assert raises({**alarm, **changed}, minutes) == raised
