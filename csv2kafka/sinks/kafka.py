"""Rows into one partition of a Kafka topic, in order, each once.

``_exactly_once`` and ``_at_least_once`` are the two ways to open a session, step by step as in
docs/guarantees.md; the steps themselves stand in ``csv2kafka/kafka``.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import structlog
from attrs import define, evolve, field, frozen

from csv2kafka.errors import ConfigError, Csv2KafkaError, TakenOver
from csv2kafka.kafka import checkpoint_topic, checks, ownership
from csv2kafka.kafka.client import broker_factory as client_factory
from csv2kafka.kafka.ownership import Ownership
from csv2kafka.kafka.packer import KafkaPacker
from csv2kafka.kafka.port import Broker, BrokerFactory, Fenced, Producer, TopicFacts, TopicPartition
from csv2kafka.kafka.reconcile import Standing
from csv2kafka.kafka.sessions import AtLeastOnceSession, ExactlyOnceSession
from csv2kafka.kafka.settings import client_settings
from csv2kafka.kafka.writer import ProducerState, Writer
from csv2kafka.model import Checkpoint, SinkState, Target
from csv2kafka.protocols import Job, Lease, SinkSession

COMPRESSIONS = ("zstd", "lz4", "snappy", "gzip", "none")
DELIVERIES = ("exactly-once", "at-least-once")
LAST_EPOCH = 32766  # a producer's epoch is 16 bits; behind it a new id begins


@define(eq=False, kw_only=True)
class _Run:
    """What the sink remembers from session to session of one run. (What counts is read anew each time.)

    ``restart_to``: the generation that ``restart`` was asked to begin. At-least-once: ``producer`` with its
    sequences and unconfirmed batches, ``next_offsets`` that were confirmed, ``begun``: the row-0 checkpoint.
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

    async def leave_session(self, *, for_good: bool) -> None:
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
class _Topics:
    """Facts of the data topic and, if there is one, of the dead letters'."""

    data: TopicFacts
    dead_letters: TopicFacts | None


class KafkaSink:
    """One partition of a topic. One instance serves one job.

    topic, partition: where rows go. bootstrap_servers: ``host:port``, several with commas.
    delivery: ``exactly-once`` (rows and checkpoint in one transaction) or ``at-least-once`` (reconciled).
    compression: ``zstd``, ``lz4``, ``snappy``, ``gzip`` or ``none``.
    checkpoint_topic: compacted, made if it is not there. create_topic: make a missing data topic, with the
    cluster's default replication. dead_letter_topic, completion_topic: partition 0 of each.
    transaction_timeout_ms: after which brokers end a dead run's transaction.
    kafka_options: any of the client's, by aiokafka's names (``security_protocol="SASL_SSL"``).

    broker_factory, clock (seconds since the epoch), draw (0 to 1): replaced in tests.
    Raises ConfigError with all problems at once.
    """

    def __init__(
        self,
        topic: str,
        *,
        bootstrap_servers: str = "localhost:9092",
        partition: int = 0,
        delivery: Literal["exactly-once", "at-least-once"] = "exactly-once",
        compression: str = "zstd",
        checkpoint_topic: str = "csv2kafka-checkpoints",
        create_topic: bool = False,
        dead_letter_topic: str | None = None,
        completion_topic: str | None = None,
        transaction_timeout_ms: int = 60_000,
        broker_factory: BrokerFactory | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
        **kafka_options: Any,
    ) -> None:
        options = {"bootstrap_servers": bootstrap_servers, **kafka_options}
        problems = _problems(
            topic=topic,
            partition=partition,
            delivery=delivery,
            compression=compression,
            checkpoint_topic=checkpoint_topic,
            dead_letter_topic=dead_letter_topic,
            completion_topic=completion_topic,
            transaction_timeout_ms=transaction_timeout_ms,
        )
        try:
            self._request_seconds = client_settings(options).request_seconds
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(*problems)
        self._data = TopicPartition(topic, partition)
        self._dead_letters = None if dead_letter_topic is None else TopicPartition(dead_letter_topic, 0)
        self._completion = None if completion_topic is None else TopicPartition(completion_topic, 0)
        self._checkpoints = TopicPartition(checkpoint_topic, 0)
        self._delivery = delivery
        self._compression = compression
        self._create_topic = create_topic
        self._transaction_timeout_ms = transaction_timeout_ms
        self._brokers: BrokerFactory = broker_factory or client_factory(options)
        self._clock = clock
        self._draw = draw
        self._run: _Run | None = None

    @property
    def destination(self) -> str:
        """``kafka topic orders partition 0``."""
        return f"kafka topic {self._data.topic} partition {self._data.partition}"

    @property
    def settings(self) -> dict[str, str]:
        """Destination and delivery; with exactly-once also where the checkpoints that count are."""
        settings = {"destination": self.destination, "delivery": self._delivery}
        if self._delivery == "exactly-once":
            settings["checkpoint_topic"] = self._checkpoints.topic
        return settings

    @asynccontextmanager
    async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[SinkSession]:
        """A session with a client of its own; see ``_exactly_once`` and ``_at_least_once``."""
        run = self._run_of(job, lease)
        opening = self._exactly_once if self._delivery == "exactly-once" else self._at_least_once
        for_good = True
        async with self._brokers() as broker:
            try:
                yield await opening(broker, job, stored, lease, run)
            except Fenced:
                for_good = False
                run.was_fenced()
                raise
            except Csv2KafkaError as error:
                for_good = not error.retryable
                raise
            finally:
                await run.leave_session(for_good=for_good)

    async def _exactly_once(
        self, broker: Broker, job: Job, stored: Checkpoint | None, lease: Lease | None, run: _Run
    ) -> SinkSession:
        """docs/guarantees.md, "Opening a session", steps 1 to 7."""
        owner, topic = run.owner, self._checkpoints
        # 1. The lease is the pipeline's; lost, nothing is sent.
        if lease is not None:
            await lease.renew()
        # 2. The topics.
        facts = await self._topics(broker, job, run)
        replicas = facts.data.config.get("min.insync.replicas")
        await checkpoint_topic.prepare(broker, topic.topic, min_insync_replicas=replicas)
        # 3. What must stop this run stops it before it has shut anybody out.
        if not owner.begun and not job.restart:
            await self._check_before(broker, job, stored, facts.data)
        # 4. From here on nobody else gets anything in; after a fence, ask first whether the job is still ours.
        await ownership.ask_after_fence(owner, broker, topic, lease, self._draw)
        producer = await ownership.shut_out_others(
            owner, broker, topic, lease, f"csv2kafka.{job.name}", self._transaction_timeout_ms
        )
        writer = run.writer = await self._transactional_writer(broker, job, producer, owner)
        # 5. and 6. The claim; seen, the last checkpoint before it is the one that counts.
        claimed = await ownership.claim(owner, broker, writer, topic, self._clock)
        counted = await checkpoint_topic.last_checkpoint(broker, topic, job.name, before=claimed)
        # 7. Held against the world. A stop counts only if nobody has claimed since.
        try:
            restart = self._restarts(job, counted, stored, run)
            if counted is not None and not restart:
                await self._check_after(broker, job, counted, stored, facts.data, writer)
            elif not restart:
                checks.store_not_ahead(stored, None, topic.topic)
        except TakenOver:
            raise
        except Csv2KafkaError as error:
            if not error.retryable:
                await ownership.claim(owner, broker, writer, topic, self._clock)
            raise
        if counted is None or restart:
            counted = await self._begin(broker, job, facts.data, writer, run)
        return ExactlyOnceSession(
            resume_from=counted,
            packer=self._packer(facts),
            writer=writer,
            targets=self._targets,
            completion=self._completion,
            checkpoints=topic,
            owner=owner,
        )

    async def _at_least_once(
        self, broker: Broker, job: Job, stored: Checkpoint | None, lease: Lease | None, run: _Run
    ) -> SinkSession:
        """docs/guarantees.md, "At-least-once, reconciled"."""
        if lease is None:
            raise ConfigError(
                "--delivery at-least-once needs a checkpoint store with leases",
                hint="kafka:// has none; choose another --checkpoints, or --delivery exactly-once",
            )
        await lease.renew()
        facts = await self._topics(broker, job, run)
        known = self._to_go_on_from(job, stored, run)
        if known is not None:
            job.check(known, job.manifest if known.manifest_digest == job.manifest.digest else None)
            checks.same_topic(facts.data, known.sink)
            reached = max(known.sink.offsets.get(checks.DATA, 0), run.next_offsets.get(self._data, 0))
            ends = await checks.log_reaches(broker, self._data, reached, wait=self._request_seconds)
            checks.log_still_has(self._data, known.sink, ends)
        if run.producer is None:
            if stored is not None:
                await asyncio.sleep(self._request_seconds)  # until nothing of a dead run can be on its way
            run.producer = ProducerState(await self._successor(broker, stored, run))
        writer = run.writer = Writer(
            broker, run.producer, transactional_id=None, clock=self._clock, next_offsets=run.next_offsets
        )
        await writer.send_again()
        ends = await broker.log_ends(self._data)
        if known is None:
            known = run.begun = self._first_checkpoint(job, facts.data, ends.end, run)
        ids = (*(i for i in known.sink.producer_ids if i != run.producer.producer.producer_id),)
        sink = evolve(
            known.sink,
            producer_ids=(*ids, run.producer.producer.producer_id),
            producer_epoch=run.producer.producer.epoch,
        )
        run.standing = Standing(
            broker=broker,
            target=self._data,
            producer_ids=frozenset(sink.producer_ids),
            start=sink.offsets[checks.DATA],
            end=ends.end,
            on_foreign=job.on_foreign,
        )
        return AtLeastOnceSession(
            resume_from=evolve(known, sink=sink),
            packer=self._packer(facts),
            writer=writer,
            targets=self._targets,
            completion=self._completion,
            stood=run.standing,
        )

    # Steps of both

    def _run_of(self, job: Job, lease: Lease | None) -> _Run:
        if self._run is None or self._run.owner.run_id != job.run_id:
            store_id = None if lease is None else lease.store_id
            self._run = _Run(owner=Ownership(job=job.name, run_id=job.run_id, store_id=store_id))
        return self._run

    async def _topics(self, broker: Broker, job: Job, run: _Run) -> _Topics:
        """The topics are there. What could lose rows in the data topic is said once."""
        data = await checks.existing_topic(broker, self._data, create=self._create_topic, flag="--topic")
        dead_letters = None
        if self._dead_letters is not None:
            dead_letters = await checks.existing_topic(
                broker, self._dead_letters, create=self._create_topic, flag="--dead-letter-topic"
            )
        if self._completion is not None:
            await checks.existing_topic(broker, self._completion, create=self._create_topic, flag="--completion-topic")
        if not run.warned:
            run.warned = True
            for text in checks.warnings(data, self._data.partition, keyed=bool(job.start.settings.get("key"))):
                structlog.get_logger("csv2kafka.kafka").warning(text)
        return _Topics(data=data, dead_letters=dead_letters)

    def _packer(self, facts: _Topics) -> KafkaPacker:
        return KafkaPacker(
            limit=checks.batch_limit(facts.data),
            dead_letter_limit=checks.batch_limit(facts.dead_letters or facts.data),
            compression=self._compression,
        )

    @property
    def _targets(self) -> Mapping[Target, TopicPartition]:
        if self._dead_letters is None:
            return {Target.DATA: self._data}
        return {Target.DATA: self._data, Target.DEAD_LETTER: self._dead_letters}

    def _restarts(self, job: Job, counted: Checkpoint | None, stored: Checkpoint | None, run: _Run) -> bool:
        """Whether ``restart`` is still to be done. Once: what an earlier session of this run began goes on."""
        if not job.restart:
            return False
        if run.restart_to is None:
            run.restart_to = 1 + max((c.generation for c in (counted, stored) if c is not None), default=-1)
        return counted is None or counted.generation < run.restart_to

    def _first_checkpoint(self, job: Job, facts: TopicFacts, end: int, run: _Run) -> Checkpoint:
        """Row 0 of a generation that begins at the partition's end."""
        return evolve(
            job.start,
            generation=run.restart_to or 0,
            sink=SinkState(offsets={checks.DATA: end}, first_offset=end, destination_id=facts.topic_id),
        )

    # Steps of exactly-once

    async def _check_before(self, broker: Broker, job: Job, stored: Checkpoint | None, facts: TopicFacts) -> None:
        """Step 3, read-only, by the checkpoint as far as it can be seen without a claim."""
        decided = (await broker.log_ends(self._checkpoints)).stable
        known = await checkpoint_topic.last_checkpoint(broker, self._checkpoints, job.name, before=decided)
        if (checkpoint := known or stored) is not None:
            await self._check_settings(broker, job, checkpoint, before=decided)
        if known is not None:
            checks.same_topic(facts, known.sink)
            await checks.log_reaches(
                broker, self._data, known.sink.offsets.get(checks.DATA, 0), wait=self._request_seconds
            )

    async def _check_after(
        self,
        broker: Broker,
        job: Job,
        counted: Checkpoint,
        stored: Checkpoint | None,
        facts: TopicFacts,
        writer: Writer,
    ) -> None:
        """Step 7."""
        await self._check_settings(broker, job, counted, before=writer.next_offsets[self._checkpoints])
        checks.store_not_ahead(stored, counted, self._checkpoints.topic)
        checks.same_topic(facts, counted.sink)
        reached = counted.sink.offsets.get(checks.DATA, 0)
        ends = await checks.log_reaches(broker, self._data, reached, wait=self._request_seconds)
        await checks.nothing_of_ours_behind(broker, self._data, counted.sink, ends)

    async def _check_settings(self, broker: Broker, job: Job, checkpoint: Checkpoint, *, before: int) -> None:
        manifest = job.manifest
        if checkpoint.manifest_digest != manifest.digest:  # then it is wanted, to say what differs
            found = await checkpoint_topic.last_manifest(broker, self._checkpoints, job.name, before=before)
            job.check(checkpoint, found)
            return
        job.check(checkpoint, manifest)

    async def _transactional_writer(self, broker: Broker, job: Job, producer: Producer, owner: Ownership) -> Writer:
        assert owner.noted_end is not None
        next_offsets = {self._checkpoints: owner.noted_end}
        for partition in self._targets.values():
            next_offsets[partition] = (await broker.log_ends(partition)).end
        return Writer(
            broker,
            ProducerState(producer),
            transactional_id=f"csv2kafka.{job.name}",
            clock=self._clock,
            next_offsets=next_offsets,
        )

    async def _begin(self, broker: Broker, job: Job, facts: TopicFacts, writer: Writer, run: _Run) -> Checkpoint:
        """A generation's row-0 checkpoint and its manifest, in one transaction with a claim; then read again."""
        end = (await broker.log_ends(self._data)).end
        start = self._first_checkpoint(job, facts, end, run)
        producer = writer.state.producer
        start = evolve(
            start,
            sink=evolve(start.sink, producer_ids=(producer.producer_id,), producer_epoch=producer.epoch),
        )
        claimed = await ownership.claim(
            run.owner,
            broker,
            writer,
            self._checkpoints,
            self._clock,
            checkpoint_topic.manifest_record(job.name, job.manifest),
            checkpoint_topic.checkpoint_record(start),
        )
        counted = await checkpoint_topic.last_checkpoint(broker, self._checkpoints, job.name, before=claimed)
        return counted or start

    # Steps of at-least-once

    def _to_go_on_from(self, job: Job, stored: Checkpoint | None, run: _Run) -> Checkpoint | None:
        """The store's checkpoint, or None to begin. What this run began is not forgotten before it is saved."""
        if run.begun is not None and (stored is None or stored.generation < run.begun.generation):
            return run.begun
        return None if self._restarts(job, stored, stored, run) else stored

    async def _successor(self, broker: Broker, stored: Checkpoint | None, run: _Run) -> Producer:
        """The producer of a dead run with the next epoch, which shuts out what that run left in the network.

        A new one where there is none; and where somebody uses ours with a later epoch, though the lease is ours:
        with their epoch our sequences could be taken for theirs.
        """
        if stored is not None and stored.sink.producer_ids and not run.shut_out:
            epoch = stored.sink.producer_epoch
            if epoch < LAST_EPOCH:
                return Producer(producer_id=stored.sink.producer_ids[-1], epoch=epoch + 1)
        return await broker.init_producer(None, timeout_ms=self._transaction_timeout_ms)


def _problems(
    *,
    topic: str,
    partition: int,
    delivery: str,
    compression: str,
    checkpoint_topic: str,
    dead_letter_topic: str | None,
    completion_topic: str | None,
    transaction_timeout_ms: int,
) -> list[str]:
    """What does not fit together, each with the flag."""
    problems = []
    if partition < 0:
        problems.append(f"--partition: expected 0 or more, found {partition}")
    if delivery not in DELIVERIES:
        problems.append(f"--delivery: expected {' or '.join(DELIVERIES)}, found {delivery!r}")
    if compression not in COMPRESSIONS:
        problems.append(f"--compression: expected one of {', '.join(COMPRESSIONS)}, found {compression!r}")
    if transaction_timeout_ms < 1000:
        problems.append(f"transaction_timeout_ms: expected 1000 or more, found {transaction_timeout_ms}")
    named = {
        "--topic": topic,
        "--checkpoint-topic": checkpoint_topic,
        "--dead-letter-topic": dead_letter_topic,
        "--completion-topic": completion_topic,
    }
    pairs = itertools.combinations([(flag, name) for flag, name in named.items() if name is not None], 2)
    problems += [f"{flag}: {name} is {other} already" for (other, taken), (flag, name) in pairs if name == taken]
    return problems
