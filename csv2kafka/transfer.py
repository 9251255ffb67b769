"""The work of one session: rows in order into the sink, a commit every so often, a stop when asked.

The running checkpoint is what would be true if everything written so far were durable; it is handed to the
sink at a commit and never saved before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Literal

from attrs import Factory, define, evolve, field, frozen

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.errors import BadRow, SourceChanged, StateContradiction, Stopped
from csv2kafka.holding import Holding
from csv2kafka.kernel import digest, equal_rows
from csv2kafka.model import (
    Checkpoint,
    Chunk,
    Committed,
    Completion,
    Counts,
    DeadLetter,
    Event,
    Payload,
    Position,
    Progressed,
    Records,
    RowRefused,
    SourceObject,
    Target,
)
from csv2kafka.protocols import Job, SinkSession
from csv2kafka.reading import Encoded, Reading, bytes_before, read_rows

EVENT_SOURCES = 1000

OnBadRow = Literal["fail", "skip", "dead-letter"]


@frozen(kw_only=True, eq=False)
class _Packed:
    """A chunk in the sink's wire form: payloads, the hash of each one's rows, rows that fit in none."""

    payloads: list[tuple[Payload, int]]
    too_large: list[tuple[int, str]]


@frozen(kw_only=True, eq=False)
class _Refused:
    """A row that is not written. ``index``: good rows of the chunk before it."""

    index: int
    row: DeadLetter


@define(kw_only=True, eq=False)
class Transfer:
    """One session's work. ``stop`` ends it after a commit; ``checkpoint`` is the last that is durable."""

    session: SinkSession
    holding: Holding | None
    job: Job
    reading: Reading
    objects: Sequence[SourceObject]
    checkpoint_interval: float
    checkpoint_rows: int | None
    on_bad_row: OnBadRow
    stop: asyncio.Event
    emit: Callable[[Event], None]
    now: Callable[[], datetime]
    checkpoint: Checkpoint = field(init=False)
    _running: Checkpoint = field(init=False)
    _standing: _Standing | None = None
    _first_write: float | None = None  # loop time of the first write since the last commit
    _unconfirmed: list[SourceObject] = Factory(list)  # read from since the last commit
    _chunk_size: ChunkSize = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.checkpoint = self._running = evolve(self.session.resume_from, run_id=self.job.run_id)
        self._chunk_size = ChunkSize(self.session.packer.limit)

    async def run(self) -> Checkpoint:
        """To the end of the source; gives the complete checkpoint.

        Raises Stopped after a commit when asked to stop, BadRow and other errors of the input after a commit
        of everything before them, and what the session raises as it is.
        """
        start = self.checkpoint
        rows = read_rows(self.reading, self.objects, start.position, start.header, self._pack, self._chunk_size)
        self._standing = _Standing(self.session.standing(), self.job.on_foreign)
        async with aclosing(rows):
            while (item := await self._next(rows)) is not None:
                await self._write(item)
        await self._commit_if_due(force=True)
        await self._commit(complete=True)
        return self.checkpoint

    async def _next(self, rows: AsyncIterator[Encoded[_Packed]]) -> Encoded[_Packed] | None:
        """The next chunk, None at the end. Commits while it waits, as the interval says."""
        step = asyncio.ensure_future(_step(rows))
        stop = asyncio.ensure_future(self.stop.wait())
        try:
            while not (step.done() or stop.done()):
                await asyncio.wait({step, stop}, timeout=self._until_due(), return_when=asyncio.FIRST_COMPLETED)
                if not (step.done() or stop.done()):
                    await self._commit_if_due()
            if not stop.done():
                return step.result()
        except SourceChanged:
            raise  # what was read since the last commit may be of either version
        except Exception as error:
            if step.done() and not step.cancelled() and step.exception() is error:
                await self._commit_if_due(force=True)
            raise
        finally:
            stop.cancel()
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        raise await self._stopped()

    async def _stopped(self) -> Stopped:
        """Asked to stop: what is on the way is committed."""
        await self._commit_if_due(force=True)
        return Stopped(
            f"stopped before the end: {self.checkpoint.counts.rows:,} rows are committed",
            hint="run the same command again to go on from there",
        )

    def _pack(self, chunk: Chunk, records: Records) -> tuple[Records, _Packed]:
        """In a worker thread: the rows that will be written, in payloads of at most ``checkpoint_rows``.

        Of the records only the places are kept, unless rows that stand already are still to be compared with them.
        """
        stop = records.bad[0].index if records.bad and self.on_bad_row == "fail" else len(records)
        payloads: list[tuple[Payload, int]] = []
        too_large: list[tuple[int, str]] = []
        step = self.checkpoint_rows or max(stop, 1)
        for first in range(0, stop, step):
            packed = self.session.packer.pack(records, first, min(first + step, stop))
            payloads += [(p, digest(records, p.first, p.last)) for p in packed.payloads]
            too_large += packed.too_large
        kept = records.places() if self._standing is None else records
        return kept, _Packed(payloads=payloads, too_large=too_large)

    async def _write(self, item: Encoded[_Packed]) -> None:
        self._chunk_size.packed(item.chunk, sum(len(payload.body) for payload, _ in item.extra.payloads))
        if item.obj not in self._unconfirmed[-1:]:
            self._unconfirmed.append(item.obj)
        refused = self._refused(item)
        if refused and self.on_bad_row == "fail":
            payloads = [entry for entry in item.extra.payloads if entry[0].last <= refused[0].index]
        else:
            payloads = item.extra.payloads
        for payload, value in payloads:
            behind = [row for row in refused if row.index < payload.last]
            del refused[: len(behind)]
            position = item.after(payload.last)
            await self._commit_if_due(coming=payload.last - payload.first)
            await self._write_payload(item, evolve(payload, after=None if behind else position))
            await self._write_refused(behind, position)
            self._advance(item, position, payload.last - payload.first, value, len(behind))
            await self._commit_if_due()
            if self.stop.is_set():
                raise await self._stopped()
        if refused and self.on_bad_row == "fail":
            await self._commit_if_due(force=True)
            raise _failed(refused[0].row, item.chunk.header)
        await self._write_refused(refused, item.end())
        self._advance(item, item.end(), 0, 0, len(refused))
        self._tell(item)
        await self._commit_if_due()

    async def _write_payload(self, item: Encoded[_Packed], payload: Payload) -> None:
        records = item.records
        stood = await self._standing.match(records, payload.first, payload.last) if self._standing else 0
        if self._standing and self._standing.ended:
            self._standing = None
        if stood == payload.last - payload.first:
            return
        self._wrote()
        if not stood:
            await self.session.write(payload)
            return
        loop = asyncio.get_running_loop()
        again = await loop.run_in_executor(None, self.session.packer.pack, records, payload.first + stood, payload.last)
        if again.too_large:  # a row can compress worse alone than behind others
            index, reason = again.too_large[0]
            raise StateContradiction(
                f"{item.obj.uri}: the row behind row {item.after(index).rows} fitted in one batch with rows that stand "
                f"in the sink already, and does not without them: {reason}",
                hint="allow larger batches there (Kafka: the topic's max.message.bytes), and run again",
            )
        for rest in again.payloads:
            await self.session.write(evolve(rest, after=payload.after if rest.last == payload.last else None))

    async def _write_refused(self, refused: Sequence[_Refused], position: Position) -> None:
        for each in refused:
            self.emit(RowRefused(row=each.row))
        if not refused or self.on_bad_row != "dead-letter":
            return
        self._wrote()
        pack = partial(self.session.packer.pack_dead_letters, [each.row for each in refused])
        payloads = await asyncio.get_running_loop().run_in_executor(None, pack)
        for payload in payloads:
            await self.session.write(evolve(payload, after=position if payload is payloads[-1] else None))

    def _refused(self, item: Encoded[_Packed]) -> list[_Refused]:
        """All rows of the chunk that are not written, by their order in it."""
        data, before = item.chunk.data, item.before
        found = [(bad.start, bad.end, bad.line, bad.index, bad.reason, True) for bad in item.records.bad]
        for index, reason in item.extra.too_large:
            start, line = item.place_of(index, self.reading.dialect.comment)
            end = start + len(data[start : item.records.row_ends[index]].rstrip(b"\r\n"))
            found.append((start, end, line, index, reason, False))
        found.sort()
        refused: list[_Refused] = []
        not_good = 0  # rows before this one that ``index`` does not count
        for start, end, line, index, reason, bad in found:
            row = DeadLetter(
                value=data[start:end],
                source=item.obj.uri,
                row=before.rows + index + not_good + 1,
                line=before.line + line,
                byte=item.chunk.offset + start,
                reason=reason,
            )
            refused.append(_Refused(index=index, row=row))
            not_good += bad
        return refused

    def _advance(self, item: Encoded[_Packed], position: Position, rows: int, value: int, bad: int) -> None:
        running = self._running
        if position != running.position and self._first_write is None:
            self._wrote()
        self._running = evolve(
            running,
            position=position,
            header=item.chunk.header or running.header,
            counts=Counts(
                rows=running.counts.rows + rows,
                bad_rows=running.counts.bad_rows + bad,
                bytes=running.counts.bytes + _bytes_between(running.position, position),
            ),
            content_hash=running.content_hash.extend(value, rows),
        )

    def _tell(self, item: Encoded[_Packed]) -> None:
        counts = self._running.counts
        self.emit(
            Progressed(rows=counts.rows, bad_rows=counts.bad_rows, source_bytes=item.source_bytes(), uri=item.obj.uri)
        )

    def _wrote(self) -> None:
        if self._first_write is None:
            self._first_write = asyncio.get_running_loop().time()

    def _until_due(self) -> float | None:
        if self._first_write is None:
            return None
        return max(0.0, self._first_write + self.checkpoint_interval - asyncio.get_running_loop().time())

    async def _commit_if_due(self, *, force: bool = False, coming: int = 0) -> None:
        """Commit what is written, if the interval says so, or ``coming`` rows more would be too many."""
        if self._first_write is None:
            return
        rows = self._running.counts.rows - self.checkpoint.counts.rows
        full = self.checkpoint_rows is not None and max(rows + coming, rows + 1) > self.checkpoint_rows
        if force or full or self._until_due() == 0.0:
            await self._commit()

    async def _commit(self, *, complete: bool = False) -> None:
        """Everything written becomes durable, with its checkpoint; then the store hears of it."""
        if self.holding is not None:
            await self.holding.ensure()
        for obj in self._unconfirmed:
            await self.reading.source.confirm(obj)
        loop = asyncio.get_running_loop()
        started = loop.time()
        checkpoint = evolve(
            self._running, at=self.now(), transactions=self._running.transactions + 1, complete=complete
        )
        completion = Completion(value=_completion(checkpoint, self.objects)) if complete else None
        checkpoint = await self.session.commit(checkpoint, completion)
        self.checkpoint = self._running = checkpoint
        self._first_write = None
        del self._unconfirmed[:-1]
        if self.holding is not None and getattr(self.session, "keeps_checkpoint", False) and not complete:
            self.holding.tell(checkpoint)
        elif self.holding is not None:
            await self.holding.settle(checkpoint)
        passed = bytes_before(self.objects, checkpoint.position)
        self.emit(Committed(checkpoint=checkpoint, seconds=loop.time() - started, source_bytes=passed))


@define(eq=False)
class _Standing:
    """Rows that stand in the sink behind the checkpoint already: not sent again where they are equal."""

    _batches: AsyncIterator[Records]
    _on_foreign: str
    ended: bool = False
    _batch: Records | None = None
    _at: int = 0
    _matched: int = 0

    async def match(self, records: Records, first: int, last: int) -> int:
        """How many rows from ``first`` on stand already. ``ended`` is set behind the last of them."""
        row, loop = first, asyncio.get_running_loop()
        while row < last and not self.ended:
            if self._batch is None or self._at == len(self._batch):
                self._batch, self._at = await anext(self._batches, None), 0
                self.ended = self._batch is None
                continue
            count = min(last - row, len(self._batch) - self._at)
            equal = await loop.run_in_executor(None, equal_rows, records, row, self._batch, self._at, count)
            row, self._at, self._matched = row + equal, self._at + equal, self._matched + equal
            if equal < count:
                self._differs()
        return row - first

    def _differs(self) -> None:
        if self._on_foreign == "stop":
            raise StateContradiction(
                f"behind the checkpoint, after {self._matched:,} rows of this job that stand there already, "
                "the sink holds a record that is not the next row of the source",
                hint="see who else writes there; --on-foreign resend sends the remaining rows behind it",
            )
        self.ended = True


async def _step(rows: AsyncIterator[Encoded[_Packed]]) -> Encoded[_Packed] | None:
    return await anext(rows, None)


def _bytes_between(start: Position, end: Position) -> int:
    return end.offset - (start.offset if start.object_index == end.object_index else 0)


def _failed(row: DeadLetter, header: tuple[str, ...]) -> BadRow:
    hint = "all rows before it are committed; run again with --on-bad-row skip or dead-letter to go on past it"
    if len(header) == 1:  # what a wrong delimiter makes of everything: nearly all rows would be passed
        hint = f"the header has one column, {header[0]!r}: see that --delimiter is the file's; {hint}"
    return BadRow(
        row.reason,
        source=row.source,
        row=row.row,
        line=row.line,
        byte=row.byte,
        hint=hint,
    )


def _completion(checkpoint: Checkpoint, objects: Sequence[SourceObject]) -> bytes:
    """The completion event's JSON: what a consumer needs to know that every row is there, and which.

    Of very many objects it names the first; the event has to fit into a record."""
    event = {
        "event": "csv2kafka.complete",
        "job": checkpoint.job,
        "run_id": checkpoint.run_id,
        "rows": checkpoint.counts.rows,
        "bad_rows": checkpoint.counts.bad_rows,
        "content_hash": str(checkpoint.content_hash),
        "first_offset": checkpoint.sink.first_offset,
        "next_offset": checkpoint.sink.offsets.get(Target.DATA.value),
        "objects": len(objects),
        "manifest_digest": checkpoint.manifest_digest,
        "sources": [{"uri": o.uri, "size": o.size, "version": o.version} for o in objects[:EVENT_SOURCES]],
        "at": checkpoint.at.isoformat(),
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
