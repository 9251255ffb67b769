"""The Kafka sink against the simulated cluster: the suite that every sink passes, in both deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Literal

import pytest

from csv2kafka.errors import ConfigError
from csv2kafka.kafka.port import Isolation, TopicPartition
from csv2kafka.kernel import unpack_batch
from csv2kafka.protocols import Sink
from csv2kafka.sinks.kafka import KafkaSink
from csv2kafka.testing.sink_conformance import SinkConformance
from csv2kafka.testing.values import Row
from tests.simulation.broker import Network, network
from tests.simulation.clock import now, simulate

LIMIT = 200_000


class _Conformance(SinkConformance):
    too_large = LIMIT + 1
    delivery: Literal["exactly-once", "at-least-once"]

    def make(self) -> Sink:
        return KafkaSink(
            "orders",
            delivery=self.delivery,
            compression="none",
            dead_letter_topic="refused",
            broker_factory=None if self.network is None else self.network.factory(),
            clock=now,
        )

    network: Network | None = None

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        async def with_cluster() -> None:
            self.network = network()
            self.network.cluster.make_topic("orders", config={"max.message.bytes": str(LIMIT)})
            self.network.cluster.make_topic("refused")
            await main

        simulate(with_cluster())

    async def read(self) -> list[Row]:
        return await self._committed("orders")

    async def dead_letters(self) -> list[bytes] | None:
        return [value for _, value in await self._committed("refused")]

    async def _committed(self, topic: str) -> list[Row]:
        assert self.network is not None
        await asyncio.sleep(1)  # until markers are written
        fetched = self.network.cluster.log(TopicPartition(topic, 0)).read(0, Isolation.READ_COMMITTED, 1 << 40)
        kept = [batch for batch in fetched.batches if not batch.is_control and not batch.aborted]
        return [row for batch in kept for row in unpack_batch(batch.data).records.rows()]


class TestExactlyOnce(_Conformance):
    delivery = "exactly-once"


class TestAtLeastOnce(_Conformance):
    delivery = "at-least-once"
    dead_letters_can_double = True


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        KafkaSink(
            "orders",
            partition=-1,
            compression="rar",
            delivery="at-most-once",  # type: ignore[arg-type]
            dead_letter_topic="orders",
            completion_topic="csv2kafka-checkpoints",
            transaction_timeout_ms=30_000,
            linger_ms=5,
        )
    told = str(raised.value)
    for word in (
        "--partition",
        "--compression",
        "--delivery",
        "--dead-letter-topic",
        "--completion-topic",
        "transaction_timeout_ms",
        "linger_ms",
    ):
        assert word in told
