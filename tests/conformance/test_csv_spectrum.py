"""The same cases as test_encoder.py, through the installed command: from files into files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_encoder import CASES, SPECTRUM, SPECTRUM_CASES
from tests.faults.installed import Installed


def rows_of(case: Path, directory: Path) -> list[Any]:
    """Each row in order: an object, or the reason why it was refused."""
    output = directory / "rows.jsonl"
    arguments = ["run", str(case), "-o", str(output), "--on-bad-row", "dead-letter", "--progress", "none"]
    run = Installed(arguments, directory).start()
    assert run.end() == 0, run.output
    rows: list[Any] = [json.loads(line) for line in output.read_bytes().splitlines()]
    refused = Path(f"{output}.bad")
    for line in refused.read_bytes().splitlines() if refused.exists() else []:
        bad = json.loads(line)
        rows.insert(bad["row"] - 1, bad["reason"])
    return rows


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_our_own(case: Path, tmp_path: Path) -> None:
    rows = rows_of(case, tmp_path)
    expected = json.loads(case.with_suffix(".json").read_text())
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row.startswith(wanted) if isinstance(wanted, str) else row == wanted


@pytest.mark.skipif(not SPECTRUM_CASES, reason="no ../shared/conformance/csv-spectrum beside this checkout")
@pytest.mark.parametrize("case", SPECTRUM_CASES, ids=lambda path: path.stem)
def test_csv_spectrum(case: Path, tmp_path: Path) -> None:
    expected = json.loads((SPECTRUM / "json" / f"{case.stem}.json").read_text())
    if case.stem == "location_coordinates":  # its JSON has another number than its CSV, and is no list
        expected = [{**expected, "Contact Phone Number": "2095257564"}]
    assert rows_of(case, tmp_path) == expected
