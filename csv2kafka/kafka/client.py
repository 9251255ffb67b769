"""The port to a real cluster: a session's own client, which asks each thing once and opens nothing twice.

Connections: one to the first bootstrap server that answers (questions about the cluster), one to each
partition's leader that is produced to or read from, one to the transaction's coordinator, one to the controller
where a topic is created. Each is opened when first needed. One that is gone stays gone, so what needs it again
is a doubt: a request may still be on its way in it, and must not be overtaken by a later one.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from typing_extensions import Buffer

from csv2kafka.errors import ConfigError, Doubt, NotReachable, TopicMissing
from csv2kafka.kafka import wire
from csv2kafka.kafka.answers import Code, of_partition, refusal, sole
from csv2kafka.kafka.connection import Connection, close_all
from csv2kafka.kafka.fetched import mark_aborted, split
from csv2kafka.kafka.port import (
    Broker,
    BrokerError,
    BrokerFactory,
    Fetched,
    Isolation,
    LogEnds,
    Operation,
    Producer,
    TopicFacts,
    TopicPartition,
)
from csv2kafka.kafka.settings import ClientSettings, client_settings

ALL_REPLICAS = -1  # acks
DEFAULT_REPLICATION = -1
FETCH_WAIT_MS = 500
BROKER_SHARE = 2 / 3  # of the request time-out: what the broker may take, so that its own answer comes in time
FIRST_POLL_SECONDS = 0.005  # for a topic just made; doubled up to the option's pause
LARGEST_FETCH_BYTES = 2**31 - 1


def broker_factory(settings: Mapping[str, Any]) -> BrokerFactory:
    """What opens a client for each session, from options by aiokafka's names (``kafka/settings.py``).

    Raises ConfigError with all problems. Entering what the factory gives asks the bootstrap servers in turn,
    beginning with the next one each time: NotReachable if none answers.
    """
    return _Factory(client_settings(settings))


class _Factory:
    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._opened = 0

    def __call__(self) -> AbstractAsyncContextManager[Broker]:
        first = self._opened % len(self._settings.servers)
        self._opened += 1
        servers = self._settings.servers[first:] + self._settings.servers[:first]
        return self._open(servers)

    @asynccontextmanager
    async def _open(self, servers: Sequence[tuple[str, int]]) -> AsyncIterator[Broker]:
        client = _Client(self._settings)
        try:
            await client.bootstrap(servers)
            yield client
        finally:
            await client.close()


class _NoLeader(Doubt):
    """The partition is there, but nobody leads it now."""


class _Role(enum.Enum):
    """What a connection is for; one to each node for each."""

    LEADER = "leader"
    COORDINATOR = "coordinator"
    CONTROLLER = "controller"


class _Client:
    """``Broker``. Whatever has to be found out first (who leads, an open connection) is found out under one
    lock, which is fair: so requests go out in the order of the calls even where the first has to connect."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._first: Connection | None = None
        self._connections: dict[tuple[int, _Role], Connection] = {}
        self._addresses: dict[int, tuple[str, int]] = {}
        self._leaders: dict[TopicPartition, int] = {}
        self._produced_to: dict[TopicPartition, int] = {}
        self._coordinators: dict[str, int] = {}
        self._cluster_id = ""
        self._controller = -1
        self._finding = asyncio.Lock()

    async def bootstrap(self, servers: Sequence[tuple[str, int]]) -> None:
        """Take the first server that answers."""
        failures: list[Doubt] = []
        refusals: list[ConfigError] = []
        for host, port in servers:
            try:
                self._first = await Connection.open(host, port, self._settings)
                await self._metadata()
                return
            except Doubt as error:
                failures.append(error)
            except ConfigError as error:
                refusals.append(error)
            await self.close()
        if refusals:
            raise refusals[0]
        raise NotReachable(
            f"no bootstrap server answered: {'; '.join(error.message for error in failures)}",
            hint=next((error.hint for error in failures if error.hint), "see that the address is right and Kafka runs"),
        )

    async def close(self) -> None:
        first = [self._first] if self._first is not None else []
        await close_all([*first, *self._connections.values()])

    async def cluster_id(self) -> str:
        return self._cluster_id

    async def topic(self, name: str) -> TopicFacts | None:
        topic = await self._topic_metadata(name)
        if topic is None:
            return None
        _, _, topic_id, _, partitions, operations, _ = topic
        return TopicFacts(
            name=name,
            topic_id=topic_id.hex() if any(topic_id) else "",
            partitions={partition: len(replicas or ()) for _, partition, _, _, replicas, *_ in partitions},
            config=await self._topic_config(name),
            operations=_operations(operations),
        )

    async def create_topic(
        self, name: str, *, partitions: int, config: Mapping[str, str], only_try: bool = False
    ) -> None:
        async with self._finding:
            connection = await self._connected(self._controller, _Role.CONTROLLER)
        request = wire.CreateTopicsRequest(
            [(name, partitions, DEFAULT_REPLICATION, [], list(config.items()))], self._broker_timeout_ms, only_try
        )
        answer = await connection.ask(request, wire.CreateTopicsResponse)
        _, code, message = sole(answer.topics, request)
        if code not in (Code.NONE, Code.TOPIC_ALREADY_EXISTS):
            raise refusal(request.NAME, f"topic {name}", code, message)
        if not only_try:
            await self._until_usable(name)

    async def init_producer(self, transactional_id: str | None, *, timeout_ms: int) -> Producer:
        if transactional_id is None:
            connection = self._bootstrapped()
        else:
            connection = await self._coordinator(transactional_id)
        request = wire.InitProducerIdRequest(transactional_id, timeout_ms)
        answer = await connection.ask(request, wire.InitProducerIdResponse)
        if answer.error_code in (Code.NOT_COORDINATOR, Code.COORDINATOR_NOT_AVAILABLE):
            self._coordinators.pop(transactional_id or "", None)  # if asked again, look for it again
        _check(request, _transactional(transactional_id), answer.error_code)
        return Producer(producer_id=answer.producer_id, epoch=answer.producer_epoch)

    async def add_partitions(
        self, transactional_id: str, producer: Producer, partitions: Sequence[TopicPartition]
    ) -> None:
        by_topic: dict[str, list[int]] = {}
        for target in partitions:
            by_topic.setdefault(target.topic, []).append(target.partition)
        connection = await self._coordinator(transactional_id)
        request = wire.AddPartitionsToTxnRequest(
            transactional_id, producer.producer_id, producer.epoch, list(by_topic.items())
        )
        answer = await connection.ask(request, wire.AddPartitionsToTxnResponse)
        codes = {f"{topic}-{at}": code for topic, entries in answer.topics or () for at, code in entries or ()}
        # What went wrong for one partition is said of it; of the others, that they were not attempted.
        for subject, code in sorted(codes.items(), key=lambda entry: entry[1] == Code.OPERATION_NOT_ATTEMPTED):
            _check(request, f"{_transactional(transactional_id)}, {subject}", code)
        if missing := {str(target) for target in partitions} - codes.keys():
            raise Doubt(f"{request.NAME}: the broker's answer says nothing of {', '.join(sorted(missing))}")

    async def produce(self, target: TopicPartition, batch: Buffer, *, transactional_id: str | None) -> int:
        size = memoryview(batch).nbytes
        request = wire.ProduceRequest(
            transactional_id, ALL_REPLICAS, self._broker_timeout_ms, [(target.topic, [(target.partition, size)])]
        )
        async with self._finding:
            leader = await self._leader(target)
            if self._produced_to.setdefault(target, leader) != leader:
                raise Doubt(f"{target}: its leader is now node {leader}, and was {self._produced_to[target]}")
            connection = await self._connected(leader, _Role.LEADER)
            posted = connection.post(request, batch)
        answer = await connection.answer(posted, wire.ProduceResponse)
        _, code, base_offset, _, _, record_errors, message = of_partition(target, answer.topics, request)
        details = [message, *(text for _, text in record_errors or ())]
        _check(request, str(target), code, "; ".join(text for text in details if text))
        return base_offset

    async def end_transaction(self, transactional_id: str, producer: Producer, *, commit: bool) -> None:
        connection = await self._coordinator(transactional_id)
        request = wire.EndTxnRequest(transactional_id, producer.producer_id, producer.epoch, commit)
        answer = await connection.ask(request, wire.EndTxnResponse)
        _check(request, _transactional(transactional_id), answer.error_code)

    async def log_ends(self, target: TopicPartition, *, refresh: bool = False) -> LogEnds:
        connection = await self._leader_connection(target, refresh=refresh)
        # Asked in this order, so that what grows meanwhile cannot put the stable offset behind the end.
        questions = [
            (wire.EARLIEST, Isolation.READ_UNCOMMITTED),
            (wire.LATEST, Isolation.READ_COMMITTED),
            (wire.LATEST, Isolation.READ_UNCOMMITTED),
        ]
        posted = [
            connection.post(wire.ListOffsetsRequest.one(target.topic, target.partition, timestamp, isolation=isolation))
            for timestamp, isolation in questions
        ]
        offsets = []
        for question in posted:
            answer = await connection.answer(question, wire.ListOffsetsResponse)
            _, code, _, offset = of_partition(target, answer.topics, wire.ListOffsetsRequest)
            _check(wire.ListOffsetsRequest, str(target), code)
            offsets.append(offset)
        start, stable, end = offsets
        return LogEnds(start=start, end=end, stable=stable)

    async def read(self, target: TopicPartition, offset: int, isolation: Isolation, *, max_bytes: int) -> Fetched:
        connection = await self._leader_connection(target)
        request = wire.FetchRequest.one(
            target.topic,
            target.partition,
            offset,
            isolation=isolation,
            max_bytes=min(max_bytes, LARGEST_FETCH_BYTES),
            max_wait_ms=FETCH_WAIT_MS,
        )
        answer = await connection.ask(request, wire.FetchResponse)
        _check(request, str(target), answer.error_code)
        _, code, end, stable, start, aborted, _, records = of_partition(target, answer.topics, request)
        _check(request, f"{target}, offset {offset}", code)
        batches = split(records or b"", target)
        if isolation is Isolation.READ_COMMITTED:
            batches = mark_aborted([batch for batch in batches if batch.base_offset < stable], aborted or ())
        return Fetched(
            batches=batches,
            next_offset=max([offset, *(batch.last_offset + 1 for batch in batches)]),
            ends=LogEnds(start=start, end=end, stable=stable),
        )

    @property
    def _broker_timeout_ms(self) -> int:
        return int(self._settings.request_seconds * 1000 * BROKER_SHARE)

    async def _metadata(self, *topics: str) -> wire.MetadataResponse:
        request = wire.MetadataRequest.about(*topics, operations=bool(topics))
        answer = await self._bootstrapped().ask(request, wire.MetadataResponse)
        self._addresses.update({node: (host, port) for node, host, port, *_ in answer.brokers or ()})
        self._cluster_id = answer.cluster_id or ""
        self._controller = answer.controller_id
        return answer

    async def _topic_metadata(self, name: str) -> Any:
        """The topic's entry, None if there is no such topic."""
        topic = sole((await self._metadata(name)).topics, wire.MetadataRequest)
        code, partitions = topic[0], topic[4]
        if code == Code.UNKNOWN_TOPIC_OR_PARTITION:
            return None
        if code != Code.LEADER_NOT_AVAILABLE:
            _check(wire.MetadataRequest, f"topic {name}", code)
        if topic[1] != name or partitions is None:
            raise Doubt(
                f"{wire.MetadataRequest.NAME}: asked about topic {name}, the broker's answer is about {topic[1]}"
            )
        return topic

    async def _topic_config(self, name: str) -> Mapping[str, str]:
        request = wire.DescribeConfigsRequest([(wire.TOPIC_RESOURCE, name, None)], False)
        answer = await self._bootstrapped().ask(request, wire.DescribeConfigsResponse)
        code, message, _, _, entries = sole(answer.results, request)
        if code in (Code.TOPIC_AUTHORIZATION_FAILED, Code.CLUSTER_AUTHORIZATION_FAILED):
            return {}
        _check(request, f"topic {name}", code, message)
        return {key: value for key, value, *_ in entries or () if value is not None}

    async def _until_usable(self, name: str) -> None:
        """Wait until each partition of the new topic has a leader, and that node knows it too: the cluster names
        it a little earlier."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.request_seconds
        pause = FIRST_POLL_SECONDS
        while True:
            try:
                topic = await self._topic_metadata(name)
                for _, partition, *_ in topic[4] if topic is not None else ():
                    await self.log_ends(TopicPartition(name, partition), refresh=True)
            except (BrokerError, _NoLeader):
                topic = None
            if topic is not None:
                return
            if loop.time() > deadline:
                raise Doubt(f"topic {name}: created, but not usable after {self._settings.request_seconds:g} s")
            await asyncio.sleep(min(pause, self._settings.poll_seconds))
            pause *= 2

    def _bootstrapped(self) -> Connection:
        assert self._first is not None
        return self._first

    async def _coordinator(self, transactional_id: str) -> Connection:
        async with self._finding:
            node = self._coordinators.get(transactional_id)
            if node is None:
                request = wire.FindCoordinatorRequest(transactional_id, wire.TRANSACTION_COORDINATOR)
                answer = await self._bootstrapped().ask(request, wire.FindCoordinatorResponse)
                _check(request, _transactional(transactional_id), answer.error_code, answer.error_message)
                node = self._coordinators[transactional_id] = answer.node_id
                self._addresses[node] = (answer.host, answer.port)
            return await self._connected(node, _Role.COORDINATOR)

    async def _leader_connection(self, target: TopicPartition, *, refresh: bool = False) -> Connection:
        async with self._finding:
            return await self._connected(await self._leader(target, refresh=refresh), _Role.LEADER)

    async def _leader(self, target: TopicPartition, *, refresh: bool = False) -> int:
        """The node that leads the partition, as the cluster said when first asked in this session."""
        if refresh or target not in self._leaders:
            topic = await self._topic_metadata(target.topic)
            leaders = {} if topic is None else {partition: leader for _, partition, leader, *_ in topic[4]}
            if target.partition not in leaders:
                raise _missing(target, sorted(leaders))
            if leaders[target.partition] < 0:
                raise _NoLeader(f"{target}: has no leader now")
            self._leaders[target] = leaders[target.partition]
        return self._leaders[target]

    async def _connected(self, node: int, role: _Role) -> Connection:
        """The connection to the node in that role; opened if there was none yet, never a second time."""
        connection = self._connections.get((node, role))
        if connection is None:
            if node not in self._addresses:
                raise Doubt(f"node {node}, the {role.value}, is not known to the broker that was asked")
            host, port = self._addresses[node]
            if not host:
                raise Doubt(f"the cluster names no address of the {role.value}, node {node}")
            try:
                connection = await Connection.open(host, port, self._settings)
            except Doubt as error:
                raise Doubt(
                    f"no connection to the {role.value}, node {node}: {error.message}",
                    hint=error.hint or "the cluster names this address (advertised.listeners): is it right from here?",
                ) from error
            self._connections[node, role] = connection
        return connection


def _check(request: wire.Request | type[wire.Request], subject: str, code: int, message: str | None = None) -> None:
    if code != Code.NONE:
        raise refusal(request.NAME, subject, code, message)


def _transactional(transactional_id: str | None) -> str:
    return "" if transactional_id is None else f"transactional id {transactional_id}"


def _missing(target: TopicPartition, partitions: Sequence[int]) -> TopicMissing:
    if not partitions:
        return TopicMissing(
            f"topic {target.topic} does not exist", hint="create it first, or let csv2kafka do so with --create-topic"
        )
    return TopicMissing(
        f"topic {target.topic} has no partition {target.partition}: it has {partitions[0]} to {partitions[-1]}",
        hint="choose one of these with --partition",
    )


def _operations(bits: int) -> frozenset[Operation] | None:
    """From the metadata's bit field; its sign bit alone means that the broker does not say."""
    if bits == wire.OPERATIONS_UNKNOWN:
        return None
    return frozenset(operation for operation in Operation if bits >> operation & 1)
