"""The files that are measured."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import data

ODD = (",", '"', "\n", "☕")


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_usual_file_has_a_row_for_each_id_and_odd_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BLOCK_ROWS", 300)
    made = data.write_usual(tmp_path / "usual.csv", 1000)
    header, *rows = rows_of(made.path)
    assert tuple(header) == made.header == data.HEADER
    assert [row[0] for row in rows] == [str(number) for number in range(1000)]
    assert all(any(odd in row[2] for row in rows) for odd in ODD)
    assert {len(row) for row in rows} == {10}
    assert made.bytes == made.path.stat().st_size
    assert 95 < made.bytes / made.rows < 110


def test_the_table_of_the_kernel_is_that_of_the_usual_file(tmp_path: Path) -> None:
    made = data.write_usual(tmp_path / "usual.csv", 100)
    assert made.path.read_bytes().split(b"\n", 1)[1] == data.table(100, "\n")


@pytest.mark.parametrize(("columns", "row_bytes"), [(1, 10), (2, 20), (10, 1000), (500, 5000), (10, 100_000)])
def test_wide_files_are_as_wide_as_asked(tmp_path: Path, columns: int, row_bytes: int) -> None:
    made = data.write_wide(tmp_path / "wide.csv", 50, columns, row_bytes)
    _, *rows = rows_of(made.path)
    assert len(rows) == 50
    assert {len(row) for row in rows} == {columns}
    if columns > 1:
        body = made.bytes - len(",".join(made.header)) - 1
        assert 0.6 * row_bytes < body / 50 < 1.2 * row_bytes
