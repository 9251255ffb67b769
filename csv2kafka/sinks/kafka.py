"""Rows into one partition of a Kafka topic, in order, each once.

How a session is opened and what it promises stands in ``csv2kafka/kafka``: exactly_once.py and at_least_once.py.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from csv2kafka.errors import ConfigError, Csv2KafkaError
from csv2kafka.kafka import at_least_once, exactly_once
from csv2kafka.kafka.checkpoint_topic import partition_of
from csv2kafka.kafka.client import broker_factory as client_factory
from csv2kafka.kafka.ownership import Ownership
from csv2kafka.kafka.port import BrokerFactory, Fenced, TopicPartition
from csv2kafka.kafka.session import RunMemory, SinkSettings
from csv2kafka.kafka.settings import ClientSettings, client_settings
from csv2kafka.kernel import COMPRESSIONS
from csv2kafka.model import Checkpoint
from csv2kafka.model.findings import Finding, Forecast
from csv2kafka.protocols import Job, Lease, SinkSession

# A transaction is open for one commit interval, 30 s at most, and then until its batches are confirmed.
LEAST_TRANSACTION_TIMEOUT_MS = 40_000
DELIVERIES = ("exactly-once", "at-least-once")


class KafkaSink:
    """One partition of a topic. One instance serves one job.

    topic, partition: where rows go. bootstrap_servers: ``host:port``, several with commas.
    delivery: ``exactly-once`` (rows and checkpoint in one transaction) or ``at-least-once`` (reconciled).
    compression: ``zstd``, ``lz4``, ``snappy``, ``gzip`` or ``none``.
    checkpoint_topic: compacted, made if it is not there. create_topic: make a missing data topic, with the
    cluster's default replication. dead_letter_topic, completion_topic: partition 0 of each.
    transaction_timeout_ms: after which brokers end a dead run's transaction; 40 s or more, because a commit interval
    may be 30 s.
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
        servers: ClientSettings | None = None
        try:
            servers = client_settings(options)
        except ConfigError as error:
            problems += error.problems
        if problems or servers is None:
            raise ConfigError(*problems)
        self._settings = SinkSettings(
            data=TopicPartition(topic, partition),
            dead_letters=None if dead_letter_topic is None else TopicPartition(dead_letter_topic, 0),
            completion=None if completion_topic is None else TopicPartition(completion_topic, 0),
            checkpoints=partition_of(checkpoint_topic),
            compression=compression,
            create_topic=create_topic,
            transaction_timeout_ms=transaction_timeout_ms,
            request_seconds=servers.request_seconds,
            clock=clock,
            draw=draw,
        )
        self._delivery = delivery
        self._brokers: BrokerFactory = broker_factory or client_factory(options)
        self._servers = servers if broker_factory is None else None  # to be asked one by one
        self._run: RunMemory | None = None

    @property
    def destination(self) -> str:
        """``kafka topic orders partition 0``."""
        return f"kafka topic {self._settings.data.topic} partition {self._settings.data.partition}"

    @property
    def settings(self) -> dict[str, str]:
        """Destination and delivery; with exactly-once also where the checkpoints that count are."""
        settings = {"destination": self.destination, "delivery": self._delivery}
        if self._delivery == "exactly-once":
            settings["checkpoint_topic"] = self._settings.checkpoints.topic
        return settings

    @asynccontextmanager
    async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[SinkSession]:
        """A session with a client of its own."""
        run = self._run_of(job, lease)
        for_good = True
        async with self._brokers() as broker:
            try:
                session: SinkSession
                if self._delivery == "exactly-once":
                    session = await exactly_once.open_session(self._settings, broker, job, stored, lease, run)
                else:
                    session = await at_least_once.open_session(self._settings, broker, job, stored, lease, run)
                yield session
            except Fenced:
                for_good = False
                run.was_fenced()
                raise
            except Csv2KafkaError as error:
                for_good = not error.retryable
                raise
            finally:
                await run.leave_session(for_good=for_good)

    def preflight(self, job: Job, stored: Checkpoint | None, forecast: Forecast) -> AsyncIterator[Finding]:
        """See protocols.Sink: no record is written, no topic made, nobody fenced."""
        from csv2kafka.kafka import preflight  # late, because runs do not need it

        return preflight.findings(
            self._settings,
            transactional=self._delivery == "exactly-once",
            servers=self._servers,
            brokers=self._brokers,
            job=job,
            stored=stored,
            forecast=forecast,
        )

    def _run_of(self, job: Job, lease: Lease | None) -> RunMemory:
        if self._run is None or self._run.owner.run_id != job.run_id:
            store_id = None if lease is None else lease.store_id
            self._run = RunMemory(owner=Ownership(job=job.name, run_id=job.run_id, store_id=store_id))
        return self._run


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
    if transaction_timeout_ms < LEAST_TRANSACTION_TIMEOUT_MS:
        problems.append(
            f"transaction_timeout_ms: expected {LEAST_TRANSACTION_TIMEOUT_MS} or more, longer than any commit "
            f"interval, found {transaction_timeout_ms}"
        )
    named = {
        "--topic": topic,
        "--checkpoint-topic": checkpoint_topic,
        "--dead-letter-topic": dead_letter_topic,
        "--completion-topic": completion_topic,
    }
    pairs = itertools.combinations([(flag, name) for flag, name in named.items() if name is not None], 2)
    problems += [f"{flag}: {name} is {other} already" for (other, taken), (flag, name) in pairs if name == taken]
    return problems
