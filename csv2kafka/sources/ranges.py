"""An object read by ranges over HTTP: several on the way at once, given out in order, taken up again where they broke.

What opens a range is the source's (``Opening``); when to ask for which, and what to do about a cut connection, is
here. Memory: at most ``parallel`` ranges are held or on their way (with the defaults 4 × 8 MiB), and one block that
is being put together (4 MiB).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from attrs import Factory, define, field, frozen

from csv2kafka.errors import Csv2KafkaError, Doubt

MIB = 1 << 20
RANGE_BYTES = 8 * MIB
PARALLEL = 4
ATTEMPTS = 5  # with the pauses below some 3 s; then the run begins a new session, with longer ones
STALL_SECONDS = 15.0
BLOCK_BYTES = 2 * MIB  # a block is given out when there is so much of it
LONGEST_BLOCK_BYTES = 4 * MIB
SMALLEST_REST_BYTES = 1 * MIB  # less than this is not left behind for a block of its own
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0

Read = Callable[[int], Awaitable[bytes]]
"""At most so many of the next bytes, as soon as there are any; nothing at the body's end."""
Opening = Callable[[int, int], AbstractAsyncContextManager[Read]]
"""Asks for the bytes from the first to the last (excluded). Raises errors of this package: of what is ``retryable``
the rest is asked for again."""


@frozen(kw_only=True)
class RangeSettings:
    """``parallel`` ranges of ``range_bytes`` at once. ``stall_seconds`` without a byte, and the connection is given
    up. ``attempts``: how often in a row a range is asked for without getting a byte of it. ``draw``: 0 to 1, shortens
    pauses by up to a half."""

    draw: Callable[[], float]
    range_bytes: int = RANGE_BYTES
    parallel: int = PARALLEL
    attempts: int = ATTEMPTS
    stall_seconds: float = STALL_SECONDS


async def read_ranges(
    opening: Opening, first: int, end: int, *, of: str, settings: RangeSettings
) -> AsyncGenerator[bytes, None]:
    """The bytes from ``first`` to ``end`` (excluded), in blocks of 1 to 4 MiB (the last of a range may be less).

    ``of``: what is read, for errors. Blocks of the first range are given out while it is still coming. What stops a
    range is raised behind everything that came before it: Doubt after all attempts, or what ``opening`` raised.
    """
    starts = iter(range(first, end, settings.range_bytes))
    ahead: deque[_Range] = deque()
    try:
        while True:
            while len(ahead) < settings.parallel and (start := next(starts, None)) is not None:
                last = min(start + settings.range_bytes, end)
                ahead.append(_Range(opening=opening, at=start, end=last, of=of, settings=settings))
            if not ahead:
                return
            while (block := await ahead[0].blocks.get()) is not None:
                if isinstance(block, BaseException):
                    raise block
                yield block
                del block  # or it would be held while the next is awaited
            ahead.popleft()
    finally:
        for pending in ahead:
            pending.task.cancel()
        await asyncio.gather(*(pending.task for pending in ahead), return_exceptions=True)


@define(eq=False, kw_only=True)
class _Range:
    """One range: a task that puts its blocks, then None or what stopped it, in a queue that its length bounds."""

    opening: Opening
    at: int  # the next byte that has not come
    end: int
    of: str
    settings: RangeSettings
    blocks: asyncio.Queue[bytes | BaseException | None] = Factory(asyncio.Queue)
    task: asyncio.Task[None] = field(init=False)
    _pieces: list[bytes] = Factory(list)
    _held: int = 0

    def __attrs_post_init__(self) -> None:
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self._insist()
        except Exception as error:
            self._give_out()
            self.blocks.put_nowait(error)
        else:
            self.blocks.put_nowait(None)

    async def _insist(self) -> None:
        """Ask again for what is missing, after pauses that grow until something comes."""
        attempt, pause = 0, FIRST_PAUSE_SECONDS
        while self.at < self.end:
            before = self.at
            try:
                await self._take()
            except Csv2KafkaError as error:
                attempt, pause = (0, FIRST_PAUSE_SECONDS) if self.at > before else (attempt + 1, pause)
                if not error.retryable or attempt >= self.settings.attempts:
                    raise
                await asyncio.sleep(pause * (1 + self.settings.draw()) / 2)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _take(self) -> None:
        """One connection's worth, to the end of the range or Doubt."""
        loop, seconds = asyncio.get_running_loop(), self.settings.stall_seconds
        try:
            async with asyncio.timeout(seconds) as patience, self.opening(self.at, self.end) as read:
                rescheduled = 0.0
                while self.at < self.end:
                    if (now := loop.time()) - rescheduled > seconds / 8:  # each time would cost as much as reading
                        patience.reschedule(now + seconds)
                        rescheduled = now
                    piece = await read(min(LONGEST_BLOCK_BYTES - self._held, self.end - self.at))
                    if not piece:
                        raise Doubt(f"{self.of}: the answer ended at byte {self.at}, {self.end - self.at} bytes early")
                    self._add(piece)
        except TimeoutError as error:
            raise Doubt(f"{self.of}: it stalled: nothing came for {seconds:g} s behind byte {self.at}") from error

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        self.at += len(piece)
        left = self.end - self.at
        if not left or self._held == LONGEST_BLOCK_BYTES or (self._held >= BLOCK_BYTES and left >= SMALLEST_REST_BYTES):
            self._give_out()

    def _give_out(self) -> None:
        if self._pieces:
            self.blocks.put_nowait(b"".join(self._pieces))
        self._pieces.clear()
        self._held = 0
