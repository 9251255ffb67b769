"""The reader of CloudWatch's filter patterns that tests of deploy/ use."""

from __future__ import annotations

import pytest

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
