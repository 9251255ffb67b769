"""One test on an empty cluster, and faults aimed at one request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from csv2kafka.kafka.port import TopicPartition
from tests.simulation.broker import Fault, Network, Request, network
from tests.simulation.clock import simulate
from tests.simulation.job import DATA

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
