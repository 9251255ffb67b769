"""Whose job it is. Runs that share a store settle it by the lease; runs that do not, by the last claim.

Only a fencing answer makes a run ask; silence leads straight to a new InitProducerId, which settles what is
undecided. A model of two and three runs in all interleavings stands behind these rules:
tests/properties/test_ownership.py draws such schedules.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime

from attrs import define

from csv2kafka.errors import TakenOver, Unreachable
from csv2kafka.kafka import checkpoint_topic
from csv2kafka.kafka.checkpoint_topic import Claim
from csv2kafka.kafka.port import Broker, Producer, TopicPartition
from csv2kafka.kafka.writer import Writer, repeated
from csv2kafka.protocols import Lease

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0  # longer than an opening takes, so that one of two gets through in the end
ASK_AGAIN = 0.25

_log = logging.getLogger(__name__)


@define(eq=False)
class Ownership:
    """What a run remembers of its claims from session to session.

    ``claimed_at``: offset of its last claim that it saw committed. ``noted_end``: the checkpoint partition's
    end after its last InitProducerId. ``fenced``: a fencing answer ended the last session. ``fences``: how
    many since rows were last committed.
    """

    job: str
    run_id: str
    store_id: str | None
    claimed_at: int | None = None
    noted_end: int | None = None
    fenced: bool = False
    fences: int = 0

    @property
    def begun(self) -> bool:
        """This run has shut out others already: the read-only checks before that are behind it."""
        return self.noted_end is not None

    def was_fenced(self) -> None:
        self.fenced = True
        self.fences += 1

    def committed(self) -> None:
        """Rows got through: the next fence is a new story."""
        self.fences = 0


async def ask_after_fence(
    owner: Ownership, broker: Broker, topic: TopicPartition, lease: Lease | None, draw: Callable[[], float]
) -> None:
    """After a fencing answer: wait, reading on, and return if the job is still ours to open; else TakenOver.

    Nobody may have claimed: our transaction timed out, a late InitProducerId of our own came, or the other died
    before claiming. Two runs that fence each other before either claims are told apart by the growing, drawn
    wait.
    """
    if not owner.fenced:
        return
    _log.warning("job %s: shut out by another writer; looking whether another run has claimed the job", owner.job)
    loop = asyncio.get_running_loop()
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(owner.fences, 30))  # 2**1024 is no float
    deadline = loop.time() + draw() * longest
    position = _watch_from(owner)
    while position is not None:
        end = (await broker.log_ends(topic)).end
        if end > position:
            try:
                await _refuse_if_claimed(owner, broker, topic, lease, position, end)
                position = end
            except Unreachable:
                pass  # some transaction hides the rest: opening again settles whether it was ours
        if loop.time() >= deadline:
            break
        await asyncio.sleep(min(ASK_AGAIN, max(0.0, deadline - loop.time())))
    owner.fenced = False


async def shut_out_others(
    owner: Ownership,
    broker: Broker,
    topic: TopicPartition,
    lease: Lease | None,
    transactional_id: str,
    timeout_ms: int,
) -> Producer:
    """InitProducerId: ends what an older run left open and fences it. The lease is renewed just before."""

    async def init() -> Producer:
        if lease is not None:
            await lease.renew()
        return await broker.init_producer(transactional_id, timeout_ms=timeout_ms)

    producer = await repeated(init)
    owner.noted_end = (await broker.log_ends(topic)).end
    return producer


async def claim(
    owner: Ownership,
    broker: Broker,
    writer: Writer,
    topic: TopicPartition,
    clock: Callable[[], float],
    *before: bytearray,
) -> int:
    """Commit a claim, after the records in ``before`` and in one transaction with them; wait until it is seen.

    Gives its offset: the last checkpoint before it is the one that counts.
    """
    producer = writer.state.producer
    made = Claim(
        run_id=owner.run_id,
        store_id=owner.store_id,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        at=datetime.fromtimestamp(clock(), UTC).isoformat(),
    )
    writer.partitions = (topic,)
    for batch in before:
        await writer.write(topic, batch)
    await writer.write(topic, checkpoint_topic.claim_record(owner.job, made))
    await writer.commit()
    offset = writer.next_offsets[topic] - 1
    await checkpoint_topic.see_claim(broker, topic, owner.job, offset)
    owner.claimed_at = offset
    return offset


def _watch_from(owner: Ownership) -> int | None:
    """Claims of others from here on are later than our own last word."""
    return owner.noted_end if owner.claimed_at is None else owner.claimed_at + 1


async def _refuse_if_claimed(
    owner: Ownership, broker: Broker, topic: TopicPartition, lease: Lease | None, start: int, stop: int
) -> None:
    found = checkpoint_topic.claims(broker, topic, owner.job, start=start, stop=stop, patience=ASK_AGAIN)
    last: Claim | None = None
    async with aclosing(found) as claims:
        try:
            async for claim in claims:
                last = claim
        except Unreachable:
            if last is None or not _drives_out(owner, lease, last):
                raise
    if last is not None and _drives_out(owner, lease, last):
        raise TakenOver(
            f"job {owner.job}: run {last.run_id} has claimed it at {last.at}; this is run {owner.run_id}",
            hint="the other run goes on from the last commit; `csv2kafka status` shows how far it is",
        )


def _drives_out(owner: Ownership, lease: Lease | None, last: Claim) -> bool:
    """Whether the job is another's by the last claim. Our own may be one that we never saw; and between runs that
    share a store the lease decides, and we hold it."""
    return last.run_id != owner.run_id and not (lease is not None and last.store_id == owner.store_id)
