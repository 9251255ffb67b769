"""The Embedded Metric Format's specification as assertions: its published JSON schema, and what its text adds."""

from __future__ import annotations

import json
import re
from typing import Any

_UNITS = re.compile(
    "Seconds|Microseconds|Milliseconds|((Kilo|Mega|Giga|Tera)?(bytes|bits)|Bytes|Bits|Count)(/Second)?|Percent|None"
)
_LONGEST_LINE = 1_000_000  # bytes, as of any event of CloudWatch Logs


def assert_emf(line: str) -> dict[str, Any]:
    """The document of a line, which is one by the specification."""
    assert len(line.encode()) < _LONGEST_LINE
    document: dict[str, Any] = json.loads(line, parse_constant=_no_json)
    metadata = document["_aws"]
    assert isinstance(metadata["Timestamp"], int)
    assert len(str(metadata["Timestamp"])) == 13, "milliseconds"
    for directive in metadata["CloudWatchMetrics"]:
        assert isinstance(directive["Namespace"], str)
        assert re.fullmatch(r"[0-9A-Za-z.\-_/#:]{1,255}", directive["Namespace"])
        _assert_dimensions(document, directive["Dimensions"])
        assert 0 < len(directive["Metrics"]) <= 100
        for definition in directive["Metrics"]:
            _assert_metric(document, definition)
        names = [definition["Name"] for definition in directive["Metrics"]]
        assert len(names) == len(set(names))
    return document


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _assert_dimensions(document: dict[str, Any], sets: Any) -> None:
    assert isinstance(sets, list)
    assert sets
    for names in sets:
        assert len(names) <= 30
        for name in names:
            assert 1 <= len(name) <= 250
            assert isinstance(document[name], str)
            assert 1 <= len(document[name]) <= 1024


def _assert_metric(document: dict[str, Any], definition: dict[str, Any]) -> None:
    assert definition.keys() <= {"Name", "Unit", "StorageResolution"}
    assert 1 <= len(definition["Name"]) <= 1024
    assert _UNITS.fullmatch(definition.get("Unit", "None"))
    assert definition.get("StorageResolution", 60) in (1, 60)
    target = document[definition["Name"]]
    values = target if isinstance(target, list) else [target]
    assert 0 < len(values) <= 100
    assert all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
