"""Reads a stretch of a partition, waiting (with a bound) for transactions that hide part of it.

The end of a stretch is reached by position, not by the last record seen: markers and what compaction took
away take offsets too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from attrs import define, field, frozen

from csv2kafka.errors import Unreachable
from csv2kafka.kafka.port import Broker, FetchedBatch, Isolation, LogEnds, TopicPartition
from csv2kafka.kernel import unpack_batch

# A reader waits for the oldest open transaction of anybody. Brokers bound them by transaction.max.timeout.ms
# (15 minutes unless changed) and look for overdue ones every ten seconds.
HANGING_SECONDS = 15 * 60 + 30.0
READ_BYTES = 4 << 20
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.05  # markers are mostly written within the first
SILENT_SECONDS = 2.0

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class LogRecord:
    """A record where it stands. ``key``/``value`` None: null."""

    offset: int
    key: bytes | None
    value: bytes | None


async def committed_batches(
    broker: Broker, target: TopicPartition, start: int, stop: int, *, patience: float = HANGING_SECONDS
) -> AsyncGenerator[FetchedBatch, None]:
    """The data batches from ``start`` to ``stop`` (excluded; a batch may begin before ``start``) that are
    committed; no markers. Waits ``patience`` seconds at most for what is undecided; then Unreachable.

    Whoever may leave before its end closes it (``aclosing``)."""
    position = start
    wait = _Wait(target=target, stop=stop, patience=patience)
    while position < stop:
        fetched = await broker.read(target, position, Isolation.READ_COMMITTED, max_bytes=READ_BYTES)
        for batch in fetched.batches:
            if batch.base_offset >= stop:
                return
            if not batch.is_control and not batch.aborted:
                yield batch
        if fetched.next_offset > position:
            position = fetched.next_offset
            wait = _Wait(target=target, stop=stop, patience=patience)
        else:
            await wait.pause(fetched.ends)


async def until_visible(
    broker: Broker, target: TopicPartition, stop: int, *, patience: float = HANGING_SECONDS
) -> None:
    """Return when a read_committed reader sees everything before ``stop``: another writer's open transaction hides
    what is committed behind its beginning. Waits ``patience`` seconds at most; then Unreachable."""
    wait = _Wait(target=target, stop=stop, patience=patience)
    while (ends := await broker.log_ends(target)).stable < stop:
        await wait.pause(ends)


@define(kw_only=True)
class _Wait:
    """A wait for open transactions, with a bound; said once when it gets long."""

    target: TopicPartition
    stop: int
    patience: float
    _since: float = field(init=False, factory=lambda: asyncio.get_running_loop().time())
    _said: bool = False
    _over: bool = False
    _pause: float = FIRST_PAUSE

    async def pause(self, ends: LogEnds) -> None:
        waited = asyncio.get_running_loop().time() - self._since
        if waited >= self.patience:
            if self._over:
                raise _hanging(self.target, ends, self.stop, self.patience)
            self._over = True  # looked at once more: a process that was stopped meanwhile knows only what was then
            return
        if not self._said and waited > SILENT_SECONDS:
            self._said = True
            _log.warning(
                "%s: waiting, %.0f s at most, for a transaction that began at offset %d and is neither committed "
                "nor aborted",
                self.target,
                self.patience,
                ends.stable,
            )
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


async def committed_records(
    broker: Broker, target: TopicPartition, start: int, stop: int, *, patience: float = HANGING_SECONDS
) -> AsyncGenerator[LogRecord, None]:
    """The committed records from ``start`` to ``stop`` (excluded)."""
    async with aclosing(committed_batches(broker, target, start, stop, patience=patience)) as batches:
        async for fetched in batches:
            for record in records_of(fetched):
                if start <= record.offset < stop:
                    yield record


def records_of(fetched: FetchedBatch) -> list[LogRecord]:
    """A batch's records, one object each: for small batches."""
    batch = unpack_batch(fetched.data)
    rows = batch.records.rows()
    return [
        LogRecord(
            offset=fetched.base_offset + delta,
            key=None if index in batch.null_keys else key,
            value=None if index in batch.null_values else value,
        )
        for index, (delta, (key, value)) in enumerate(zip(batch.offset_deltas, rows, strict=True))
    ]


def _hanging(target: TopicPartition, ends: LogEnds, stop: int, patience: float) -> Unreachable:
    return Unreachable(
        f"{target}: waited {patience:.0f} s for a transaction that began at offset {ends.stable} and is neither "
        f"committed nor aborted; it hides what stands up to offset {stop}",
        hint=f"find it with `kafka-transactions.sh find-hanging --topic {target.topic} --partition "
        f"{target.partition}` and end it with `kafka-transactions.sh abort --topic {target.topic} --partition "
        f"{target.partition} --start-offset {ends.stable}`; then run again",
    )
