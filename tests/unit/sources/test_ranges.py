"""Ranges in order: blocks, how far ahead, attempts and pauses, on a clock that only moves when all wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt
from csv2kafka.sources.ranges import (
    BLOCK_BYTES,
    LONGEST_BLOCK_BYTES,
    MIB,
    RangeSettings,
    Read,
    read_ranges,
)
from csv2kafka.testing import run_virtual

CONTENT = bytes(range(256)) * 4096 * 20 + b"the end"
SETTINGS = RangeSettings(draw=lambda: 1.0)


class Server:
    """Serves CONTENT in pieces; ``fault(opening number, byte)`` is asked before each piece."""

    def __init__(self, piece: int = 100_000, fault: Callable[[int, int], Csv2KafkaError | None] | None = None) -> None:
        self.piece, self.fault = piece, fault or (lambda opening, byte: None)
        self.asked: list[tuple[int, int]] = []
        self.times: list[float] = []
        self.served = 0
        self.open = 0

    def __call__(self, first: int, end: int) -> AbstractAsyncContextManager[Read]:
        return self._opened(first, end)

    @asynccontextmanager
    async def _opened(self, first: int, end: int) -> AsyncIterator[Read]:
        number = len(self.asked)
        self.asked.append((first, end))
        self.times.append(asyncio.get_running_loop().time())
        at = first
        self.open += 1

        async def read(most: int) -> bytes:
            nonlocal at
            await asyncio.sleep(0)
            if error := self.fault(number, at):
                raise error
            piece = CONTENT[at : min(at + most, at + self.piece, end)]
            at += len(piece)
            self.served += len(piece)
            return piece

        try:
            yield read
        finally:
            self.open -= 1


async def all_of(server: Server, first: int = 0, end: int = len(CONTENT), settings: RangeSettings = SETTINGS) -> bytes:
    blocks = [block async for block in read_ranges(server, first, end, of="reading it", settings=settings)]
    assert all(0 < len(block) <= LONGEST_BLOCK_BYTES for block in blocks)
    assert server.open == 0
    return b"".join(blocks)


@given(st.integers(0, 3 * MIB), st.integers(0, 3 * MIB), st.integers(1, 4), st.integers(50_000, 2 * MIB))
def test_any_stretch_comes_whole_and_in_order(first: int, length: int, parallel: int, piece: int) -> None:
    settings = RangeSettings(draw=lambda: 1.0, range_bytes=MIB // 2, parallel=parallel)
    server = Server(piece)
    assert run_virtual(all_of(server, first, first + length, settings)) == CONTENT[first : first + length]
    assert server.served == length


def test_blocks_are_long_enough() -> None:
    async def main() -> None:
        blocks = [len(b) async for b in read_ranges(Server(), 0, len(CONTENT), of="it", settings=SETTINGS)]
        assert all(size >= MIB for size in blocks[:-1])
        assert blocks[0] < BLOCK_BYTES + 200_000, "it does not wait for its range"

    run_virtual(main())


def test_what_is_ahead_is_bounded() -> None:
    async def main() -> None:
        server, settings = Server(), RangeSettings(draw=lambda: 1.0, range_bytes=2 * MIB, parallel=3)
        given_out = 0
        async for block in read_ranges(server, 0, len(CONTENT), of="it", settings=settings):
            await asyncio.sleep(1)  # all that may come has come
            assert server.served - given_out <= 3 * 2 * MIB
            given_out += len(block)

    run_virtual(main())


def test_leaving_closes_what_is_open() -> None:
    async def main() -> None:
        server = Server()
        reading = read_ranges(server, 0, len(CONTENT), of="it", settings=SETTINGS)
        await anext(reading)
        assert server.open
        await reading.aclose()
        assert server.open == 0

    run_virtual(main())


def test_attempts_without_progress_have_growing_pauses_and_an_end() -> None:
    async def main() -> None:
        server = Server(fault=lambda number, byte: Doubt("it was cut") if byte == 500_000 else None)
        with pytest.raises(Doubt, match="it was cut"):
            await all_of(server, settings=RangeSettings(draw=lambda: 1.0, parallel=1, attempts=5))
        assert server.asked == [(0, 8 * MIB)] + [(500_000, 8 * MIB)] * 5
        pauses = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
        assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2])

    run_virtual(main())


def test_progress_gives_all_attempts_again() -> None:
    server = Server(
        fault=lambda number, byte: Doubt("it was cut") if number % 2 == 0 and byte % 900_000 == 0 and byte else None
    )
    settings = RangeSettings(draw=lambda: 0.0, parallel=1, attempts=2)
    assert run_virtual(all_of(server, settings=settings)) == CONTENT
    assert server.served == len(CONTENT)


def test_what_cannot_pass_is_raised_at_once_behind_what_came_before() -> None:
    async def main() -> None:
        server = Server(fault=lambda number, byte: ConfigError("no") if byte == 8 * MIB + 700_000 else None)
        blocks: list[bytes] = []

        async def read() -> None:
            async for block in read_ranges(server, 0, len(CONTENT), of="it", settings=SETTINGS):
                blocks.append(block)  # noqa: PERF401 (what came before the error counts, too)

        with pytest.raises(ConfigError):
            await read()
        assert b"".join(blocks) == CONTENT[: 8 * MIB + 700_000]
        assert len(server.asked) == 3

    run_virtual(main())


def test_a_stall_is_given_up_after_its_time_and_slowness_is_none() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seconds = 10.0

        def slow(first: int, end: int) -> AbstractAsyncContextManager[Read]:
            @asynccontextmanager
            async def opened() -> AsyncIterator[Read]:
                at = first

                async def read(most: int) -> bytes:
                    nonlocal at
                    await asyncio.sleep(8)
                    if at == 300_000 and stalls:
                        stalls.pop()
                        await asyncio.sleep(1000)
                    piece = CONTENT[at : min(at + 100_000, end)]
                    at += len(piece)
                    return piece

                yield read

            return opened()

        stalls = [1]
        settings = RangeSettings(draw=lambda: 1.0, stall_seconds=seconds)
        start = loop.time()
        blocks = [b async for b in read_ranges(slow, 0, MIB, of="it", settings=settings)]
        assert b"".join(blocks) == CONTENT[:MIB]
        assert 11 * 8 < loop.time() - start < 11 * 8 + 8 + seconds + 1

    run_virtual(main())
