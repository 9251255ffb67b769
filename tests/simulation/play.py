"""One test on an empty cluster, faults aimed at one request, and the runs that most tests begin with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from csv2kafka.kafka.port import Producer, TopicPartition
from csv2kafka.kernel import pack_records, stamp
from csv2kafka.model import Checkpoint
from tests.simulation.broker import Fault, Network, Request, network
from tests.simulation.clock import simulate
from tests.simulation.cluster import Cluster
from tests.simulation.job import DATA, MemoryStore, Run, advanced, payload

DEAD_LETTERS = TopicPartition("refused", 0)
EVENTS = TopicPartition("events", 0)


def on(operation: str, nth: int, fault: Fault, *, client: int = 1) -> Callable[[Request], Fault | None]:
    """The fault for the ``nth`` request of that kind in a run's ``client``-th session."""

    def faults(request: Request) -> Fault | None:
        hit = (request.operation, request.nth, request.client) == (operation, nth, client)
        return fault if hit and request.name == "run" else None

    return faults


def played(test: Callable[[Network], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """The test with an empty cluster that has the topic, on the virtual clock."""

    def run() -> None:
        async def main() -> None:
            net = network()
            net.cluster.make_topic(DATA.topic)
            net.cluster.make_topic(DEAD_LETTERS.topic)
            net.cluster.make_topic(EVENTS.topic)
            await test(net)

        simulate(main())

    return run


def open_transaction(
    cluster: Cluster,
    identity: str,
    target: TopicPartition,
    *,
    key: bytes | None = None,
    value: bytes = b"foreign",
    timeout_ms: int = 900_000,
) -> Producer:
    """Another writer's transaction, open, with a record in the partition."""
    producer = cluster.init_producer(identity, timeout_ms)
    cluster.add_partitions(identity, producer, [target])
    batch = pack_records([(key, value, [])])
    stamp(
        batch,
        producer_id=producer.producer_id,
        epoch=producer.epoch,
        sequence=0,
        timestamp_ms=0,
        transactional=True,
    )
    cluster.produce(target, bytes(batch), identity)
    return producer


def sent(net: Network, name: str) -> list[str]:
    return [request.operation for request in net.sent if request.name == name]


async def begun(net: Network, rows: int = 6, *, store: MemoryStore | None = None) -> Checkpoint:
    """A run that committed ``rows`` rows of 20 and ended; gives its last checkpoint."""
    run = Run(network=net, name="begun", rows=20, store=store)
    async with run.session() as session:
        await session.write(payload(0, rows))
        done = await run.commit(session, advanced(session.resume_from, rows))
    await asyncio.sleep(1)
    return done


def at_least_once(net: Network, store: MemoryStore, name: str = "run", **settings: object) -> Run:
    return Run(network=net, name=name, store=store, delivery="at-least-once", **settings)  # type: ignore[arg-type]
