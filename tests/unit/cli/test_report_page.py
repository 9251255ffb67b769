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
from csv2kafka.proof import Checked, Proof, receipt
from csv2kafka.verify.contradictions import SHAPING
from tests.unit.cli.conftest import COMPLETE, Command
from tests.unit.cli.test_run import narrate
from tests.unit.test_proof import PROOF, TO_FILE

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


def test_every_field_of_a_check() -> None:
    checked = Checked(source="holds", destination="holds")
    assert_named(list(json.loads(checked.to_json())), section("`verify --check-proof --json`"))


@pytest.mark.parametrize("proof", [PROOF, TO_FILE])
def test_every_field_of_a_receipt(proof: Proof) -> None:
    said = json.loads(receipt(proof.as_dict()))
    text = section("The receipt: `verify --proof FILE`")
    inside = [*said["source"], *said["source"]["objects"][0], *said["destination"], *(said["checkpoint"] or {})]
    assert_named([*said, *inside], text)
    first_column = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {name for cell in first_column for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(said), "the page names a field that is not there any more"


def test_every_setting_of_a_receipt() -> None:
    assert_named(list(SHAPING), section("The receipt: `verify --proof FILE`"))
