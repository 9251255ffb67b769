"""docs/report.md names every field that programs are given."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from csv2kafka.cli import status
from csv2kafka.cli.report_file import facts
from csv2kafka.errors import ConfigError
from csv2kafka.model import JobStatus
from csv2kafka.model.report import VerifyReport
from tests.unit.cli.conftest import COMPLETE, Command
from tests.unit.cli.test_run import narrate

PAGE = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The page from that title to the next."""
    after = PAGE.split(f"## {title}")[1]
    return after.split("\n## ")[0]


def assert_named(fields: list[str], text: str) -> None:
    assert [name for name in fields if f"`{name}`" not in text] == []


def test_every_field_of_the_report() -> None:
    said = facts(COMPLETE, ConfigError("x"))
    text = section("The report")
    assert_named([*said, *said["error"], *said["sources"][0]], text)
    first_column = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {name for cell in first_column for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(said), "the page names a field that is not there any more"


def test_every_event(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSV2KAFKA_TOPIK", "x")
    command.work = narrate
    for line in command.run("--progress", "json").err.splitlines():
        assert_named(list(json.loads(line)), section("Progress"))
        assert f"| `{json.loads(line)['event']}` |" in section("Progress")


def test_every_field_of_status() -> None:
    assert_named(list(status.facts(JobStatus(checkpoint=COMPLETE.checkpoint))), section("`status --json`"))


def test_every_field_of_verify() -> None:
    report = VerifyReport(rows=1, bad_rows=0, besides=0, behind=0, first_offset=1, last_offset=1, seconds=1.0)
    assert_named(list(json.loads(report.to_json())), section("`verify --json`"))
