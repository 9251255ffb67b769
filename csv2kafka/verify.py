"""Proves that a destination holds exactly the rows of the source, each once, in order.

Reads both sides as streams, at flat memory: the CSV through the same way as a run (reading/), Kafka with
read_committed, a file as bytes. The job's checkpoint, where it is found, says at which offset the job began and
which producers are its own; without one the whole partition is compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from attrs import define, frozen

from csv2kafka import registry
from csv2kafka.config import RunConfig
from csv2kafka.config.option import options
from csv2kafka.errors import ConfigError
from csv2kafka.kafka import checkpoint_topic, checks
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.log import committed_batches
from csv2kafka.kafka.packer import KafkaPacker
from csv2kafka.kafka.port import Broker, TopicPartition
from csv2kafka.kernel import Batch, equal_rows, unpack_batch
from csv2kafka.model import Checkpoint, Event, Position, Progressed, Records, SourceObject, Started
from csv2kafka.model.report import VerifyReport
from csv2kafka.protocols import Packer
from csv2kafka.reading import Encoded, Reading, as_they_are, close_source, read_rows, reading_from, total_bytes
from csv2kafka.sinks.file import LinesPacker

BATCHES_AHEAD = 4  # of at most 8 MiB each
SHOWN_BYTES = 200


@frozen(kw_only=True, eq=False)
class _Batch:
    """A batch read back from the partition. ``own``: the job's."""

    base_offset: int
    batch: Batch
    own: bool

    def offset(self, row: int) -> int:
        return self.base_offset + self.batch.offset_deltas[row]


@define(kw_only=True)
class _Found:
    """What stands in the destination, counted. ``besides``: records of others between the job's first and last,
    the first of them at ``besides_at``; ``behind``: after its last."""

    besides: int = 0
    besides_at: int | None = None
    behind: int = 0
    behind_at: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None

    def others(self, records: int, offset: int) -> None:
        self.behind += records
        self.behind_at = offset if self.behind_at is None else self.behind_at

    def row(self, offset: int) -> None:
        """A row of the job's, at or after all that was seen: others before it were not behind the last."""
        if self.behind and self.first_offset is not None:
            self.besides += self.behind
            self.besides_at = self.behind_at if self.besides_at is None else self.besides_at
        self.behind, self.behind_at = 0, None
        self.first_offset = offset if self.first_offset is None else self.first_offset
        self.last_offset = offset


async def verify(config: RunConfig, *, on_event: Callable[[Event], None] | None = None) -> VerifyReport:
    """Compare the source with the topic, or the file, of a run with this configuration.

    Raises ConfigError for what is not there, and the errors of reading; a difference is in the report.
    """
    output = _output_file(config)
    reading = reading_from(config)
    found = _Found()
    async with AsyncExitStack() as held:
        held.push_async_callback(close_source, reading.source)
        expected = await _expected(config, reading, on_event or (lambda _: None))
        started = asyncio.get_running_loop().time()
        chunks = await held.enter_async_context(aclosing(expected.chunks()))
        if output is not None:
            difference = await _compare_file(chunks, expected, output)
        else:
            async with broker_factory({"bootstrap_servers": config.bootstrap_servers, **config.kafka})() as broker:
                difference = await _compare_partition(broker, config, chunks, expected, found)
    return VerifyReport(
        rows=expected.rows,
        bad_rows=expected.bad_rows,
        besides=found.besides,
        behind=found.behind,
        first_offset=found.first_offset,
        last_offset=found.last_offset,
        seconds=asyncio.get_running_loop().time() - started,
        difference=difference,
    )


@define(kw_only=True, eq=False)
class _Expected:
    """The source's rows, as a run would write them. ``rows``: compared and equal so far."""

    job: str
    reading: Reading
    objects: Sequence[SourceObject]
    emit: Callable[[Event], None]
    rows: int = 0
    bad_rows: int = 0

    async def chunks(self) -> AsyncGenerator[Encoded[None], None]:
        """Chunks with rows in them, in order."""
        if not self.objects:
            return
        start = Position(uri=self.objects[0].uri, version=self.objects[0].version)
        async with aclosing(read_rows(self.reading, self.objects, start, (), as_they_are)) as encoded:
            async for item in encoded:
                self.bad_rows += len(item.records.bad)
                if len(item.records):
                    yield item
                self._tell(item)

    def place(self, item: Encoded[None], row: int) -> str:
        """The row by its place in the source."""
        start, lines = item.place_of(row, self.reading.dialect.comment)
        number = item.after(row).rows + 1 + sum(1 for bad in item.records.bad if bad.index == row)
        return f"row {number:,} ({item.obj.uri}, line {item.before.line + lines}, byte {item.chunk.offset + start})"

    def _tell(self, item: Encoded[None]) -> None:
        self.emit(
            Progressed(rows=self.rows, bad_rows=self.bad_rows, source_bytes=item.source_bytes(), uri=item.obj.uri)
        )


async def _expected(config: RunConfig, reading: Reading, emit: Callable[[Event], None]) -> _Expected:
    objects = tuple([obj async for obj in reading.source.objects()])
    job = config.job or registry.job_name(reading.source.uri, registry.build_sink(config).destination, run_id="")
    emit(Started(job=job, run_id="", objects=len(objects), total_bytes=total_bytes(objects)))
    return _Expected(job=job, reading=reading, objects=objects, emit=emit)


async def _compare_partition(
    broker: Broker,
    config: RunConfig,
    chunks: AsyncIterator[Encoded[None]],
    expected: _Expected,
    found: _Found,
) -> str | None:
    """The first difference between the source and the partition, in words; None if they are equal."""
    target = TopicPartition(config.topic or "", config.partition)
    facts = await checks.existing_topic(broker, target, create=False, flag="--topic")
    limit = checks.batch_limit(facts)
    packer = KafkaPacker(limit=limit, dead_letter_limit=limit, compression=config.compression)
    checkpoint = await _checkpoint(broker, config, expected.job)
    begin = checkpoint.sink.first_offset if checkpoint is not None else None
    batches = _prefetched(_batches(broker, target, begin, checkpoint))
    async with aclosing(batches):
        difference = await _first_difference(chunks, batches, expected, found, packer)
    if difference is None and found.besides:
        difference = (
            f"{found.besides:,} records of others stand between the rows, the first at offset {found.besides_at}"
        )
    if difference is not None and checkpoint is not None and not checkpoint.complete:
        difference += (
            f"\nthe job is not complete: {checkpoint.counts.rows:,} rows are committed; run it to its end first"
        )
    return difference


async def _first_difference(
    chunks: AsyncIterator[Encoded[None]],
    batches: AsyncIterator[_Batch],
    expected: _Expected,
    found: _Found,
    packer: Packer,
) -> str | None:
    loop = asyncio.get_running_loop()
    batch, at = await _next_own(batches, found), 0
    async for item in chunks:
        row = 0
        while row < len(item.records):
            if batch is not None and at == len(batch.batch.records):
                batch, at = await _next_own(batches, found), 0
                continue
            count = 0 if batch is None else min(len(item.records) - row, len(batch.batch.records) - at)
            equal = 0
            if batch is not None:
                equal = await loop.run_in_executor(None, _equal, item.records, row, batch.batch, at, count)
                if equal:
                    found.row(batch.offset(at))
                    found.row(batch.offset(at + equal - 1))
            row, at, expected.rows = row + equal, at + equal, expected.rows + equal
            if equal == count:
                if batch is not None:
                    continue
                if not packer.pack(item.records, row, row + 1).too_large:
                    return _missing(expected, item, row, found)
            elif not packer.pack(item.records, row, row + 1).too_large:
                assert batch is not None
                return _differs(expected, item, row, batch, at)
            row, expected.bad_rows = row + 1, expected.bad_rows + 1  # no run can have written this one
    while batch is not None and at == len(batch.batch.records):
        batch, at = await _next_own(batches, found), 0
    if batch is None:
        return None
    value = next(value for _, value in batch.batch.records.rows(at, at + 1))
    return f"all rows are there, but at offset {batch.offset(at)} stands one record more: {_shown(value)}"


async def _next_own(batches: AsyncIterator[_Batch], found: _Found) -> _Batch | None:
    """The job's next batch; those of others before it are counted."""
    async for batch in batches:
        if batch.own:
            return batch
        found.others(len(batch.batch.records), batch.base_offset)
    return None


def _equal(records: Records, row: int, batch: Batch, at: int, count: int) -> int:
    """Equal rows from there on. A null value, or a null key among others, equals nothing."""
    nulls = [null for null in (*batch.null_values, *batch.null_keys) if at <= null < at + count]
    whole = batch.records.key_ends is None  # then all keys are null, as they are where a job has none
    stop = min((n for n in nulls if not whole or n in batch.null_values), default=at + count)
    return equal_rows(records, row, batch.records, at, stop - at)


def _missing(expected: _Expected, item: Encoded[None], row: int, found: _Found) -> str:
    last = (
        "it holds no row of the job" if found.last_offset is None else f"its last row is at offset {found.last_offset}"
    )
    return f"{expected.place(item, row)}: is not in the topic, {last}"


def _differs(expected: _Expected, item: Encoded[None], row: int, batch: _Batch, at: int) -> str:
    (wanted_key, wanted), (key, value) = (
        next(item.records.rows(row, row + 1)),
        next(batch.batch.records.rows(at, at + 1)),
    )
    null = at in batch.batch.null_values
    what = "value"
    if wanted == value and not null:
        what, wanted, value, null = "key", wanted_key or b"", key or b"", at in batch.batch.null_keys
    return (
        f"{expected.place(item, row)}: its {what} differs from the record at offset {batch.offset(at)}\n"
        f"  expected {_shown(wanted)}\n  found    {'null' if null else _shown(value)}"
    )


def _shown(value: bytes) -> str:
    text = value[:SHOWN_BYTES].decode(errors="backslashreplace")
    return text + (f"… ({len(value):,} bytes)" if len(value) > SHOWN_BYTES else "")


async def _checkpoint(broker: Broker, config: RunConfig, job: str) -> Checkpoint | None:
    """The job's checkpoint, where one is found: of Kafka for exactly-once, else of the store."""
    if config.delivery == "exactly-once":
        target = checkpoint_topic.partition_of(config.checkpoint_topic)
        if await broker.topic(target.topic) is None:
            return None
        decided = (await broker.log_ends(target)).stable
        return await checkpoint_topic.last_checkpoint(broker, target, job, before=decided)
    store = registry.build_store(config)
    try:
        return await store.load(job)
    finally:
        await store.close()


async def _batches(
    broker: Broker, target: TopicPartition, begin: int | None, checkpoint: Checkpoint | None
) -> AsyncGenerator[_Batch, None]:
    """Committed batches up to the end as it is now; what an open transaction hides of them is waited for."""
    ends = await broker.log_ends(target)
    position = ends.start if begin is None else max(begin, ends.start)
    own = None if checkpoint is None else frozenset(checkpoint.sink.producer_ids)
    loop = asyncio.get_running_loop()
    async with aclosing(committed_batches(broker, target, position, ends.end)) as committed:
        async for fetched in committed:
            batch = await loop.run_in_executor(None, unpack_batch, fetched.data)
            yield _Batch(base_offset=fetched.base_offset, batch=batch, own=own is None or fetched.producer_id in own)


async def _prefetched(batches: AsyncGenerator[_Batch, None]) -> AsyncGenerator[_Batch, None]:
    """The same, read ahead."""
    queue: asyncio.Queue[_Batch | Exception | None] = asyncio.Queue(BATCHES_AHEAD)

    async def read() -> None:
        try:
            async with aclosing(batches):
                async for batch in batches:
                    await queue.put(batch)
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    task = asyncio.create_task(read())
    try:
        while (entry := await queue.get()) is not None:
            if isinstance(entry, Exception):
                raise entry
            yield entry
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _output_file(config: RunConfig) -> Path | None:
    """The file to read back; None if it is a topic. ConfigError for a destination of a plug-in."""
    path = registry.output_file(config)
    if path is None and config.output is not None:
        raise ConfigError(
            f"{options(RunConfig)['output'].label}: this destination cannot be verified, found {config.output!r}",
            hint="verify reads a topic or a file back; for others see what their package offers",
        )
    return path


async def _compare_file(chunks: AsyncIterator[Encoded[None]], expected: _Expected, path: Path) -> str | None:
    """The first difference between the source and the file, in words; None if they are equal."""
    packer = LinesPacker()
    loop = asyncio.get_running_loop()
    try:
        file = await loop.run_in_executor(None, lambda: path.open("rb"))
    except OSError as error:
        raise ConfigError(f"--output {path}: {error.strerror}", hint="run the job first") from error
    with file:
        async for item in chunks:
            records = item.records
            (payload,) = (await loop.run_in_executor(None, packer.pack, records)).payloads
            found = await loop.run_in_executor(None, file.read, len(payload.body))
            if found != payload.body:
                row = _first_other(records, found)
                expected.rows += row
                return _line_differs(expected, item, row, found, file.tell() - len(found))
            expected.rows += len(records)
        more = await loop.run_in_executor(None, file.read, SHOWN_BYTES)
    return f"all rows are there, but the file goes on: {_shown(more)}" if more else None


def _line_differs(expected: _Expected, item: Encoded[None], row: int, found: bytes, offset: int) -> str:
    start = (item.records.value_ends[row - 1] if row else 0) + row  # each value has a line end
    wanted = next(value for _, value in item.records.rows(row, row + 1))
    line = found[start:].split(b"\n", 1)[0]
    return (
        f"{expected.place(item, row)}: differs at byte {offset + start} of the file\n"
        f"  expected {_shown(wanted)}\n  {f'found    {_shown(line)}' if line else 'the file ends there'}"
    )


def _first_other(records: Records, found: bytes) -> int:
    """The first row whose line is not there."""
    start = 0
    for row, (_, value) in enumerate(records.rows()):
        line = value + b"\n"
        if found[start : start + len(line)] != line:
            return row
        start += len(line)
    return len(records)
