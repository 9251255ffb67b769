"""What a run into Kafka would find, looked at without writing a record, making a topic or fencing anybody.

``findings`` goes the way that a session is opened (``exactly_once``, ``at_least_once``), by the same checks, as far
as they only look. ``servers``: what is between here and a broker; ``topics``: one topic and its settings.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

from attrs import Factory, define, evolve

from csv2kafka.errors import Csv2KafkaError, NotAuthorized
from csv2kafka.kafka import checkpoint_topic, checks
from csv2kafka.kafka.port import (
    Broker,
    BrokerFactory,
    Fenced,
    LogEnds,
    Operation,
    Producer,
    TopicFacts,
    TopicPartition,
)
from csv2kafka.kafka.preflight.servers import server_findings
from csv2kafka.kafka.preflight.topics import looked_up, setting_findings
from csv2kafka.kafka.session import SinkSettings
from csv2kafka.kafka.settings import ClientSettings
from csv2kafka.kafka.writer import repeated
from csv2kafka.model import Checkpoint
from csv2kafka.model.findings import Finding, Forecast, way_on
from csv2kafka.protocols import Job

TRANSACTIONAL_ID_PREFIX = "csv2kafka-check."  # never a run's own: InitProducerId would fence it
TRANSACTION_LOG = "__transaction_state"
NOBODY = Producer(producer_id=-1, epoch=-1)  # no broker gives this one to anybody
LOG_END_SECONDS = 2.0  # for a leader that has just come up to know its log


async def findings(
    settings: SinkSettings,
    *,
    transactional: bool,
    servers: ClientSettings | None,
    brokers: BrokerFactory,
    job: Job,
    stored: Checkpoint | None,
    forecast: Forecast,
) -> AsyncIterator[Finding]:
    """In the order in which a run would meet them. ``servers``: each of which is asked by itself; None: none is.
    ``stored``: the checkpoint store's."""
    if servers is not None:
        asked = await server_findings(servers)
        for finding in asked:
            yield finding
        if all(finding.status == "fail" for finding in asked):
            yield Finding.not_checked("topics, rights and transactions", "no bootstrap server let us in")
            return
    try:
        async with brokers() as broker:
            look = _Look(
                settings=evolve(settings, request_seconds=LOG_END_SECONDS),
                broker=broker,
                job=job,
                stored=None if job.restart else stored,
                forecast=forecast,
            )
            for part in (look.topics(), look.exactly_once() if transactional else look.at_least_once()):
                async with aclosing(part):
                    async for finding in part:
                        yield finding
    except Csv2KafkaError as error:
        yield Finding.failed("cluster", error)


@define(eq=False, kw_only=True)
class _Look:
    """``stored``: what a run would go on from, by the store. ``data``: facts of the data topic, once they are known.
    ``there``: partitions that a run would write to, as far as they are there."""

    settings: SinkSettings
    broker: Broker
    job: Job
    stored: Checkpoint | None
    forecast: Forecast
    data: TopicFacts | None = None
    there: list[TopicPartition] = Factory(list)

    async def topics(self) -> AsyncGenerator[Finding, None]:
        """Where rows, dead letters and the completion event go."""
        settings, data = self.settings, self.settings.data
        name = f"topic {data.topic}"
        try:
            if self.stored is not None and self.stored.counts.rows:
                await checks.still_there(self.broker, data, self.stored)
        except Csv2KafkaError as error:
            yield Finding.failed(name, error)
            return
        create: dict[str, str] | None = {} if settings.create_topic else None
        needed = [
            (data, "--topic", (Operation.READ, Operation.WRITE)),
            (settings.dead_letters, "--dead-letter-topic", (Operation.WRITE,)),
            (settings.completion, "--completion-topic", (Operation.WRITE,)),
        ]
        for target, flag, operations in needed:
            if target is None:
                continue
            found = await looked_up(
                self.broker, target, *operations, flag=flag, create=create, partitions=target.partition + 1
            )
            for finding in found.findings:
                yield finding
            if found.facts is None:
                continue
            self.there.append(target)
            if target == data:
                self.data = found.facts
                keyed = bool(self.job.start.settings.get("key"))
                for finding in await setting_findings(
                    found.facts,
                    target.partition,
                    keyed=keyed,
                    compression=settings.compression,
                    forecast=self.forecast,
                ):
                    yield finding

    async def exactly_once(self) -> AsyncGenerator[Finding, None]:
        """The checkpoint topic, what it says, and the right to transactions."""
        target = self.settings.checkpoints
        replicas = None if self.data is None else self.data.config.get("min.insync.replicas")
        found = await looked_up(
            self.broker,
            target,
            Operation.READ,
            Operation.WRITE,
            flag="--checkpoint-topic",
            create=checkpoint_topic.new_config(replicas),
        )
        for finding in found.findings:
            yield finding
        if found.facts is not None:
            self.there.append(target)
            yield self._safe(found.facts)
        if all(finding.status != "fail" for finding in found.findings):
            yield await self._counted(found.facts)
        yield await self._transactions()

    async def at_least_once(self) -> AsyncGenerator[Finding, None]:
        """The store's checkpoint against the partition, and the right to an idempotent producer."""
        if self.stored is not None and self.data is not None:
            name = f"topic {self.data.name}: checkpoint"
            try:
                checks.same_topic(self.data, self.stored.sink)
                ends = await self._log_reaches(self.stored)
                checks.log_still_has(self.settings.data, self.stored.sink, ends)
                yield Finding.passed(name, "the partition reaches to where the store's checkpoint says")
            except Csv2KafkaError as error:
                yield Finding.failed(name, error)
        name = "idempotent producer"
        try:
            timeout_ms = self.settings.transaction_timeout_ms
            await repeated(lambda: self.broker.init_producer(None, timeout_ms=timeout_ms))
            yield Finding.passed(name, "we may have one")
        except Csv2KafkaError as error:
            yield Finding.failed(name, error)

    def _safe(self, facts: TopicFacts) -> Finding:
        """Its settings, and room for the list of source objects."""
        name = f"topic {facts.name}: settings"
        try:
            checkpoint_topic.refuse_unsafe(facts)
            checkpoint_topic.check_room(facts, self.job.name, self.job.manifest)
        except Csv2KafkaError as error:
            return Finding.failed(name, error)
        if (text := checkpoint_topic.warning(facts)) is not None:
            return Finding.not_checked(name, text)
        return Finding.passed(name, "compacted, and keeps what it has confirmed")

    async def _counted(self, facts: TopicFacts | None) -> Finding:
        """The checkpoint that counts, as far as it can be seen without a claim, held against the world."""
        target = self.settings.checkpoints
        name = f"topic {target.topic}: checkpoint"
        try:
            counted, decided = None, True
            if facts is not None:
                ends = await self.broker.log_ends(target)
                decided = ends.stable == ends.end  # else somebody's transaction is open, and may hide what counts
                counted = await checkpoint_topic.last_checkpoint(self.broker, target, self.job.name, before=ends.stable)
                if counted is not None and not self.job.restart:
                    await self._hold(counted, before=ends.stable)
            if not self.job.restart and decided:
                checks.store_not_ahead(self.stored, counted, target.topic)
        except Csv2KafkaError as error:
            return Finding.failed(name, error)
        return Finding.passed(name, way_on(counted, restart=self.job.restart))

    async def _hold(self, counted: Checkpoint, *, before: int) -> None:
        manifest = self.job.manifest
        if counted.manifest_digest == manifest.digest:
            self.job.check(counted, manifest)
        else:
            began = await checkpoint_topic.last_manifest(
                self.broker, self.settings.checkpoints, self.job.name, before=before
            )
            self.job.check(counted, began)
        if self.data is not None:
            checks.same_topic(self.data, counted.sink)
            await self._log_reaches(counted)

    async def _log_reaches(self, checkpoint: Checkpoint) -> LogEnds:
        reached = checkpoint.sink.offsets.get(checks.DATA, 0)
        return await checks.log_reaches(self.broker, self.settings.data, reached, wait=self.settings.request_seconds)

    async def _transactions(self) -> Finding:
        """The transactional id and its time-out, by InitProducerId of an id beside the run's. The right to write, by
        asking for the partitions as a producer that there is not: brokers look at rights first, then refuse it."""
        name, tried = "transactions", TRANSACTIONAL_ID_PREFIX + self.job.name
        try:
            if not await self._has_transaction_log():
                return Finding.not_checked(
                    name, f"this cluster has had no transaction yet: to try one would make its topic {TRANSACTION_LOG}"
                )
            timeout_ms = self.settings.transaction_timeout_ms
            await repeated(lambda: self.broker.init_producer(tried, timeout_ms=timeout_ms))
            if self.there:
                with suppress(Fenced):  # as it must be
                    await repeated(lambda: self.broker.add_partitions(tried, NOBODY, self.there))
        except NotAuthorized as error:
            return Finding.failed(name, NotAuthorized(error.message, hint=f"{error.hint}; {_both_ids(self.job.name)}"))
        except Csv2KafkaError as error:
            return Finding.failed(name, error)
        return Finding.passed(name, f"tried as {tried}: we may, and they may be open for {timeout_ms / 1000:g} s")

    async def _has_transaction_log(self) -> bool:
        try:
            return await self.broker.topic(TRANSACTION_LOG) is not None
        except NotAuthorized:
            return True  # nobody says; most clusters have it


def _both_ids(job: str) -> str:
    return f"for transactional ids that begin with csv2kafka (a run's is csv2kafka.{job})"
