"""What a reader found against what a CSV says: how many rows are lost, doubled, out of order, or nobody's."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

from attrs import frozen


@frozen(kw_only=True)
class Outcome:
    """Counts of rows. ``disordered``: the least number of rows that would have to move for the rest to be in order.
    ``foreign``: records that are no row of the CSV."""

    rows: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    foreign: int = 0

    @property
    def exact(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.foreign)

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            rows=self.rows + other.rows,
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            disordered=self.disordered + other.disordered,
            foreign=self.foreign + other.foreign,
        )


def compare(expected: Sequence[bytes], found: Iterable[bytes | None], *, complete: bool = True) -> Outcome:
    """Rows may be equal to each other. Of those found too often, the first count as the row itself.

    ``complete``: False if the job has not come to its end: rows behind the last that is there are not lost then.
    """
    waiting: dict[bytes, deque[int]] = defaultdict(deque)
    for place, value in enumerate(expected):
        waiting[value].append(place)
    places: list[int] = []
    doubled = foreign = 0
    for record in found:
        left = None if record is None else waiting.get(record)
        if left:
            places.append(left.popleft())
        elif left is None:
            foreign += 1
        else:
            doubled += 1
    wanted = len(expected) if complete else max(places, default=-1) + 1
    return Outcome(
        rows=wanted,
        lost=wanted - len(places),
        doubled=doubled,
        disordered=len(places) - _longest_in_order(places),
        foreign=foreign,
    )


def _longest_in_order(places: Sequence[int]) -> int:
    """Length of the longest subsequence that only grows (patience sorting)."""
    tails: list[int] = []  # of the best subsequence of each length, its last place
    for place in places:
        at = bisect_left(tails, place)
        tails[at : at + 1] = [place]
    return len(tails)
