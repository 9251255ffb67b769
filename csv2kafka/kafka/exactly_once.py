"""Exactly once: rows and checkpoint in one transaction, and the opening that finds the checkpoint that counts.

``open_session`` has the steps in order, as docs/guarantees.md tells them; their traps are in
tests/simulation/test_opening_traps.py.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from attrs import define, evolve

from csv2kafka.errors import Csv2KafkaError, TakenOver
from csv2kafka.kafka import checkpoint_topic, checks, ownership
from csv2kafka.kafka.log import until_visible
from csv2kafka.kafka.ownership import Ownership
from csv2kafka.kafka.port import Broker, LogEnds, Operation, Producer, TopicFacts
from csv2kafka.kafka.session import RunMemory, Session, SinkSettings, existing_topics, mutable, with_producer
from csv2kafka.kafka.writer import ProducerState, Writer
from csv2kafka.model import Checkpoint, Completion, Payload, Records, Target
from csv2kafka.protocols import Job, Lease

TRANSACTIONAL_ID_PREFIX = "csv2kafka."

_log = logging.getLogger(__name__)


async def open_session(
    settings: SinkSettings, broker: Broker, job: Job, stored: Checkpoint | None, lease: Lease | None, run: RunMemory
) -> ExactlyOnceSession:
    """Shut out older writers of the job, claim it, find the checkpoint that counts and hold it against the world."""
    opening = _Opening(settings=settings, broker=broker, job=job, stored=stored, run=run)
    owner, topic = run.owner, settings.checkpoints
    # 1. The lease is the pipeline's; lost, nothing is sent.
    if lease is not None:
        await lease.renew()
    # 2. The topics.
    topics = await existing_topics(settings, broker, job, stored, run)
    await opening.checkpoint_topic(topics.data)
    # 3. What must stop this run stops it before it has shut anybody out.
    if not owner.begun and not job.restart:
        await opening.check_before(topics.data)
    # 4. From here on nobody else gets anything in; after a fence, ask first whether the job is still ours.
    await ownership.ask_after_fence(owner, broker, topic, lease, settings.draw)
    producer = await ownership.shut_out_others(
        owner, broker, topic, lease, TRANSACTIONAL_ID_PREFIX + job.name, settings.transaction_timeout_ms
    )
    writer = run.writer = await opening.writer(producer)
    # 5. and 6. The claim; once it is seen, the last checkpoint before it is the one that counts.
    claimed = await ownership.claim(owner, broker, writer, topic, settings.clock)
    counted = await checkpoint_topic.last_checkpoint(broker, topic, job.name, before=claimed)
    # 7. Held against the world. A stop counts only if nobody has claimed since: else we are fenced, and it was
    # the other run's work that did not fit.
    restart = run.restarts(job, counted, stored)
    try:
        if not restart:
            await opening.check_after(counted, topics.data, before=claimed)
    except TakenOver:
        raise
    except Csv2KafkaError as error:
        if not error.retryable:
            await ownership.claim(owner, broker, writer, topic, settings.clock)
        raise
    if counted is None or restart:
        counted = await opening.begin_generation(topics.data, writer, counted)
    elif not counted.complete:  # the id is another one where the epochs were used up, or Kafka forgot it
        counted = evolve(counted, sink=with_producer(counted.sink, producer))
    return ExactlyOnceSession(
        resume_from=counted,
        packer=topics.packer(settings.compression),
        writer=writer,
        settings=settings,
        owner=owner,
        broker=broker,
    )


@define(eq=False, kw_only=True)
class _Opening:
    """The steps."""

    settings: SinkSettings
    broker: Broker
    job: Job
    stored: Checkpoint | None
    run: RunMemory

    async def checkpoint_topic(self, data: TopicFacts) -> None:
        replicas = data.config.get("min.insync.replicas")
        facts = await checkpoint_topic.prepare(
            self.broker, self.settings.checkpoints.topic, min_insync_replicas=replicas
        )
        checks.allowed(facts, Operation.READ, Operation.WRITE)
        if not self.run.owner.begun and (text := checkpoint_topic.warning(facts)) is not None:
            _log.warning("%s", text)
        checkpoint_topic.check_room(facts, self.job.name, self.job.manifest)

    async def check_before(self, data: TopicFacts) -> None:
        """Read-only, by the checkpoint as far as it can be seen without a claim."""
        topic = self.settings.checkpoints
        decided = (await self.broker.log_ends(topic)).stable
        known = await checkpoint_topic.last_checkpoint(self.broker, topic, self.job.name, before=decided)
        if (checkpoint := known or self.stored) is not None:
            await self._check_settings(checkpoint, before=decided)
        if known is not None:
            checks.same_topic(data, known.sink)
            await self._log_reaches(known)

    async def check_after(self, counted: Checkpoint | None, data: TopicFacts, *, before: int) -> None:
        """By the checkpoint that counts; ``before``: the claim's offset."""
        if counted is not None:
            await self._check_settings(counted, before=before)
        checks.store_not_ahead(self.stored, counted, self.settings.checkpoints.topic)
        if counted is not None:
            checks.same_topic(data, counted.sink)
            ends = await self._log_reaches(counted)
            if not counted.complete:
                await checks.nothing_of_ours_behind(self.broker, self.settings.data, counted.sink, ends)

    async def writer(self, producer: Producer) -> Writer:
        """Nothing of ours can come to stand below what the logs have now."""
        assert self.run.owner.noted_end is not None
        next_offsets = {self.settings.checkpoints: self.run.owner.noted_end}
        for partition in self.settings.targets.values():
            next_offsets[partition] = (await self.broker.log_ends(partition)).end
        return Writer(
            self.broker,
            ProducerState(producer),
            transactional_id=TRANSACTIONAL_ID_PREFIX + self.job.name,
            clock=self.settings.clock,
            next_offsets=next_offsets,
        )

    async def begin_generation(self, data: TopicFacts, writer: Writer, before: Checkpoint | None) -> Checkpoint:
        """A row-0 checkpoint and the manifest, in one transaction with a claim, which is seen. It begins behind the
        rows of the generation ``before``: else they would be taken for rows that no checkpoint knows."""
        topic, wait = self.settings.checkpoints, self.settings.request_seconds
        reached = checks.reached_by(before, data)
        ends = await checks.ends_known_well(self.broker, self.settings.data, reached, wait=wait)
        start = self.run.first_checkpoint(self.job, data, ends.end)
        start = evolve(start, sink=with_producer(start.sink, writer.state.producer))
        records = self._manifest_record(), checkpoint_topic.checkpoint_record(start)
        await ownership.claim(self.run.owner, self.broker, writer, topic, self.settings.clock, *records)
        return start

    def _manifest_record(self) -> bytearray:
        return checkpoint_topic.manifest_record(self.job.name, self.job.manifest)

    async def _check_settings(self, checkpoint: Checkpoint, *, before: int) -> None:
        manifest = self.job.manifest
        if checkpoint.manifest_digest == manifest.digest:
            self.job.check(checkpoint, manifest)
        else:  # it is wanted, to say what differs
            topic = self.settings.checkpoints
            began = await checkpoint_topic.last_manifest(self.broker, topic, self.job.name, before=before)
            self.job.check(checkpoint, began)

    async def _log_reaches(self, checkpoint: Checkpoint) -> LogEnds:
        reached = checkpoint.sink.offsets.get(checks.DATA, 0)
        wait = self.settings.request_seconds
        return await checks.log_reaches(self.broker, self.settings.data, reached, wait=wait)


@define(eq=False, kw_only=True)
class ExactlyOnceSession(Session):
    """One transaction per commit: the rows, their dead letters and the checkpoint, or none of them."""

    owner: Ownership
    broker: Broker
    keeps_checkpoint: bool = True

    async def standing(self) -> AsyncIterator[Records]:
        """Nothing: what is not in the checkpoint was never committed."""
        return
        yield

    async def write(self, payload: Payload) -> None:
        """Send it; the transaction begins with the first."""
        self.writer.partitions = (*self.settings.targets.values(), self.settings.checkpoints)
        await self.writer.write(self.settings.target(payload), mutable(payload.body))

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        """Everything confirmed, then the checkpoint, then EndTxn."""
        await self.writer.confirmed()
        if not self.writer.in_transaction:
            events = self.settings.completion
            also = () if completion is None or events is None else (events,)
            self.writer.partitions = (self.settings.checkpoints, *also)
            # This begins only when the markers behind the last rows are all written, and nobody's open transaction
            # hides them: whoever sees the event, or that the job is complete, sees every row.
            if completion is not None:
                await self._rows_visible()
            await self.write_completion(completion)
        elif completion is not None:
            raise ValueError("the completion goes in a commit of its own, behind the last rows'")
        made = evolve(checkpoint, sink=self.brought_up_to_date())
        await self.writer.write(self.settings.checkpoints, checkpoint_topic.checkpoint_record(made))
        await self.writer.commit()
        self.owner.committed()
        return made

    async def _rows_visible(self) -> None:
        state = self.brought_up_to_date()
        for target, partition in self.settings.targets.items():
            if target.value in state.offsets:
                reached = state.offsets[target.value]
                if target is not Target.DATA:  # an earlier run may have had another topic, or it was made anew
                    reached = min(reached, (await self.broker.log_ends(partition)).end)
                await until_visible(self.broker, partition, reached)
