"""The port onto a simulated cluster, with a network between that can lose, delay and cut.

What a client sends arrives in order on each of its connections (one per partition, one to the coordinator),
even after the client is gone: that is how zombies come about.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from attrs import define, field, frozen
from typing_extensions import Buffer

from csv2kafka.errors import Csv2KafkaError, Doubt, NotReachable, TopicMissing
from csv2kafka.kafka.port import Broker, Fetched, Isolation, LogEnds, Producer, TopicFacts, TopicPartition
from tests.simulation.cluster import Cluster
from tests.simulation.partition import error

T = TypeVar("T")

LATENCY = 0.001
REQUEST_SECONDS = 30.0
POLL_SECONDS = 0.5


@frozen(kw_only=True)
class Fault:
    """What happens to one request. ``delay``: seconds on its way there. ``lost``: it never arrives.
    ``answer_lost``/``answer_delay``: of its answer. ``code``: answered with this error; nothing done, unless ``done``.
    ``cut``: the client sees the connection break at once; the request still arrives (after ``delay``) unless lost.
    """

    delay: float = 0.0
    lost: bool = False
    answer_lost: bool = False
    answer_delay: float = 0.0
    code: int | None = None
    done: bool = False
    cut: bool = False


@frozen(kw_only=True)
class Request:
    """A request as faults see it. ``client`` counts a factory's sessions from 1, ``nth`` requests of that kind in it.
    ``operation``: ``init_producer``, ``add_partitions``, ``produce``, ``end_transaction``, ``read`` …"""

    name: str
    client: int
    operation: str
    nth: int
    target: TopicPartition | None = None
    commit: bool | None = None


Faults = Callable[[Request], Fault | None]
WIRE_NAMES = {"init_producer": "InitProducerId"}  # where a code's meaning depends on the request


class Silence(Exception):
    """Nobody answers a request that arrived."""


class Leaders:
    """Which node a connection leads to, and what answers there. As it stands: one node that is always there."""

    def connect(self, connection: object, *, refresh: bool = False) -> object:
        """A new connection's node, as the cluster (or a broker that does not know better) names it."""
        return None

    def reached(self, connection: object, node: object, operation: str, cluster: Cluster) -> Cluster:
        """What a request finds there. Raises the error it is answered with, or Silence."""
        return cluster


@define(kw_only=True)
class Network:
    """One cluster and its clients. ``sent`` has every request, in order of sending, for tests to look at. ``told``
    hears of each request and of what became of it."""

    cluster: Cluster
    faults: Faults = lambda _: None
    sent: list[Request] = field(factory=list)
    dead: set[str] = field(factory=set)  # names of clients that were killed
    leaders: Leaders = field(factory=Leaders)
    told: Callable[[Request, str], None] | None = None
    context: contextvars.Context = field(factory=contextvars.copy_context)  # brokers work in it, whoever asks
    clients: list[SimulatedBroker] = field(factory=list)

    def factory(self, name: str = "run") -> SimulatedFactory:
        """A broker factory whose requests carry ``name``."""
        return SimulatedFactory(network=self, name=name)


def network(*, verifies: bool = False) -> Network:
    """A network with an empty cluster, on the running loop."""
    loop = asyncio.get_running_loop()
    return Network(cluster=Cluster(later=loop.call_later, verifies=verifies))


@define(kw_only=True)
class SimulatedFactory:
    network: Network
    name: str
    opened: int = 0
    reachable: bool = True

    def __call__(self) -> AbstractAsyncContextManager[Broker]:
        self.opened += 1
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Broker]:
        await asyncio.sleep(LATENCY)
        if not self.reachable:
            raise NotReachable(f"{self.name}: nothing answers")
        client = SimulatedBroker(network=self.network, name=self.name, number=self.opened)
        self.network.clients.append(client)
        try:
            yield client
        finally:
            client.closed = True


@define(kw_only=True)
class SimulatedBroker:
    network: Network
    name: str
    number: int
    closed: bool = False
    _counts: dict[str, int] = field(factory=dict)
    _arrivals: dict[object, float] = field(factory=dict)  # of each connection, its last request's
    _broken: set[object] = field(factory=set)
    _nodes: dict[object, object] = field(factory=dict)

    def disconnect(self) -> None:
        """All its connections are gone, and it has yet to find out."""
        self.closed = True

    async def cluster_id(self) -> str:
        return "simulated"

    async def topic(self, name: str) -> TopicFacts | None:
        return await self._ask("topic", "any", lambda cluster: cluster.facts(name))

    async def create_topic(
        self, name: str, *, partitions: int, config: Mapping[str, str], only_try: bool = False
    ) -> None:
        def make(cluster: Cluster) -> None:
            if not only_try:
                cluster.make_topic(name, partitions=partitions, config=config)

        await self._ask("create_topic", "any", make)

    async def init_producer(self, transactional_id: str | None, *, timeout_ms: int) -> Producer:
        return await self._ask(
            "init_producer", "coordinator", lambda cluster: cluster.init_producer(transactional_id, timeout_ms)
        )

    async def add_partitions(
        self, transactional_id: str, producer: Producer, partitions: Sequence[TopicPartition]
    ) -> None:
        await self._ask(
            "add_partitions",
            "coordinator",
            lambda cluster: cluster.add_partitions(transactional_id, producer, partitions),
        )

    async def produce(self, target: TopicPartition, batch: Buffer, *, transactional_id: str | None) -> int:
        data = bytes(batch)
        return await self._ask(
            "produce", target, lambda cluster: cluster.produce(target, data, transactional_id), target=target
        )

    async def end_transaction(self, transactional_id: str, producer: Producer, *, commit: bool) -> None:
        await self._ask(
            "end_transaction",
            "coordinator",
            lambda cluster: cluster.end_transaction(transactional_id, producer, commit=commit),
            commit=commit,
        )

    async def log_ends(self, target: TopicPartition, *, refresh: bool = False) -> LogEnds:
        if refresh:
            self._nodes[target] = self.network.leaders.connect(target, refresh=True)
        return await self._ask("log_ends", ("read", target), lambda cluster: cluster.log(target).ends(), target=target)

    async def read(self, target: TopicPartition, offset: int, isolation: Isolation, *, max_bytes: int) -> Fetched:
        def look(cluster: Cluster) -> Fetched:
            return cluster.log(target).read(offset, isolation, max_bytes)

        fetched = await self._ask("read", ("read", target), look, target=target)
        if not fetched.batches:
            await asyncio.sleep(POLL_SECONDS)
            fetched = await self._ask("read", ("read", target), look, target=target)
        return fetched

    async def _ask(
        self,
        operation: str,
        connection: object,
        apply: Callable[[Cluster], T],
        *,
        target: TopicPartition | None = None,
        commit: bool | None = None,
    ) -> T:
        if self.closed or connection in self._broken or self.name in self.network.dead:
            raise Doubt(f"{self.name}: {operation}: the connection is gone")
        self._counts[operation] = nth = self._counts.get(operation, 0) + 1
        request = Request(
            name=self.name, client=self.number, operation=operation, nth=nth, target=target, commit=commit
        )
        self.network.sent.append(request)
        fault = self.network.faults(request) or Fault()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        leader = connection[1] if isinstance(connection, tuple) else connection
        if leader not in self._nodes:
            self._look_up(leader)
            self._nodes[leader] = self.network.leaders.connect(leader)
        if fault.lost:
            self._tell(request, "lost")
        else:
            arrival = (
                max(self._arrivals.get(connection, 0.0), loop.time() + LATENCY + fault.delay) + 1e-6
            )  # timers of one time have no order
            self._arrivals[connection] = arrival
            loop.call_at(arrival, self._arrive, apply, fault, request, leader, answer, context=self.network.context)
        if fault.cut:
            self._broken.add(connection)
            answer.cancel()
            raise Doubt(f"{self.name}: {operation}: connection reset")
        late = loop.call_later(REQUEST_SECONDS, self._too_late, operation, answer)
        try:
            return await answer
        finally:
            late.cancel()
            if answer.done() and not answer.cancelled():
                answer.exception()  # say that it was seen, also by one who was cancelled in that moment

    def _too_late(self, operation: str, answer: asyncio.Future[T]) -> None:
        if not answer.done():
            doubt = Doubt(f"{self.name}: {operation}: no answer within {REQUEST_SECONDS:.0f} s")
            answer.set_exception(doubt)

    def _look_up(self, leader: object) -> None:
        """Who leads is asked before the first request, and the answer can be that there is no such partition."""
        if isinstance(leader, TopicPartition):
            topic = self.network.cluster.topics.get(leader.topic)
            if topic is None or leader.partition not in topic.partitions:
                raise TopicMissing(f"{leader} does not exist")

    def _arrive(
        self, apply: Callable[[Cluster], T], fault: Fault, request: Request, leader: object, answer: asyncio.Future[T]
    ) -> None:
        """The broker takes the request; the answer, if any, is on its way."""
        loop = asyncio.get_running_loop()
        name = WIRE_NAMES.get(request.operation, request.operation)
        try:
            if fault.code is not None and not fault.done:
                raise error(name, fault.code)
            result = apply(
                self.network.leaders.reached(leader, self._nodes.get(leader), request.operation, self.network.cluster)
            )
            if fault.code is not None:
                raise error(name, fault.code)
        except Silence:
            self._tell(request, "reached nobody who answers")
            return
        except Csv2KafkaError as said:
            if leader == "coordinator" and request.operation == "init_producer":
                self._nodes.pop(leader, None)  # asked again, it looks for the coordinator again
            self._tell(request, f"answered {said}{' though done' if fault.done else ''}")
            settle: Callable[[], None] = lambda said=said: answer.done() or answer.set_exception(said)  # type: ignore  # noqa: E731
        else:
            self._tell(request, f"done{', answer lost' if fault.answer_lost else ''}")
            settle = lambda: answer.done() or answer.set_result(result)  # type: ignore  # noqa: E731
        if not fault.answer_lost:
            loop.call_later(LATENCY + fault.answer_delay, settle)

    def _tell(self, request: Request, what: str) -> None:
        if self.network.told is not None:
            self.network.told(request, what)
