"""``csv2kafka verify`` around the comparison: its result on standard output, 0 or 65."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
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
Verify = Callable[[VerifyReport | BaseException], None]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Verify:
    """What the comparison finds, or raises."""

    def finds(what: VerifyReport | BaseException) -> None:
        async def verify(config: RunConfig, *, on_event: Callable[[Event], None]) -> VerifyReport:
            on_event(Started(job=config.job or "", run_id="", objects=1, total_bytes=100))
            on_event(Progressed(rows=10, bad_rows=0, source_bytes=50, uri="/a.csv"))
            if isinstance(what, BaseException):
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
    found(TopicMissing("no topic orders", hint="--create-topic makes it"))
    outcome = command(*ARGUMENTS)
    assert (outcome.code, outcome.out) == (2, "")
    assert "no topic orders" in outcome.err
    assert "create-topic" not in outcome.err  # verify makes nothing
    told = command(*ARGUMENTS, "--progress", "json").err.splitlines()
    assert json.loads(told[-1])["error"] == "TopicMissing"


def test_the_command_line_of_the_run_is_taken(command: Command, found: Verify, tmp_path: Path) -> None:
    found(EQUAL)
    report = tmp_path / "report.json"
    more = ["--create-topic", "--restart", "--on-bad-row", "dead-letter", "--dead-letter-topic", "bad"]
    more += [
        "--checkpoint-interval",
        "50ms",
        "--checkpoint-rows",
        "5",
        "--connect-timeout",
        "3",
        "--give-up-after",
        "9",
    ]
    more += ["--on-foreign", "resend", "--compression", "lz4", "--completion-topic", "done", "--report", str(report)]
    assert command(*ARGUMENTS, *more).code == 0
    assert not report.exists()
    shown = command("verify", "--help").out
    assert "--on-foreign" not in shown
    assert "--delivery" in shown


def test_a_plug_ins_destination_cannot_be_verified(command: Command) -> None:
    outcome = command("verify", "a.csv", "-o", "nats://host/subject")
    assert (outcome.code, outcome.out) == (2, "")
    assert "this destination cannot be verified, found 'nats://host/subject'" in outcome.err


def test_stopped_it_begins_anew(command: Command, found: Verify) -> None:
    found(asyncio.CancelledError())
    outcome = command(*ARGUMENTS)
    assert outcome.code == 75
    assert "the next one begins anew" in outcome.err
    assert "go on" not in outcome.err
