"""What becomes of a campaign's results: the table, the document, the exit code's reasons."""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos import results
from tests.chaos.compare import Outcome
from tests.chaos.table import FAULTS
from tests.chaos.trial import Result

FOUND = [
    Result(fault="cut", seed=1, seconds=2.0, times=3, outcome=Outcome(rows=10), go_on=[0.5, 1.5], codes=[-9, 0]),
    Result(fault="cut", seed=2, seconds=2.0, times=1, kills=4, outcome=Outcome(rows=10, lost=2, doubled=1), codes=[0]),
    Result(fault="slow", seed=3, seconds=2.0, skipped="nothing is slow here"),
]


def test_the_table_counts_what_was_found() -> None:
    figures = results.summary(FOUND, [results.Made(seed=7, minutes=1.0, kernel="native")])
    table = results.table(figures)
    assert "| 4 | 4 | 2 | 1 | 0 | 1.0, 1.5 from the cut |" in table
    assert "not here: nothing is slow here" in table
    assert "| **4** | **4** | **2** | **1** | **0** |" in table
    assert figures["faults"]["cut"]["exit_codes"] == {"-9": 1, "0": 2}
    assert not FOUND[1].clean
    assert FOUND[0].clean


def test_the_document_gets_the_table_once(tmp_path: Path) -> None:
    document = tmp_path / "guarantees.md"
    document.write_text("# Promised\n\nbefore\n\n<!-- table -->\nold\n<!-- end of table -->\n\nbehind\n")
    figures = results.summary(FOUND, [results.Made(seed=7, minutes=1.0, kernel="native")])
    for _ in range(2):
        results.write_docs({"table": results.section(figures)}, document)
        text = document.read_text()
        assert text.count("| cut |") == 1
        assert "old" not in text
        assert text.startswith("# Promised\n\nbefore\n\n")
        assert text.endswith("\n\nbehind\n")
    results.write(figures, tmp_path / "figures.json")
    assert results.table(results.load(tmp_path / "figures.json")) == results.table(figures)


def test_campaigns_add_up(tmp_path: Path) -> None:
    made = results.Made(seed=7, minutes=1.0, kernel="native")
    whole = results.summary(FOUND, [made, made])
    for number, part in enumerate((FOUND[:1], FOUND[1:])):
        results.write(results.summary(part, [made]), tmp_path / f"{number}.json")
    found = results.load(tmp_path / "0.json", tmp_path / "1.json")
    assert json.dumps(found) == json.dumps(whole)


def test_every_fault_says_what_it_is() -> None:
    for name, fault in FAULTS.items():
        assert len(fault.about) > 20, name
        assert "|" not in fault.about, name


def test_the_page_has_the_figures() -> None:
    page = results.DOCUMENT.read_text()
    assert results.section(results.load(results.FIGURES)) in page
    assert results.recovery(results.load(results.RECOVERY)) in page


def test_the_command_of_a_campaign() -> None:
    made = results.Made(seed=7, minutes=1.5, kernel="native", only="cut,slow")
    assert made.command == 'make chaos CHAOS="--minutes 1.5 --seed 7 --only cut,slow"'
