"""The sink on a real broker: what another client sees, and where the next run goes on."""

from __future__ import annotations

import uuid

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ConfluentPartition

from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import BrokerFactory
from tests.simulation.job import Run, advanced, expected, payload


def read(bootstrap_servers: str, topic: str, rows: int, partition: int = 0) -> list[bytes]:
    """``rows`` values from the partition's start, by librdkafka with read_committed; then nothing more comes."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": uuid.uuid4().hex,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([ConfluentPartition(topic, partition, 0)])
    found: list[bytes] = []
    try:
        while len(found) < rows:
            messages = consumer.consume(rows - len(found), timeout=10)
            assert messages, f"only {len(found)} of {rows} rows"
            for message in messages:
                assert message.error() is None
                content = message.value()
                assert content is not None
                found.append(content)
        assert consumer.consume(1, timeout=0.3) == []
    finally:
        consumer.close()
    return found


class _Real:
    """Stands where a simulated network would: each run gets a client of its own."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def factory(self, name: str) -> BrokerFactory:
        return broker_factory({"bootstrap_servers": self.bootstrap_servers, "client_id": name})


def run_on(bootstrap_servers: str, topic: str, **settings: object) -> Run:
    return Run(
        network=_Real(bootstrap_servers),  # type: ignore[arg-type]
        topic=topic,
        job=topic,
        checkpoint_topic="checkpoints-of-tests",
        **settings,  # type: ignore[arg-type]
    )


async def test_rows_in_order_then_complete_for_the_next_run(bootstrap_servers: str, topic: str) -> None:
    first = await run_on(bootstrap_servers, topic, rows=100, batch=7).run()
    assert first.complete
    assert read(bootstrap_servers, topic, 100) == expected(100)
    second = run_on(bootstrap_servers, topic, name="second", rows=100)
    assert await second.run() == first
    assert second.commits == 0


async def test_a_run_that_stops_within_a_transaction_leaves_nothing_of_it(bootstrap_servers: str, topic: str) -> None:
    first = run_on(bootstrap_servers, topic, rows=50)
    async with first.session() as session:
        at = session.resume_from
        await session.write(payload(0, 10))
        at = await first.commit(session, advanced(at, 10))
        await session.write(payload(10, 20))
    second = run_on(bootstrap_servers, topic, name="second", rows=50)
    await second.run()
    assert read(bootstrap_servers, topic, 50) == expected(50)
