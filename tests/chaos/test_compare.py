"""The campaign's own judgement: it must see what it is there to see."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.chaos.compare import Outcome, compare

ROWS = [b"row %d" % number for number in range(200)]


def found(**counts: int) -> Outcome:
    return Outcome(rows=len(ROWS), **counts)


def test_the_rows_in_order_are_exact() -> None:
    assert compare(ROWS, ROWS) == found()
    assert compare(ROWS, ROWS).exact
    assert compare([], []).exact


@pytest.mark.parametrize("at", [0, 1, 100, 199])
def test_a_lost_row_is_seen(at: int) -> None:
    assert compare(ROWS, ROWS[:at] + ROWS[at + 1 :]) == found(lost=1)


@pytest.mark.parametrize("behind", [0, 1, 50, 200])
def test_a_doubled_row_is_seen_wherever_its_copy_stands(behind: int) -> None:
    rows = [*ROWS]
    rows.insert(behind, ROWS[0])
    assert compare(ROWS, rows) == found(doubled=1)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 199), (100, 103)])
def test_rows_that_changed_places_are_seen(first: int, second: int) -> None:
    rows = [*ROWS]
    rows[first], rows[second] = rows[second], rows[first]
    outcome = compare(ROWS, rows)
    assert outcome == found(disordered=1 if second - first == 1 else 2)


def test_a_block_that_moved_counts_row_by_row() -> None:
    assert compare(ROWS, [*ROWS[:10], *ROWS[20:30], *ROWS[10:20], *ROWS[30:]]) == found(disordered=10)


def test_a_block_that_was_sent_twice_is_doubled_and_not_disordered() -> None:
    assert compare(ROWS, [*ROWS[:50], *ROWS[30:]]) == found(doubled=20)


def test_records_of_others_and_changed_values_are_seen() -> None:
    assert compare(ROWS, [*ROWS, b"other", None]) == found(foreign=2)
    assert compare(ROWS, [b"changed", *ROWS[1:]]) == found(lost=1, foreign=1)


def test_equal_rows_are_counted_each() -> None:
    rows = [b"same", b"same", b"other", b"same"]
    assert compare(rows, rows).exact
    assert compare(rows, rows[1:]) == Outcome(rows=4, lost=1, disordered=1)  # the second of them stands for the third
    assert compare(rows, [*rows, b"same"]) == Outcome(rows=4, doubled=1)


def test_a_job_that_is_not_at_its_end_has_lost_nothing_behind_its_last_row() -> None:
    assert compare(ROWS, ROWS[:20], complete=False) == Outcome(rows=20)
    assert compare(ROWS, [*ROWS[:10], *ROWS[11:20]], complete=False) == Outcome(rows=20, lost=1)
    assert compare(ROWS, [], complete=False) == Outcome()


def test_any_damage_at_all_is_seen() -> None:
    draw = random.Random(1)
    for _ in range(500):
        rows = damaged(draw, ROWS)
        assert compare(ROWS, rows).exact == (rows == ROWS)


def damaged(draw: random.Random, rows: Sequence[bytes]) -> list[bytes]:
    changed = [*rows]
    for _ in range(draw.randint(0, 2)):
        at, to = draw.randrange(len(changed)), draw.randrange(len(changed))
        match draw.choice(("lose", "double", "move")):
            case "lose":
                del changed[at]
            case "double":
                changed.insert(to, changed[at])
            case _:
                changed.insert(to, changed.pop(at))
    return changed
