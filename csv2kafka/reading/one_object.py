"""One object's rows: two tasks that read and cut ahead, threads that encode, and what keeps them within bounds.

A chunk that framing cut in the wrong place shows itself as ``Records.unfinished``. Blocks are kept until the
rows before them are confirmed, so framing can go back to the last whole record and go on exactly.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from typing import Generic, TypeVar

from attrs import Factory, define, evolve, field

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.decoding import decode, is_untouched
from csv2kafka.errors import BadRow, ConfigError, DataError, Doubt
from csv2kafka.framing import Framer
from csv2kafka.model import Block, Broken, Chunk, Position, Records, SourceObject
from csv2kafka.reading.encoded import Encoded, Reading

T = TypeVar("T")
Work = Callable[[Chunk, Records], tuple[Records, T]]
_Ready = tuple[Chunk, "asyncio.Future[tuple[Records, T]]"] | BaseException | None

READ_AHEAD_BLOCKS = 2  # of 1–4 MiB each
ENCODE_AHEAD_BYTES = 28 << 20  # about what is being encoded, or encoded and waiting: text, and rows if they are kept
COLUMNS_BYTES = 12  # of numbers that Records have for each row
LINGER_SECONDS = 0.1  # what is less than a chunk waits for more: for so long nothing comes from a slow source


@define(eq=False)
class ObjectRows(Generic[T]):
    """One object's rows. Two tasks feed the threads; ``run`` takes their results in order.

    What goes wrong in a task travels in its queue, behind everything that came before it.
    """

    reading: Reading
    obj: SourceObject
    index: int
    passed: int
    work: Work[T]
    size: ChunkSize
    workers: Executor
    _blocks: asyncio.Queue[Block | BaseException | None] = field(factory=lambda: asyncio.Queue(READ_AHEAD_BLOCKS))
    # The text that is not yet confirmed by a chunk that ended on a boundary: that of chunks, then of whole blocks,
    # whose beginning may be in the last chunk.
    _cut: deque[Block] = Factory(deque)
    _uncut: deque[Block] = Factory(deque)
    # (decoded offset, own bytes read so far) at the end of each block of a compressed object that may lie ahead.
    _read: deque[tuple[int, int]] = Factory(deque)
    _ended: bool = False
    _failed: BaseException | None = None  # what ended the blocks; framing anew meets it again

    async def run(self, position: Position, header: tuple[str, ...] | None) -> AsyncGenerator[Encoded[T], None]:
        prefetch = asyncio.create_task(self._prefetch(position))
        try:
            for exact in (False, True):
                item: Encoded[T] | None = None
                async with aclosing(self._encoded(self._framer(header, exact=exact), position)) as encoded:
                    async for item in encoded:
                        yield item
                        position = item.end()
                if item is None or not item.records.unfinished:
                    return
                # A count was wrong: go on exactly from the last whole record (``Framer``, ``exact``).
                header = item.chunk.header
            raise _never_finished(position)
        finally:
            await _cancelled(prefetch)

    def _framer(self, header: tuple[str, ...] | None, *, exact: bool) -> Framer:
        reading = self.reading
        return Framer(
            reading.dialect,
            self.index,
            uri=self.obj.uri,
            header=header,
            columns=reading.columns,
            has_header=reading.has_header,
            max_record=reading.max_record,
            chunk_bytes=self.size.bytes,
            exact=exact,
        )

    async def _prefetch(self, position: Position) -> None:
        try:
            raw = self.reading.source.read(self.obj, position.resume.offset)
            blocks = decode(
                raw, encoding=self.reading.encoding, start=position.resume, offset=position.offset, uri=self.obj.uri
            )
            async with aclosing(blocks):
                async for block in blocks:
                    await self._blocks.put(block)
            await self._blocks.put(None)
        except BaseException as error:
            await self._blocks.put(_told(error, self.obj))

    async def _encoded(self, framer: Framer, position: Position) -> AsyncGenerator[Encoded[T], None]:
        """Chunks in order, up to the first that was cut in the wrong place, or the object's end."""
        ready: asyncio.Queue[_Ready[T]] = asyncio.Queue()  # bounded by ``room``
        room = _ByteBound(ENCODE_AHEAD_BYTES)
        feeder = asyncio.create_task(self._feed(framer, position.offset, ready, room))
        try:
            while (entry := await ready.get()) is not None:
                if isinstance(entry, BaseException):
                    raise entry
                chunk, future = entry
                records, extra = await future
                before = evolve(
                    position,
                    offset=chunk.offset,
                    resume=chunk.resume_at(chunk.offset),
                    line=position.line + chunk.lines_before,
                )
                item = Encoded(
                    obj=self.obj,
                    chunk=chunk,
                    records=records,
                    extra=extra,
                    before=before,
                    passed=self.passed,
                    read=self._read_for(chunk),
                )
                position = item.end()
                yield item
                self._forget(position.offset)
                room.give(_held(chunk, records))
                if records.unfinished:
                    return
                if chunk.broken is not None:
                    raise _broken_off(chunk.broken, position)
        finally:
            await _cancelled(feeder)
            while not ready.empty():
                if isinstance(left := ready.get_nowait(), tuple) and not left[1].cancel():
                    left[1].exception()  # done and not wanted: say that it was seen

    async def _feed(self, framer: Framer, offset: int, ready: asyncio.Queue[_Ready[T]], room: _ByteBound) -> None:
        """Hand each chunk to a thread, as far as there is room."""
        loop = asyncio.get_running_loop()
        try:
            async with aclosing(self._chunks(framer, offset)) as chunks:
                async for chunk in chunks:
                    size = self.size.memory(len(chunk.data))
                    await room.take(size)
                    encoded = loop.run_in_executor(self.workers, self._encode, chunk)
                    encoded.add_done_callback(partial(room.leave, chunk, size))
                    ready.put_nowait((chunk, encoded))
            ready.put_nowait(None)
        except BaseException as error:
            ready.put_nowait(_told(error, self.obj))

    async def _chunks(self, framer: Framer, offset: int) -> AsyncGenerator[Chunk, None]:
        """What is kept from ``offset`` on, framed, then what comes. What ends the blocks is raised behind all of it."""
        loop = asyncio.get_running_loop()
        again = self._text_from(offset)
        linger: float | None = None
        failed: Exception | None = None
        while failed is None:
            try:
                async with asyncio.timeout(linger) as waiting:
                    block = again.popleft() if again else await self._next_block()
            except Exception as error:
                failed = None if waiting.expired() else error
                frame, linger = framer.flush, None
            else:
                frame = framer.finish if block is None else partial(framer.feed, block, more=True)
                linger = LINGER_SECONDS
            for chunk in await loop.run_in_executor(None, frame):
                self._keep(chunk)
                yield chunk
                if chunk.broken is not None or chunk.last:
                    return
        raise failed

    def _keep(self, chunk: Chunk) -> None:
        """The chunk's text instead of the blocks it was cut from: the same bytes are not kept twice."""
        end = chunk.offset + len(chunk.data)
        if chunk.data:
            self._cut.append(Block(data=chunk.data, offset=chunk.offset, resume=chunk.resume_at(chunk.offset)))
        while self._uncut and self._uncut[0].offset + len(self._uncut[0].data) <= end:
            self._uncut.popleft()

    def _text_from(self, offset: int) -> deque[Block]:
        """All that is kept from there on, to be framed again."""
        kept = deque[Block]()
        for block in (*self._cut, *self._uncut):
            if block.offset + len(block.data) > offset:
                kept.append(_from(block, offset))
                offset = block.offset + len(block.data)
        self._cut.clear()
        self._uncut = deque(kept)
        return kept

    async def _next_block(self) -> Block | None:
        if self._ended:
            return None
        block = self._failed or await self._blocks.get()
        if isinstance(block, BaseException):
            self._failed = block
            raise block
        if block is None:
            self._ended = True
        else:
            self._uncut.append(block)
            if block.read:
                self._read.append((block.offset + len(block.data), block.read))
        return block

    def _read_for(self, chunk: Chunk) -> int:
        """Of a compressed object, its own bytes that were read for the chunk."""
        while len(self._read) > 1 and self._read[1][0] <= chunk.offset + len(chunk.data):
            self._read.popleft()
        return self._read[0][1] if self._read else 0

    def _encode(self, chunk: Chunk) -> tuple[Records, T]:
        try:
            converted = not is_untouched(self.reading.encoding)
            records = self.reading.encoder.encode(evolve(chunk, converted=True) if converted else chunk)
        except (ConfigError, DataError) as error:  # of the header; the encoder does not know whose
            raise type(error)(f"{self.obj.uri}: {error.message}", hint=error.hint) from error
        self.size.encoded(chunk, records)
        return self.work(chunk, records)

    def _forget(self, offset: int) -> None:
        while self._cut and self._cut[0].offset + len(self._cut[0].data) <= offset:
            self._cut.popleft()


class _ByteBound:
    """A bound on bytes under way. One entry is always let in, so that a chunk above the bound can pass."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = asyncio.Event()

    async def take(self, count: int) -> None:
        while self._used and self._used + count > self._limit:
            self._changed.clear()
            await self._changed.wait()
        self._used += count

    def give(self, count: int) -> None:
        self._used -= count
        self._changed.set()

    def leave(self, chunk: Chunk, taken: int, encoded: asyncio.Future[tuple[Records, T]]) -> None:
        """A chunk is encoded: of what was taken for it, only what is held from now on stays taken."""
        if not encoded.cancelled() and encoded.exception() is None:
            self.give(taken - _held(chunk, encoded.result()[0]))


def _held(chunk: Chunk, records: Records) -> int:
    return len(chunk.data) + records.size + len(records) * COLUMNS_BYTES


def _broken_off(broken: Broken, position: Position) -> BadRow:
    return BadRow(
        broken.reason,
        source=position.uri,
        row=position.rows + 1,
        line=position.line,
        byte=position.offset,
        hint=broken.hint,
    )


def _never_finished(position: Position) -> DataError:
    return DataError(
        f"{position.uri}: row {position.rows + 1} (line {position.line}, byte {position.offset}): "
        "the encoder says that it is cut off, and framing that it is whole",
        hint="one of the two is wrong: see that the encoder has the dialect of the pipeline",
    )


def _from(block: Block, offset: int) -> Block:
    skip = max(0, offset - block.offset)
    if not skip:
        return block
    return Block(data=block.data[skip:], offset=block.offset + skip, resume=block.resume.forward(skip))


def _told(error: BaseException, obj: SourceObject) -> BaseException:
    """What ended a task, for whoever waits for its results. Raised anew if it is only that nobody waits any more."""
    if isinstance(error, GeneratorExit):
        raise error
    if not isinstance(error, asyncio.CancelledError):
        return error
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise error
    return Doubt(f"{obj.uri}: reading was cancelled from within", hint="see what the source does with its own tasks")


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End the task. A caller that is cancelled while it waits here is: gather does not hide that."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
