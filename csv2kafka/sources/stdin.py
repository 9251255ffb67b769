"""Standard input: read once, front to back. Nothing of it can be had again, so a run over it cannot be resumed."""

from __future__ import annotations

import asyncio
import os
import stat
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from csv2kafka.errors import ConfigError, Unreachable
from csv2kafka.model import SourceObject

BLOCK_BYTES = 1 << 20
LINGER_SECONDS = 0.1  # a block waits this long to fill: a pipe gives 64 KiB at a time, a slow one a line


class StdinSource:
    """``-``: one object of unknown size. Its version is new in each run, so that no other run takes it for its own.

    Waiting for input is done by the event loop alone, and the descriptor is left in the mode it came in (it may
    be shared with a terminal's other programs): a run that is cancelled while nothing comes leaves at once.
    """

    def __init__(self, *, fd: int = 0, unique: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self._fd = fd
        self._unique = unique
        self._begun = False

    @property
    def uri(self) -> str:
        return "-"

    async def objects(self) -> AsyncIterator[SourceObject]:
        """The one object, ``-``. ConfigError if standard input is closed or a directory."""
        try:
            if stat.S_ISDIR(os.fstat(self._fd).st_mode):
                raise ConfigError("SOURCE '-': standard input is a directory")
            os.read(self._fd, 0)
        except OSError as error:
            raise ConfigError("SOURCE '-': standard input is closed, or cannot be read") from error
        yield SourceObject(uri="-", size=None, version=f"run={self._unique()}", replayable=False)

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        """All of it, from the beginning, once. Unreachable when asked for again, or from anywhere else."""
        if self._begun or offset:
            raise Unreachable(
                "standard input cannot be read again",
                hint="put it into a file and give that as SOURCE: such a run goes on where it stopped",
            )
        self._begun = True
        async with aclosing(self._waited() if await self._can_wait() else self._plain()) as blocks:
            async for block in blocks:
                yield block

    async def confirm(self, obj: SourceObject) -> None:
        """What was read is what it was: nothing can change it."""

    async def _plain(self) -> AsyncGenerator[bytes, None]:
        """From a file or a device that always has an answer, in a thread."""
        while block := await asyncio.to_thread(os.read, self._fd, BLOCK_BYTES):
            yield block

    async def _waited(self) -> AsyncGenerator[bytes, None]:
        """From a pipe, socket or terminal: a block is full, or has waited LINGER_SECONDS, or is the last."""
        loop = asyncio.get_running_loop()
        block = bytearray()
        ended = False
        while not ended:
            await self._readable(None)
            until = loop.time() + LINGER_SECONDS
            while not ended and len(block) < BLOCK_BYTES:
                piece = os.read(self._fd, BLOCK_BYTES - len(block))  # there is something: it does not block
                block += piece
                ended = not piece
                if not ended and not await self._readable(until - loop.time()):
                    break
            if block:
                yield bytes(block)
                block.clear()

    async def _can_wait(self) -> bool:
        try:
            await self._readable(0)
        except PermissionError:  # epoll's answer for a regular file
            return False
        return True

    async def _readable(self, seconds: float | None) -> bool:
        """Whether there is something to read (or the end) within the time; None: however long it takes."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._fd, ready.set)
        try:
            async with asyncio.timeout(seconds):
                await ready.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._fd)
        return True
