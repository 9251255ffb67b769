"""At-least-once, reconciled: rows are confirmed, then the pipeline saves the checkpoint; what stood behind it when
a session opens is compared, and not sent again.

Only exactly-once is proof against every zombie: here a batch of a dead run that is still in the network is shut
out only by the successor's first batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from attrs import define, evolve

from csv2kafka.errors import ConfigError, Doubt
from csv2kafka.kafka import checks
from csv2kafka.kafka.port import Broker, Isolation, Producer, TopicFacts
from csv2kafka.kafka.reconcile import Standing
from csv2kafka.kafka.session import RunMemory, Session, SinkSettings, existing_topics, mutable, with_producer
from csv2kafka.kafka.writer import ProducerState, Writer, repeated
from csv2kafka.model import Checkpoint, Completion, Payload, Records, Target
from csv2kafka.protocols import Job, Lease

LAST_EPOCH = 32766  # a producer's epoch is 16 bits; behind it a new id begins

_log = logging.getLogger(__name__)


async def open_session(
    settings: SinkSettings, broker: Broker, job: Job, stored: Checkpoint | None, lease: Lease | None, run: RunMemory
) -> AtLeastOnceSession:
    """Settle what this run has sent, or shut out a dead one; go on from the store's checkpoint."""
    if lease is None:
        raise ConfigError(
            "--delivery at-least-once needs a checkpoint store with leases",
            hint="kafka:// has none; choose another --checkpoints, or --delivery exactly-once",
        )
    await lease.renew()
    topics = await existing_topics(settings, broker, job, stored, run)
    known = _to_go_on_from(job, stored, run)
    if known is not None:
        await _check(settings, broker, job, known, topics.data, run)
    if not await _can_send_again(settings, broker, job, run):
        # Like a dead run's, its batches are shut out by the next epoch, once the log is read.
        run.producer = run.first_at = None
    if run.producer is None:
        if stored is not None and not stored.complete:
            _log.warning(
                "job %s: waiting %g s (request_timeout_ms), until nothing that was sent before can be on its way",
                job.name,
                settings.request_seconds,
            )
            await asyncio.sleep(settings.request_seconds)
        run.producer = ProducerState(await _successor(settings, broker, stored, run))
    writer = run.writer = Writer(
        broker, run.producer, transactional_id=None, clock=settings.clock, next_offsets=run.next_offsets
    )
    await writer.send_again()
    run.first_at = None
    reached = 0 if known is not None else checks.reached_by(stored, topics.data)
    ends = await checks.ends_known_well(broker, settings.data, reached, wait=settings.request_seconds)
    if known is None:
        known = run.begun = run.first_checkpoint(job, topics.data, ends.end)
    sink = with_producer(known.sink, run.producer.producer)
    run.standing = Standing(
        broker=broker,
        target=settings.data,
        producer_ids=frozenset(sink.producer_ids),
        start=sink.offsets[checks.DATA],
        end=ends.end,
        on_foreign=job.on_foreign,
    )
    return AtLeastOnceSession(
        resume_from=evolve(known, sink=sink),
        run=run,
        packer=topics.packer(settings.compression),
        writer=writer,
        settings=settings,
        stood=run.standing,
    )


def _to_go_on_from(job: Job, stored: Checkpoint | None, run: RunMemory) -> Checkpoint | None:
    """The store's checkpoint, or None to begin. What this run began is not forgotten before it is saved."""
    if run.begun is not None and (stored is None or stored.generation < run.begun.generation):
        return run.begun
    return None if run.restarts(job, stored) else stored


async def _check(
    settings: SinkSettings, broker: Broker, job: Job, known: Checkpoint, data: TopicFacts, run: RunMemory
) -> None:
    job.check(known, job.manifest if known.manifest_digest == job.manifest.digest else None)
    checks.same_topic(data, known.sink)
    reached = max(known.sink.offsets.get(checks.DATA, 0), run.next_offsets.get(settings.data, 0))
    ends = await checks.log_reaches(broker, settings.data, reached, wait=settings.request_seconds)
    if not known.complete:  # else nothing is to be sent
        checks.log_still_has(settings.data, known.sink, ends)


async def _can_send_again(settings: SinkSettings, broker: Broker, job: Job, run: RunMemory) -> bool:
    """Whether what is unconfirmed can be sent as it is, and comes to stand once, behind what this run has written."""
    if run.producer is not None and not run.producer.remembers_unconfirmed(settings.clock()):
        return False
    return job.on_foreign != "stop" or await _place_is_free(settings, broker, run)


async def _place_is_free(settings: SinkSettings, broker: Broker, run: RunMemory) -> bool:
    """Whether only the batch itself stands where the last session's first one was to stand, which was not answered.

    It was read up to there at a leader that may have been cut off, and not have had what a dead run wrote at the next
    one: sent again unseen, the same rows would stand there twice."""
    if run.producer is None or run.first_at is None:
        return True
    ends, producer = await broker.log_ends(settings.data), run.producer.producer
    if not ends.start <= run.first_at < ends.end:
        return ends.end == run.first_at
    found = await broker.read(settings.data, run.first_at, Isolation.READ_UNCOMMITTED, max_bytes=1)
    return all((b.producer_id, b.producer_epoch) == (producer.producer_id, producer.epoch) for b in found.batches[:1])


async def _successor(settings: SinkSettings, broker: Broker, stored: Checkpoint | None, run: RunMemory) -> Producer:
    """The producer of a dead run with the next epoch, which shuts out what that run left in the network.

    A new one where there is none; and where somebody uses ours with a later epoch, though the lease is ours:
    with their epoch our sequences could be taken for theirs.
    """
    if stored is not None and stored.sink.producer_ids and not run.shut_out:
        epoch = stored.sink.producer_epoch
        if epoch < LAST_EPOCH:
            return Producer(producer_id=stored.sink.producer_ids[-1], epoch=epoch + 1)
    return await repeated(lambda: broker.init_producer(None, timeout_ms=settings.transaction_timeout_ms))


@define(eq=False, kw_only=True)
class AtLeastOnceSession(Session):
    """Idempotent, without transactions. ``stood``: what is behind ``resume_from`` already."""

    run: RunMemory
    stood: Standing

    def standing(self) -> AsyncIterator[Records]:
        """The rows of this job that stand behind ``resume_from``; see reconcile.py."""
        return self.stood.rows()

    def stood_at(self) -> int | None:
        return self.stood.first_offset

    async def write(self, payload: Payload) -> None:
        """Send it. The first batch to a partition goes alone, and one after a long silence: a partition that does not
        know the producer would take the next without this, and then never this. The first of the rows must come to
        stand where reading ended."""
        partition = self.settings.target(payload)
        is_first = partition not in self.writer.first_offsets
        leads = is_first and payload.target is Target.DATA
        goes_alone = is_first or not self.writer.state.remembers_at(partition, self.settings.clock())
        if goes_alone:
            await self.writer.confirmed()
        if leads:
            self.run.first_at = self.stood.end
        await self.writer.write(partition, mutable(payload.body))
        if goes_alone:
            await self.writer.confirmed()
        if leads:
            self.run.first_at = None
            at, expected = self.writer.first_offsets[partition], self.stood.end
            if at != expected and self.stood.on_foreign == "stop":
                raise Doubt(
                    f"{partition}: the first batch came to stand at offset {at}, where {expected} was the end: "
                    "something else was written meanwhile"
                )

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        """Everything confirmed; the pipeline saves what is given back."""
        await self.writer.confirmed()
        await self.write_completion(completion)
        await self.writer.confirmed()
        state = self.brought_up_to_date()
        if self.settings.data not in self.writer.first_offsets:  # what stood there was all there was to do
            rows = checkpoint.counts.rows - self.resume_from.counts.rows
            state = evolve(state, offsets={**state.offsets, checks.DATA: self.stood.offset_behind(rows)})
        return evolve(checkpoint, sink=state)
