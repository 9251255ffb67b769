"""What the benchmark takes for the right content of a partition, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks import content
from benchmarks.content import Difference, Hashes, Sends

TEXT = 'id,note\n1,plain\n2,"two\nlines"\n3,\n4,"a ""quote"", and comma"\n'
NOTES = ("plain", "two\nlines", "", 'a "quote", and comma')
ROWS = [{"id": str(number), "note": note} for number, note in enumerate(NOTES, 1)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(TEXT.encode())
    return path


def found(sends: Sends, values: list[bytes]) -> Hashes:
    hash_of = content.hash_of(sends, ("id", "note"), json.loads)
    return [hash_of(value) for value in values]


def problem(file: Path, sends: Sends, values: list[bytes]) -> str | None:
    return content.problem(list(content.expected(file, sends)), found(sends, values), sends)


def as_json(rows: Sequence[Mapping[str, object]]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def test_every_row_in_order_is_right(file: Path) -> None:
    assert problem(file, Sends.JSON, as_json(ROWS)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"note": "Plain"}, "not what the file has: the first at record 1"),
        ({"id": 1}, "not what the file has: the first at record 1"),
        ({"more": ""}, "not what the file has: the first at record 1"),
    ],
    ids=["another text", "a number", "another column"],
)
def test_a_row_that_differs_is_named(file: Path, change: dict[str, object], said: str) -> None:
    assert problem(file, Sends.JSON, as_json([{**ROWS[0], **change}, *ROWS[1:]])) == said


def test_columns_are_compared_by_name(file: Path) -> None:
    swapped = {"note": ROWS[0]["id"], "id": ROWS[0]["note"]}
    renamed = {"ID": ROWS[0]["id"], "note": ROWS[0]["note"]}
    for row in (swapped, renamed):
        assert problem(file, Sends.JSON, as_json([row, *ROWS[1:]])) is not None


def test_rows_out_of_order_are_told_from_other_rows(file: Path) -> None:
    assert problem(file, Sends.JSON, as_json([ROWS[1], ROWS[0], *ROWS[2:]])) == "not in order: the first at record 1"


def test_a_lost_row_and_a_doubled_one_are_seen(file: Path) -> None:
    assert problem(file, Sends.JSON, as_json(ROWS[:3])) == "3 records instead of 4"
    assert problem(file, Sends.JSON, as_json([*ROWS, ROWS[3]])) == "5 records instead of 4"


def test_null_counts_as_empty_only_for_those_who_write_it(file: Path) -> None:
    null: dict[str, object] = {"id": "3", "note": None}
    values = as_json([*ROWS[:2], null, ROWS[3]])
    assert problem(file, Sends.JSON_WITH_NULLS, values) is None
    assert problem(file, Sends.JSON, values) == "not what the file has: the first at record 3"


def test_what_is_no_json_object_differs(file: Path) -> None:
    assert problem(file, Sends.JSON, [b"[]", *as_json(ROWS[1:])]) is not None


def test_a_rows_own_bytes_are_all_of_it_without_its_line_end(file: Path) -> None:
    values = [b"1,plain", b'2,"two\nlines"', b"3,", b'4,"a ""quote"", and comma"']
    assert problem(file, Sends.ROWS, values) is None
    assert problem(file, Sends.ROWS, [values[0], b'2,"two', *values[2:]]) is not None


def test_lines_are_the_headers_too_and_cut_quoted_newlines(file: Path) -> None:
    lines = TEXT.encode().split(b"\n")[:-1]
    assert len(lines) == 6
    assert problem(file, Sends.LINES, lines) is None


def test_a_sample_has_only_lines_of_the_file_in_any_order(file: Path) -> None:
    line = b"1,plain"
    assert problem(file, Sends.SAMPLE, [line] * 6) is None
    assert problem(file, Sends.SAMPLE, [line] * 5) == "5 records instead of 6"
    assert problem(file, Sends.SAMPLE, [*[line] * 5, b"foreign"]) == "1 records that are no line of the file"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([1, 2, 3, 4], Difference(lost=0, doubled=0, in_order=True)),
        ([1, 2, 1, 2, 3, 4], Difference(lost=0, doubled=2, in_order=False)),
        ([1, 4], Difference(lost=2, doubled=0, in_order=False)),
        ([2, 1, 3, 4], Difference(lost=0, doubled=0, in_order=False)),
        ([1, 2, 2, 4], Difference(lost=1, doubled=1, in_order=False)),
    ],
    ids=["all right", "began again", "lost", "out of order", "lost and doubled"],
)
def test_what_a_kill_did(after: list[int], expected: Difference) -> None:
    assert content.difference([1, 2, 3, 4], after) == expected
