"""``csv2kafka verify`` around the comparison: its result on standard output, 0 or 65."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from attrs import evolve

from csv2kafka.config import RunConfig
from csv2kafka.errors import TopicMissing
from csv2kafka.model import Event, Progressed, Started
from csv2kafka.model.report import VerifyReport
from tests.unit.cli.conftest import Command

EQUAL = VerifyReport(rows=1200, bad_rows=2, besides=3, behind=1, first_offset=3, last_offset=1209, seconds=2.0)
ARGUMENTS = ["verify", "a.csv", "-b", "host:9092", "-t", "orders"]
Verify = Callable[[VerifyReport | Exception], None]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Verify:
    """What the comparison finds, or raises."""

    def finds(what: VerifyReport | Exception) -> None:
        async def verify(config: RunConfig, *, on_event: Callable[[Event], None]) -> VerifyReport:
            on_event(Started(job=config.job or "", run_id="", objects=1, total_bytes=100))
            on_event(Progressed(rows=10, bad_rows=0, source_bytes=50, uri="/a.csv"))
            if isinstance(what, Exception):
                raise what
            return what

        module: Any = ModuleType("csv2kafka.verify")
        module.verify = verify
        monkeypatch.setitem(sys.modules, "csv2kafka.verify", module)

    return finds


def test_equal_is_0(command: Command, found: Verify) -> None:
    found(EQUAL)
    outcome = command(*ARGUMENTS)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "equal: every row is there once, in order (1,200 rows compared in 2.0 s, 2 bad rows left out)",
        "offsets 3 to 1,209",
        "records of others: 3 between them, 1 behind them",
    ]


@pytest.mark.parametrize("progress", ["rich", "plain", "json", "none"])
def test_a_difference_is_65(command: Command, found: Verify, progress: str) -> None:
    found(evolve(EQUAL, difference="row 7 (line 9, byte 120), offset 10: expected a, found b"))
    outcome = command(*ARGUMENTS, "--progress", progress)
    assert outcome.code == 65
    assert outcome.out.splitlines()[:2] == [
        "NOT equal (1,200 rows compared in 2.0 s, 2 bad rows left out)",
        "row 7 (line 9, byte 120), offset 10: expected a, found b",
    ]


def test_as_json(command: Command, found: Verify) -> None:
    found(EQUAL)
    said = json.loads(command(*ARGUMENTS, "--json").out)
    assert (said["equal"], said["rows"], said["difference"]) == (True, 1200, None)


def test_an_error_is_told_as_anywhere(command: Command, found: Verify) -> None:
    found(TopicMissing("no topic orders", hint="make it"))
    outcome = command(*ARGUMENTS)
    assert (outcome.code, outcome.out) == (2, "")
    assert "no topic orders" in outcome.err
    told = command(*ARGUMENTS, "--progress", "json").err.splitlines()
    assert json.loads(told[-1])["error"] == "TopicMissing"
