"""The way from a source to encoded rows, in order: read ahead, decode, frame, encode in threads.

Shared by the pipeline, verify and preview, which differ only in what they do with each chunk's rows.

    prefetch task          feeder task                     worker threads         whoever iterates
    source.read ─▶ decode ─▶ bounded queue ─▶ Framer.feed ─▶ work(chunk), several ─▶ results, in order

A chunk that framing cut in the wrong place shows itself as ``Records.unfinished``. Blocks are kept until the
rows before them are confirmed, so framing can go back to the last whole record and go on exactly.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Generic, TypeVar

from attrs import Factory, define, evolve, field, frozen

from csv2kafka import registry
from csv2kafka.chunk_size import ChunkSize
from csv2kafka.config import ReadConfig
from csv2kafka.decoding import decode
from csv2kafka.errors import BadRow, ConfigError, DataError, Doubt
from csv2kafka.framing import Framer
from csv2kafka.model import DEFAULT_MAX_RECORD, Block, Broken, Chunk, Dialect, Position, Records, SourceObject
from csv2kafka.protocols import Encoder, Source

T = TypeVar("T")
Work = Callable[[Chunk, Records], tuple[Records, T]]
_Ready = tuple[Chunk, "asyncio.Future[tuple[Records, T]]"] | BaseException | None

_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n|\Z)")

READ_AHEAD_BLOCKS = 2  # of 1–4 MiB each
ENCODE_AHEAD_BYTES = 28 << 20  # about what is being encoded, or encoded and waiting: text, and rows if they are kept
COLUMNS_BYTES = 12  # of numbers that Records have for each row
LINGER_SECONDS = 0.1  # what is less than a chunk waits for more: for so long nothing comes from a slow source
MOST_WORKERS = 4  # more would only wait: for their turn, or for the sink


@frozen(kw_only=True, eq=False)
class Reading:
    """How a source is read. ``columns`` gives names; ``max_record`` in bytes."""

    source: Source
    encoder: Encoder
    dialect: Dialect = Factory(Dialect)
    encoding: str = "utf-8"
    has_header: bool = True
    columns: tuple[str, ...] | None = None
    max_record: int = DEFAULT_MAX_RECORD

    @property
    def settings(self) -> dict[str, str]:
        """All of it that shapes the output, by name."""
        return {
            **self.encoder.settings,
            "delimiter": self.dialect.delimiter,
            "quote": self.dialect.quote or "",
            "escape": self.dialect.escape or "",
            "comment": self.dialect.comment or "",
            "encoding": self.encoding,
            "header": str(self.has_header).lower(),
            "columns": ",".join(self.columns or ()),
        }


def reading_from(config: ReadConfig) -> Reading:
    """The reading that a configuration asks for. Raises ConfigError."""
    return Reading(
        source=registry.build_source(config),
        encoder=registry.build_encoder(config),
        dialect=registry.build_dialect(config),
        encoding=config.encoding,
        has_header=config.header,
        columns=config.columns,
        max_record=config.max_record,
    )


async def close_source(source: Source) -> None:
    """Give back what the source holds, if it holds anything."""
    close = getattr(source, "close", None)
    if close is not None:
        await close()


def total_bytes(objects: Sequence[SourceObject]) -> int | None:
    """The own bytes of all objects; None if the size of one is not known."""
    sizes = [obj.size for obj in objects]
    return None if None in sizes else sum(size or 0 for size in sizes)


def bytes_before(objects: Sequence[SourceObject], position: Position) -> int:
    """Of all objects' own bytes, those before the position; where one is compressed, before where it is resumed."""
    return sum(obj.size or 0 for obj in objects[: position.object_index]) + position.resume.offset


@frozen(kw_only=True, eq=False)
class Encoded(Generic[T]):
    """A chunk's rows, in order. ``before``: the position of the chunk's first byte. ``extra``: what ``work`` made.
    ``passed``: the own bytes of all objects before this one; ``read``: of this one, if it is compressed."""

    obj: SourceObject
    chunk: Chunk
    records: Records
    extra: T
    before: Position
    passed: int
    read: int = 0

    def after(self, good: int) -> Position:
        """The position behind the good row ``good - 1`` and before any refused row that follows it."""
        if good == 0:
            return self.before
        records = self.records
        bad = sum(1 for row in records.bad if row.index < good)
        return self._at(records.row_ends[good - 1], records.row_lines[good - 1], good + bad)

    def end(self) -> Position:
        """The position behind the chunk."""
        return self._at(self.records.end, self.records.lines, len(self.records) + len(self.records.bad))

    def source_bytes(self) -> int:
        """Of all objects' own bytes, those before the chunk's end."""
        if self.chunk.last and not self.records.unfinished and self.obj.size is not None:
            return self.passed + self.obj.size
        return self.passed + max(self.end().resume.offset, self.read)

    def _at(self, offset: int, lines: int, rows: int) -> Position:
        decoded = self.chunk.offset + offset
        return evolve(
            self.before,
            offset=decoded,
            resume=self.chunk.resume_at(decoded),
            rows=self.before.rows + rows,
            line=self.before.line + lines,
        )

    def place_of(self, good: int, comment: str | None) -> tuple[int, int]:
        """(byte in the chunk's data, lines before it) where a good row begins; blank lines and comments passed."""
        data, mark = self.chunk.data, (comment or "").encode()
        bad_ends = [row.end for row in self.records.bad if row.index <= good]
        start = max([self.records.row_ends[good - 1] if good else 0, *bad_ends[-1:]])
        while data[start : start + 1] in (b"\r", b"\n") or (mark and data.startswith(mark, start)):
            skipped = _LINE.match(data, start)
            start = skipped.end() if skipped else len(data)
        return start, lines_in(data[:start])


def lines_in(text: bytes) -> int:
    """Line ends in the text: LF, CRLF or a lone CR, each one."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


async def read_rows(
    reading: Reading,
    objects: Sequence[SourceObject],
    start: Position,
    header: tuple[str, ...],
    work: Work[T],
    size: ChunkSize | None = None,
) -> AsyncGenerator[Encoded[T], None]:
    """Encode everything from ``start`` to the end of the last object.

    ``header``: the job's column names where ``start`` is not its very beginning. ``work`` runs in a thread on
    each chunk's records, and gives what is wanted of them and what it made; it may be called for a chunk that is
    then thrown away. ``size``: of chunks.
    Raises DataError where headers differ or framing cannot go on, after all rows before that place were given.
    """
    position = start
    passed = sum(obj.size or 0 for obj in objects[: start.object_index])
    size = size or ChunkSize()
    workers = ThreadPoolExecutor(min(_usable_cpus(), MOST_WORKERS), thread_name_prefix="csv2kafka-encode")
    try:
        for index in range(start.object_index, len(objects)):
            obj = objects[index]
            if index > start.object_index:
                position = Position(object_index=index, uri=obj.uri, version=obj.version, rows=position.rows)
            in_middle = position.offset > 0
            rows = _ObjectRows(
                reading=reading, obj=obj, index=index, passed=passed, work=work, size=size, workers=workers
            )
            async with aclosing(rows.run(position, header if in_middle else None)) as encoded:
                async for item in encoded:
                    if item.chunk.header and item.chunk.header != header:  # an object of 0 bytes has none
                        header = _agreed(header, item.chunk.header, objects, index)
                    position = item.end()
                    yield item
            passed += obj.size or 0
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def as_they_are(chunk: Chunk, records: Records) -> tuple[Records, None]:
    """Work for ``read_rows`` where the records themselves are wanted."""
    return records, None


def _usable_cpus() -> int:
    """Those this process may use: a container or ``taskset`` gives fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _agreed(
    known: tuple[str, ...], found: tuple[str, ...], objects: Sequence[SourceObject], index: int
) -> tuple[str, ...]:
    if not known:
        return found
    column = next((i for i, pair in enumerate(zip(known, found, strict=False)) if pair[0] != pair[1]), None)
    if column is None:
        what = f"expected {len(known)} columns, found {len(found)}"
    else:
        what = f"column {column + 1}: expected {known[column]!r}, found {found[column]!r}"
    first = f" of {objects[0].uri}" if index else " the job began with"
    raise DataError(
        f"{objects[index].uri}: its header differs from that{first}: {what}",
        hint="all objects of a job have the same columns; load this one as a job of its own",
    )


@define(eq=False)
class _ObjectRows(Generic[T]):
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
            records = self.reading.encoder.encode(chunk)
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
