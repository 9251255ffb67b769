"""A partition's committed rows, read back, and whose they are.

The job's checkpoint, where it is found, says at which offset the job began and which producers are its own; without
one the whole partition is the job's.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeVar

from attrs import define, field, frozen

from csv2kafka import registry
from csv2kafka.config import RunConfig
from csv2kafka.kafka import checkpoint_topic
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.log import committed_batches
from csv2kafka.kafka.port import Broker, FetchedBatch, TopicPartition
from csv2kafka.kernel import Batch, unpack_batch
from csv2kafka.model import Checkpoint, ContentHash

BATCHES_AHEAD = 4  # of at most 8 MiB each, as csv2kafka writes them; 256 MiB (MAX_UNPACKED) whoever did

T = TypeVar("T")


@frozen(kw_only=True, eq=False)
class ReadBack:
    """A batch read back. Of its rows those from ``first`` to ``last`` (excluded) are in the stretch that was asked for.
    ``own``: the job's."""

    base_offset: int
    batch: Batch
    first: int
    last: int
    own: bool

    def offset(self, row: int) -> int:
        return self.base_offset + self.batch.offset_deltas[row]


@define(kw_only=True)
class Found:
    """What stands in the destination, counted. ``besides``: records of others between the job's first and last,
    the first of them at ``besides_at``; ``behind``: after its last. ``content``: the hash of the job's rows."""

    besides: int = 0
    besides_at: int | None = None
    behind: int = 0
    behind_at: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None
    content: ContentHash = field(factory=ContentHash)

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


def connected(config: RunConfig) -> AbstractAsyncContextManager[Broker]:
    """A client for the brokers of a configuration."""
    return broker_factory({"bootstrap_servers": config.bootstrap_servers, **config.kafka})()


def target_of(config: RunConfig) -> TopicPartition:
    """The partition that the rows are in."""
    return TopicPartition(config.topic or "", config.partition)


async def job_checkpoint(broker: Broker, config: RunConfig, job: str) -> Checkpoint | None:
    """The job's checkpoint, where one is found: of Kafka for exactly-once, else of the store."""
    if config.delivery == "exactly-once":
        target = checkpoint_topic.partition_of(config.checkpoint_topic)
        if await broker.topic(target.topic) is None:
            return None
        decided = (await broker.log_ends(target)).stable
        return await checkpoint_topic.last_checkpoint(broker, target, job, before=decided)
    return await stored_checkpoint(config, job)


async def stored_checkpoint(config: RunConfig, job: str) -> Checkpoint | None:
    """What the store has of the job."""
    store = registry.build_store(config)
    try:
        return await store.load(job)
    finally:
        await store.close()


async def read_back(
    broker: Broker,
    target: TopicPartition,
    start: int,
    stop: int,
    work: Callable[[ReadBack], T],
    *,
    own: frozenset[int] | None = None,
) -> AsyncGenerator[T, None]:
    """What ``work`` makes, in threads, of each committed batch with rows from ``start`` to ``stop`` (excluded), in
    order and ahead; what an open transaction hides of them is waited for. ``own``: the job's producers, None: all are.

    Brokers give a batch whole, also where retention has taken the rows before an offset within it."""

    def worked(fetched: FetchedBatch) -> T | None:
        batch = unpack_batch(fetched.data)
        deltas = batch.offset_deltas
        first = bisect_left(deltas, start - fetched.base_offset) if fetched.base_offset < start else 0
        last = bisect_left(deltas, stop - fetched.base_offset) if fetched.last_offset >= stop else len(deltas)
        mine = own is None or fetched.producer_id in own
        given = ReadBack(base_offset=fetched.base_offset, batch=batch, first=first, last=last, own=mine)
        return work(given) if first < last else None

    queue: asyncio.Queue[asyncio.Future[T | None] | Exception | None] = asyncio.Queue(BATCHES_AHEAD)
    loop = asyncio.get_running_loop()

    async def read() -> None:
        try:
            async with aclosing(committed_batches(broker, target, start, stop)) as batches:
                async for fetched in batches:
                    made = loop.run_in_executor(None, worked, fetched)
                    made.add_done_callback(_heard)
                    await queue.put(made)
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    task = asyncio.create_task(read())
    try:
        while (entry := await queue.get()) is not None:
            if isinstance(entry, Exception):
                raise entry
            if (made := await entry) is not None:
                yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _heard(made: asyncio.Future[T]) -> None:
    """An error of what nobody waits for any more is no error."""
    if not made.cancelled():
        made.exception()
