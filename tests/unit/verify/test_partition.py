"""A stretch of a partition, read back."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from csv2kafka.errors import StateContradiction
from csv2kafka.verify.partition import ReadBack, read_back
from tests.simulation.clock import simulate
from tests.simulation.job import DATA
from tests.unit.verify.conftest import Place


def offsets(back: ReadBack) -> list[int]:
    return [back.offset(row) for row in range(back.first, back.last)]


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (1, 9), (0, 8), (2, 4), (3, 6), (4, 5), (5, 5)])
def test_only_rows_within_it_are_given(place: Place, start: int, stop: int) -> None:
    """Also of batches that reach beyond it."""

    async def main() -> list[list[int]]:
        for _ in range(3):
            place.write([(None, b"x")] * 3)
        async with place.network.factory("reader")() as broker:
            batches = read_back(broker, DATA, start, stop, offsets)
            async with aclosing(batches):
                return [each async for each in batches]

    found = simulate(main())
    assert [offset for batch in found for offset in batch] == list(range(start, stop))
    assert all(found)


def test_whose_a_batch_is(place: Place) -> None:
    async def main() -> list[bool]:
        for producer in (7, 8, 9):
            place.write([(None, b"x")], producer_id=producer)
        async with place.network.factory("reader")() as broker:
            batches = read_back(broker, DATA, 0, 3, lambda back: (back.own,), own=frozenset({7, 9}))
            async with aclosing(batches):
                return [own async for (own,) in batches]

    assert simulate(main()) == [True, False, True]


def test_an_error_comes_in_its_place(place: Place) -> None:
    """Behind what was read before it; nothing is left behind."""
    seen = []

    def work(back: ReadBack) -> int:
        if back.base_offset == 1:
            raise StateContradiction("damaged")
        return back.base_offset

    async def main() -> None:
        for _ in range(9):
            place.write([(None, b"x")])
        async with place.network.factory("reader")() as broker:
            batches = read_back(broker, DATA, 0, 9, work)
            async with aclosing(batches):
                async for each in batches:
                    seen.append(each)  # noqa: PERF401 (also what came before the error)

    with pytest.raises(StateContradiction, match="damaged"):
        simulate(main())
    assert seen == [0]
