"""What both ways to deliver share: the sink's settings, what a run remembers, its topics, and a session's state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from attrs import define, evolve, field, frozen

from csv2kafka.errors import ConfigError
from csv2kafka.kafka import checks
from csv2kafka.kafka.ownership import Ownership
from csv2kafka.kafka.packer import KafkaPacker
from csv2kafka.kafka.port import Broker, Operation, Producer, TopicFacts, TopicPartition
from csv2kafka.kafka.reconcile import Standing
from csv2kafka.kafka.writer import ProducerState, Writer
from csv2kafka.kernel import pack_records
from csv2kafka.model import Checkpoint, Completion, Payload, SinkState, Target
from csv2kafka.protocols import Job

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class SinkSettings:
    """Where rows, dead letters, the completion event and checkpoints go, and how; as ``KafkaSink`` was told."""

    data: TopicPartition
    dead_letters: TopicPartition | None
    completion: TopicPartition | None
    checkpoints: TopicPartition
    compression: str
    create_topic: bool
    transaction_timeout_ms: int
    request_seconds: float
    clock: Callable[[], float]
    draw: Callable[[], float]

    @property
    def targets(self) -> Mapping[Target, TopicPartition]:
        """Where payloads go."""
        if self.dead_letters is None:
            return {Target.DATA: self.data}
        return {Target.DATA: self.data, Target.DEAD_LETTER: self.dead_letters}

    def target(self, payload: Payload) -> TopicPartition:
        """Where it goes. ConfigError for dead letters if there is no topic for them."""
        if payload.target not in self.targets:
            raise ConfigError(
                "dead_letter_topic: is needed for on_bad_row='dead-letter', and there is a bad row",
                hint="name a topic for bad rows, or choose another policy; the run goes on at its last commit",
            )
        return self.targets[payload.target]


@define(eq=False, kw_only=True)
class RunMemory:
    """What a sink remembers from session to session of one run. (What counts is read anew each time.)

    ``restart_to``: the generation that ``restart`` was asked to begin. At-least-once: ``producer`` with its
    sequences and unconfirmed batches, ``next_offsets`` that were confirmed, ``begun``: the row-0 checkpoint,
    ``first_at``: where a session's first batch of rows was to stand, while it is not confirmed, ``shut_out``:
    somebody used the job's producer with a later epoch. ``writer`` and ``standing``: the session's.
    """

    owner: Ownership
    writer: Writer | None = None
    standing: Standing | None = None
    warned: bool = False
    restart_to: int | None = None
    producer: ProducerState | None = None
    shut_out: bool = False
    next_offsets: dict[TopicPartition, int] = field(factory=dict)
    begun: Checkpoint | None = None
    first_at: int | None = None

    def restarts(self, job: Job, *known: Checkpoint | None) -> bool:
        """Whether ``restart`` is still to be done, by the first of ``known``. Once: what an earlier session of this
        run began goes on, also where its outcome was not known, or another run has gone on from it."""
        if not job.restart:
            return False
        if self.restart_to is None:
            self.restart_to = 1 + max((each.generation for each in known if each is not None), default=-1)
        counted = known[0]
        return counted is None or counted.generation < self.restart_to

    def first_checkpoint(self, job: Job, topic: TopicFacts, end: int) -> Checkpoint:
        """Row 0 of a generation that begins at the partition's end."""
        return evolve(
            job.start,
            generation=self.restart_to or 0,
            sink=SinkState(offsets={checks.DATA: end}, first_offset=end, destination_id=topic.topic_id),
        )

    async def leave_session(self, *, for_good: bool) -> None:
        """Drop what is not committed."""
        writer, self.writer = self.writer, None
        standing, self.standing = self.standing, None
        if standing is not None:
            await standing.close()
        if writer is not None:
            await writer.leave(for_good=for_good)

    def was_fenced(self) -> None:
        self.owner.was_fenced()
        if self.producer is not None:  # its batches are shut out; reading shows which of them got in
            self.producer, self.shut_out = None, True


@frozen(kw_only=True)
class Topics:
    """Facts of the data topic and, if there is one, of the dead letters'."""

    data: TopicFacts
    dead_letters: TopicFacts | None

    def packer(self, compression: str) -> KafkaPacker:
        return KafkaPacker(
            limit=checks.batch_limit(self.data),
            dead_letter_limit=checks.batch_limit(self.dead_letters or self.data),
            compression=checks.codec(self.data, compression),
        )


async def existing_topics(
    settings: SinkSettings, broker: Broker, job: Job, stored: Checkpoint | None, run: RunMemory
) -> Topics:
    """The topics are there and may be written. What could lose rows in the data topic is said once a run.

    A topic that rows of the job were put into already is not made anew.
    """
    create = settings.create_topic
    if stored is not None and stored.counts.rows and not job.restart:
        await checks.still_there(broker, settings.data, stored)
    data = await checks.existing_topic(broker, settings.data, create=create, flag="--topic")
    checks.allowed(data, Operation.READ, Operation.WRITE)
    dead_letters = None
    if settings.dead_letters is not None:
        dead_letters = await checks.existing_topic(
            broker, settings.dead_letters, create=create, flag="--dead-letter-topic"
        )
        checks.allowed(dead_letters, Operation.WRITE)
    if settings.completion is not None:
        events = await checks.existing_topic(broker, settings.completion, create=create, flag="--completion-topic")
        checks.allowed(events, Operation.WRITE)
    if not run.warned:
        run.warned = True
        for text in checks.warnings(data, settings.data.partition, keyed=bool(job.start.settings.get("key"))):
            _log.warning("%s", text)
    return Topics(data=data, dead_letters=dead_letters)


@define(eq=False, kw_only=True)
class Session:
    """A session's common part: what it goes on from, and what of the sink's state is true by now."""

    resume_from: Checkpoint
    packer: KafkaPacker
    writer: Writer
    settings: SinkSettings
    _state: SinkState = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._state = self.resume_from.sink

    def brought_up_to_date(self) -> SinkState:
        """The sink's state behind everything written, all of which is confirmed."""
        written = self.writer.first_offsets
        offsets = dict(self._state.offsets)
        for target, partition in self.settings.targets.items():
            if partition in written:
                offsets[target.value] = self.writer.next_offsets[partition]
        first = self._state.first_offset
        if self._state.offsets.get(checks.DATA) == first:  # nothing of the job was there yet
            stood = self.stood_at()
            first = written.get(self.settings.data, first) if stood is None else stood
        self._state = evolve(self._state, offsets=offsets, first_offset=first)
        return self._state

    def stood_at(self) -> int | None:
        """Where the first row stands that an earlier run wrote without saving it."""
        return None

    async def write_completion(self, completion: Completion | None) -> None:
        if completion is not None and self.settings.completion is not None:
            await self.writer.write(self.settings.completion, pack_records([(None, completion.value, [])]))


def mutable(body: bytes | bytearray) -> bytearray:
    """A payload's body as the writer stamps it."""
    return body if isinstance(body, bytearray) else bytearray(body)


def with_producer(state: SinkState, producer: Producer) -> SinkState:
    """The sink's state with the producer in use among those whose batches are this job's; it comes last."""
    others = (each for each in state.producer_ids if each != producer.producer_id)
    return evolve(state, producer_ids=(*others, producer.producer_id), producer_epoch=producer.epoch)
