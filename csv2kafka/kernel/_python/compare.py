"""Are two stretches of Records the same rows? Column by column, so that equal millions cost little."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import Buffer

from csv2kafka.model import Records


def equal_rows(a: Records, a_first: int, b: Records, b_first: int, count: int) -> int:
    """How many of ``count`` rows, from ``a_first`` and ``b_first`` on, have equal keys and values, up to the first
    that differs. A record without a key equals only one without."""
    if (a.keys is None) != (b.keys is None):
        return 0
    if _columns_equal(a, a_first, b, b_first, count):
        return count
    pairs = zip(a.rows(a_first, a_first + count), b.rows(b_first, b_first + count), strict=True)
    return next((row for row, (left, right) in enumerate(pairs) if left != right), count)


def _columns_equal(a: Records, a_first: int, b: Records, b_first: int, count: int) -> bool:
    if not _column_equal(a.values, a.value_ends, a_first, b.values, b.value_ends, b_first, count):
        return False
    if a.keys is None or b.keys is None or a.key_ends is None or b.key_ends is None:
        return True
    return _column_equal(a.keys, a.key_ends, a_first, b.keys, b.key_ends, b_first, count)


def _column_equal(
    a: Buffer, a_ends: Sequence[int], a_first: int, b: Buffer, b_ends: Sequence[int], b_first: int, count: int
) -> bool:
    a_start = a_ends[a_first - 1] if a_first else 0
    b_start = b_ends[b_first - 1] if b_first else 0
    a_stops, b_stops = a_ends[a_first : a_first + count], b_ends[b_first : b_first + count]
    if not count or a_stops[-1] - a_start != b_stops[-1] - b_start:
        return not count
    if memoryview(a)[a_start : a_stops[-1]] != memoryview(b)[b_start : b_stops[-1]]:
        return False
    return [end - a_start for end in a_stops] == [end - b_start for end in b_stops]
