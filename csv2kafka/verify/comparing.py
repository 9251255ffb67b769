"""The source and its destination side by side, row by row; and a receipt of it, if they are equal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime

from attrs import define, frozen

from csv2kafka import __version__
from csv2kafka.config import RunConfig
from csv2kafka.errors import StateContradiction
from csv2kafka.kafka import checks
from csv2kafka.kafka.packer import KafkaPacker
from csv2kafka.kafka.port import Broker, LogEnds, TopicFacts
from csv2kafka.kernel import digest, equal_rows
from csv2kafka.model import Checkpoint, Event, Manifest, Records
from csv2kafka.model.report import VerifyReport
from csv2kafka.proof import FileSide, JobState, Proof, SourceSide, TopicSide
from csv2kafka.protocols import Packer
from csv2kafka.reading import Encoded, close_source, reading_from
from csv2kafka.verify.contradictions import asked_by, settings_of
from csv2kafka.verify.expected import Expected, expected_of, shown
from csv2kafka.verify.files import compare_file, output_of
from csv2kafka.verify.partition import (
    Found,
    ReadBack,
    connected,
    job_checkpoint,
    read_back,
    stored_checkpoint,
    target_of,
)


async def verify(config: RunConfig, *, on_event: Callable[[Event], None] | None = None) -> VerifyReport:
    """Compare the source with the topic, or the file, of a run with this configuration.

    Raises ConfigError for what is not there, and the errors of reading; a difference is in the report.
    """
    report, _ = await _compared(config, on_event, hashed=False)
    return report


async def prove(
    config: RunConfig, *, on_event: Callable[[Event], None] | None = None
) -> tuple[VerifyReport, Proof | None]:
    """The same, with what a receipt says (``csv2kafka.proof.receipt`` writes it); None if they are not equal."""
    return await _compared(config, on_event, hashed=True)


@define(kw_only=True, eq=False)
class _Outcome:
    """What comparing gave. ``side``: the destination as the receipt has it, if one is wanted and they are equal."""

    difference: str | None
    found: Found
    side: TopicSide | FileSide | None = None
    checkpoint: Checkpoint | None = None


async def _compared(
    config: RunConfig, on_event: Callable[[Event], None] | None, *, hashed: bool
) -> tuple[VerifyReport, Proof | None]:
    output = output_of(config)
    reading = reading_from(config)
    async with AsyncExitStack() as held:
        held.push_async_callback(close_source, reading.source)
        expected = await expected_of(config, reading, on_event or (lambda _: None), hashed=hashed)
        started = asyncio.get_running_loop().time()
        chunks = await held.enter_async_context(aclosing(expected.chunks()))
        if output is not None:
            difference, side = await compare_file(chunks, expected, output)
            point = await stored_checkpoint(config, expected.job) if hashed and difference is None else None
            outcome = _Outcome(difference=difference, found=Found(), side=side, checkpoint=point)
        else:
            async with connected(config) as broker:
                outcome = await _compare_partition(broker, config, chunks, expected)
    found = outcome.found
    report = VerifyReport(
        rows=expected.rows,
        bad_rows=expected.bad_rows,
        besides=found.besides,
        behind=found.behind,
        first_offset=found.first_offset,
        last_offset=found.last_offset,
        seconds=asyncio.get_running_loop().time() - started,
        difference=outcome.difference,
    )
    return report, _proof(config, expected, outcome) if hashed and report.equal else None


def _proof(config: RunConfig, expected: Expected, outcome: _Outcome) -> Proof:
    assert outcome.side is not None
    content, point = str(expected.content), outcome.checkpoint
    back = outcome.side.content_hash if isinstance(outcome.side, TopicSide) else content
    if back != content:
        raise StateContradiction(
            f"all rows are equal, but the hash of the source's is {content}, that of the topic's {back}",
            hint="this must never be: please report it",
        )
    return Proof(
        tool=f"csv2kafka {__version__}",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        job=expected.job,
        rows=expected.rows,
        bad_rows=expected.bad_rows,
        source=SourceSide(
            asked=asked_by(config),
            objects=Manifest(objects=tuple((obj.uri, obj.size, obj.version) for obj in expected.objects)),
            content_hash=content,
        ),
        settings=settings_of(config),
        destination=outcome.side,
        checkpoint=None if point is None else _state(point),
    )


def _state(point: Checkpoint) -> JobState:
    return JobState(
        run_id=point.run_id,
        complete=point.complete,
        at=point.at.isoformat(),
        rows=point.counts.rows,
        content_hash=str(point.content_hash),
        transactions=point.transactions,
        generation=point.generation,
    )


async def _compare_partition(
    broker: Broker, config: RunConfig, chunks: AsyncIterator[Encoded[None]], expected: Expected
) -> _Outcome:
    """Holds the source against the partition, up to its end as it is now."""
    target = target_of(config)
    facts = await checks.existing_topic(broker, target, create=False, flag="--topic")
    limit = checks.batch_limit(facts)
    packer = KafkaPacker(limit=limit, dead_letter_limit=limit, compression=checks.codec(facts, config.compression))
    point = await job_checkpoint(broker, config, expected.job)
    begin = point.sink.first_offset if point is not None else None
    own = None if point is None else frozenset(point.sink.producer_ids)
    ends = await broker.log_ends(target)
    start = ends.start if begin is None else max(begin, ends.start)
    found = Found()
    async with aclosing(read_back(broker, target, start, ends.end, _as_it_is, own=own)) as batches:
        difference = await _first_difference(chunks, batches, expected, found, packer)
    if difference is None and found.besides:
        difference = (
            f"{found.besides:,} records of others stand between the rows, the first at offset {found.besides_at}"
        )
    if difference is None and point is not None:
        difference = _other_count(point, expected.rows)
    if difference is not None and begin is not None and begin < ends.start:
        difference += (
            f"\nthe job began at offset {begin}, the topic now begins at {ends.start}: retention, or somebody, has "
            "deleted what stood before"
        )
    if difference is not None and point is not None and not point.complete:
        difference += f"\nthe job is not complete: {point.counts.rows:,} rows are committed; run it to its end first"
    side = _topic_side(await broker.cluster_id(), facts, config, ends, found) if expected.hashed else None
    return _Outcome(difference=difference, found=found, side=side, checkpoint=point)


def _other_count(point: Checkpoint, rows: int) -> str | None:
    """Rows that are missing can pass for such as the topic does not take; but the job has counted what it put there."""
    counted = point.counts.rows
    if counted == rows or (counted < rows and not point.complete):  # it may have put more there since
        return None
    return f"the job put {counted:,} rows there, found {rows:,} of the source's"


def _as_it_is(batch: ReadBack) -> ReadBack:
    return batch


def _topic_side(cluster_id: str, facts: TopicFacts, config: RunConfig, ends: LogEnds, found: Found) -> TopicSide:
    return TopicSide(
        cluster_id=cluster_id,
        topic=facts.name,
        topic_id=facts.topic_id,
        partition=config.partition,
        first_offset=found.first_offset,
        last_offset=found.last_offset,
        log_end=ends.end,
        besides=found.besides,
        behind=found.behind,
        content_hash=str(found.content),
    )


async def _first_difference(
    chunks: AsyncIterator[Encoded[None]],
    batches: AsyncIterator[ReadBack],
    expected: Expected,
    found: Found,
    packer: Packer,
) -> str | None:
    loop = asyncio.get_running_loop()
    batch = await _next_own(batches, found)
    at = batch.first if batch is not None else 0
    async for item in chunks:
        row = 0
        while row < len(item.records):
            if batch is not None and at == batch.last:
                batch = await _next_own(batches, found)
                at = batch.first if batch is not None else 0
                continue
            count = 0 if batch is None else min(len(item.records) - row, batch.last - at)
            equal = 0
            if batch is not None:
                match = await loop.run_in_executor(None, _match, item.records, row, batch, at, count, expected.hashed)
                equal = match.rows
                if equal:
                    found.row(batch.offset(at))
                    found.row(batch.offset(at + equal - 1))
                    expected.content = expected.content.extend(match.source, equal)
                    found.content = found.content.extend(match.found, equal)
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
    while batch is not None and at == batch.last:
        batch = await _next_own(batches, found)
        at = batch.first if batch is not None else 0
    if batch is None:
        return None
    value = next(value for _, value in batch.batch.records.rows(at, at + 1))
    return f"all rows are there, but at offset {batch.offset(at)} stands one record more: {shown(value)}"


async def _next_own(batches: AsyncIterator[ReadBack], found: Found) -> ReadBack | None:
    """The job's next batch; those of others before it are counted."""
    async for batch in batches:
        if batch.own:
            return batch
        found.others(batch.last - batch.first, batch.offset(batch.first))
    return None


@frozen
class _Match:
    """``rows`` are equal; their hash as it comes from either side (0 where it is not wanted)."""

    rows: int
    source: int = 0
    found: int = 0


def _match(records: Records, row: int, batch: ReadBack, at: int, count: int, hashed: bool) -> _Match:
    """Equal rows from there on. A null value, or a null key among others, equals nothing."""
    back = batch.batch
    nulls = [null for null in (*back.null_values, *back.null_keys) if at <= null < at + count]
    whole = back.records.key_ends is None  # then all keys are null, as they are where a job has none
    stop = min((n for n in nulls if not whole or n in back.null_values), default=at + count)
    equal = equal_rows(records, row, back.records, at, stop - at)
    if not hashed or not equal:
        return _Match(equal)
    return _Match(equal, digest(records, row, row + equal), digest(back.records, at, at + equal))


def _missing(expected: Expected, item: Encoded[None], row: int, found: Found) -> str:
    last = (
        "it holds no row of the job" if found.last_offset is None else f"its last row is at offset {found.last_offset}"
    )
    return f"{expected.place(item, row)}: is not in the topic, {last}"


def _differs(expected: Expected, item: Encoded[None], row: int, batch: ReadBack, at: int) -> str:
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
        f"  expected {shown(wanted)}\n  found    {'null' if null else shown(value)}"
    )
