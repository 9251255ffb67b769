"""``kafka://``: the checkpoint topic is the store. For exactly-once only.

It has no lease: the transactional id fences, so of two runs the later one has the job. Checkpoints and manifests
are written by the sink, in the transaction of the rows they cover; here they are read, and deleted.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from csv2kafka.errors import ConfigError
from csv2kafka.kafka import checkpoint_topic
from csv2kafka.kafka.checkpoint_topic import partition_of
from csv2kafka.kafka.client import broker_factory as client_factory
from csv2kafka.kafka.port import Broker, BrokerFactory
from csv2kafka.kafka.writer import ProducerState, Writer, repeated
from csv2kafka.model import Checkpoint, JobStatus, Manifest, checkpoint_from_json
from csv2kafka.protocols import Lease

DELETE_TIMEOUT_MS = 60_000


class KafkaStore:
    """The jobs of a checkpoint topic. A client is opened for each call, and closed again.

    bootstrap_servers, kafka_options (any of the client's, by aiokafka's names): which cluster.
    broker_factory, clock (seconds since the epoch): replaced in tests. Raises ConfigError.
    """

    def __init__(
        self,
        *,
        bootstrap_servers: str = "localhost:9092",
        checkpoint_topic: str = "csv2kafka-checkpoints",
        broker_factory: BrokerFactory | None = None,
        clock: Callable[[], float] = time.time,
        **kafka_options: Any,
    ) -> None:
        options = {"bootstrap_servers": bootstrap_servers, **kafka_options}
        self._brokers: BrokerFactory = broker_factory or client_factory(options)
        self._topic = partition_of(checkpoint_topic)
        self._clock = clock
        self._id = ""

    @property
    def id(self) -> str:
        """The cluster's id and the topic; empty before the first call."""
        return self._id

    @asynccontextmanager
    async def lease(self, job: str, owner: str) -> AsyncIterator[Lease | None]:
        """None: the last claim in the topic owns the job."""
        yield None

    async def load(self, job: str) -> Checkpoint | None:
        """The last one committed, as far as that is decided now."""
        async with self._opened() as broker:
            if await broker.topic(self._topic.topic) is None:
                return None
            stable = (await broker.log_ends(self._topic)).stable
            return await checkpoint_topic.last_checkpoint(broker, self._topic, job, before=stable)

    async def load_manifest(self, job: str) -> Manifest | None:
        async with self._opened() as broker:
            if await broker.topic(self._topic.topic) is None:
                return None
            stable = (await broker.log_ends(self._topic)).stable
            return await checkpoint_topic.last_manifest(broker, self._topic, job, before=stable)

    async def save(self, lease: Lease, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        """Never called, because there is no lease to call it with."""
        raise ConfigError(
            "kafka:// keeps only checkpoints that are committed with their rows",
            hint="use it with --delivery exactly-once into Kafka, or choose another --checkpoints",
        )

    async def jobs(self) -> AsyncIterator[JobStatus]:
        """All jobs, by name. Nobody holds a lease."""
        async with self._opened() as broker:
            if await broker.topic(self._topic.topic) is None:
                return
            records = await checkpoint_topic.all_records(broker, self._topic)
        found = []
        for key, record in records.items():
            job = checkpoint_topic.job_of(key, "checkpoint")
            if job is not None and record.value is not None:
                where = f"{self._topic} {key.decode()}"
                found.append(checkpoint_from_json(record.value, job=job, where=where))
        for checkpoint in sorted(found, key=lambda checkpoint: checkpoint.job):
            yield JobStatus(checkpoint=checkpoint)

    async def delete(self, job: str) -> None:
        """Forget the job, by tombstones. A run that is still at work writes its next checkpoint behind them."""
        async with self._opened() as broker:
            if await broker.topic(self._topic.topic) is None:
                return
            producer = await repeated(lambda: broker.init_producer(None, timeout_ms=DELETE_TIMEOUT_MS))
            writer = Writer(broker, ProducerState(producer), transactional_id=None, clock=self._clock, next_offsets={})
            try:
                for batch in checkpoint_topic.tombstone_records(job):
                    await writer.write(self._topic, batch)
                await writer.confirmed()
            finally:
                await writer.leave(for_good=True)

    async def close(self) -> None:
        """Nothing is open between calls."""

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Broker]:
        async with self._brokers() as broker:
            if not self._id:
                self._id = f"kafka:{await broker.cluster_id()}/{self._topic.topic}"
            yield broker
