"""The client's own decisions, with nodes that say what the test wants: routes, doubts, and what is never done."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from csv2kafka.errors import ConfigError, Doubt, NotAuthorized, TopicMissing
from csv2kafka.kafka import wire
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import Broker, BrokerError, Isolation, LogEnds, NothingDone, Producer, TopicPartition
from tests.record_batches import batch
from tests.unit.kafka.fake_node import FakeNode

ORDERS = TopicPartition("orders", 0)
OURS = Producer(producer_id=1, epoch=0)
TAGS: dict[int, bytes] = {}


class Cluster:
    """Two nodes. ``leaders``: partition of ``orders`` → node, -1 for none; ``topic_code``: of its metadata."""

    def __init__(self, first: FakeNode, second: FakeNode) -> None:
        self.nodes = {1: first, 2: second}
        self.leaders = {0: 2}
        self.topic_code = 0
        for node in self.nodes.values():
            node.says["Metadata"] = self.metadata
            node.says["ListOffsets"] = lambda _: wire.ListOffsetsResponse(0, [("orders", [(0, 0, -1, 5)])]).encode()
            node.says["Produce"] = lambda _: produced(0, 5)
            node.says["FindCoordinator"] = lambda _: self.coordinator(2)

    def metadata(self, body: bytes) -> bytes:
        brokers = [(number, "127.0.0.1", node.port, None, TAGS) for number, node in self.nodes.items()]
        partitions: list[object] = [(0, at, leader, 0, [1, 2], [1], [], TAGS) for at, leader in self.leaders.items()]
        topics = [(self.topic_code, "orders", bytes(16), False, partitions, 0, TAGS)] if b"orders" in body else []
        return wire.MetadataResponse(0, brokers, "cluster", 1, topics, 0, TAGS).encode()

    def coordinator(self, number: int, code: int = 0) -> bytes:
        node = self.nodes[number]
        return wire.FindCoordinatorResponse(0, code, None, number, "127.0.0.1", node.port).encode()


def produced(code: int, offset: int) -> bytes:
    return wire.ProduceResponse([("orders", [(0, code, offset, -1, 0, [], None)])], 0).encode()


def answers(*bodies: bytes) -> Callable[[bytes], bytes]:
    """One after another, the last for ever."""
    left = list(bodies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        yield Cluster(*[await stack.enter_async_context(FakeNode()) for _ in range(2)])


@pytest.fixture
async def broker(cluster: Cluster) -> AsyncIterator[Broker]:
    async with broker_factory({"bootstrap_servers": cluster.nodes[1].address})() as broker:
        yield broker


async def produce(broker: Broker, data: bytes = b"batch") -> int:
    return await broker.produce(ORDERS, data, transactional_id=None)


async def test_each_role_has_one_connection(cluster: Cluster, broker: Broker) -> None:
    cluster.nodes[2].says["InitProducerId"] = lambda _: wire.InitProducerIdResponse(0, 0, 1, 0).encode()
    cluster.nodes[2].says["EndTxn"] = lambda _: wire.EndTxnResponse(0, 0).encode()
    await asyncio.gather(*(produce(broker) for _ in range(4)))
    await broker.log_ends(ORDERS, refresh=True)
    await broker.init_producer("job", timeout_ms=1)
    await broker.end_transaction("job", OURS, commit=True)

    assert cluster.nodes[1].connections == 1  # the cluster's questions
    by_connection = {number: set[str]() for number, _, _ in cluster.nodes[2].requests}
    for number, name, _ in cluster.nodes[2].requests:
        by_connection[number].add(name)
    assert list(by_connection.values()) == [{"Produce", "ListOffsets"}, {"InitProducerId", "EndTxn"}]
    assert cluster.nodes[1].count("FindCoordinator") == 1


async def test_calls_go_out_in_order_even_where_the_first_must_find_the_leader(
    cluster: Cluster, broker: Broker
) -> None:
    await asyncio.gather(*(produce(broker, b"batch %02d" % number) for number in range(20)))
    assert [body[-8:] for _, _, body in cluster.nodes[2].requests] == [b"batch %02d" % at for at in range(20)]


async def test_a_leader_that_has_moved_since_we_wrote_is_a_doubt(cluster: Cluster, broker: Broker) -> None:
    await produce(broker)
    cluster.leaders = {0: 1}
    assert await broker.log_ends(ORDERS, refresh=True) == LogEnds(start=5, end=5, stable=5)
    with pytest.raises(Doubt, match="its leader is now node 1, and was 2"):
        await produce(broker)
    assert cluster.nodes[1].count("Produce") == 0


async def test_a_partition_without_leader_is_a_doubt_and_a_missing_one_is_final(
    cluster: Cluster, broker: Broker
) -> None:
    cluster.leaders = {0: -1, 1: 1}
    with pytest.raises(Doubt, match="orders-0: has no leader now"):
        await produce(broker)
    cluster.leaders = {1: 1}
    with pytest.raises(TopicMissing, match="no partition 0: it has 1 to 1"):
        await produce(broker)
    cluster.topic_code = 3
    with pytest.raises(TopicMissing, match="topic orders does not exist"):
        await produce(broker)
    cluster.topic_code = 29
    with pytest.raises(NotAuthorized):
        await produce(broker)


async def test_a_leader_nobody_answers_for_is_a_doubt_that_names_advertised_listeners(
    cluster: Cluster, broker: Broker
) -> None:
    await cluster.nodes[2].__aexit__()
    with pytest.raises(Doubt, match="no connection to the leader, node 2: 127") as caught:
        await produce(broker)
    assert "advertised.listeners" in caught.value.hint
    await cluster.nodes[2].__aenter__()


async def test_metadata_requests_never_create_topics(cluster: Cluster, broker: Broker) -> None:
    await produce(broker)
    asked = [body for _, name, body in cluster.nodes[1].requests if name == "Metadata"]
    assert len(asked) == 2
    assert [body[-4] for body in asked] == [0, 0]  # allow_auto_topic_creation, two more flags, no tags


async def test_a_coordinator_is_looked_for_again_when_init_found_none(cluster: Cluster, broker: Broker) -> None:
    cluster.nodes[1].says["FindCoordinator"] = answers(
        cluster.coordinator(2, code=15), cluster.coordinator(1), cluster.coordinator(2)
    )
    cluster.nodes[1].says["InitProducerId"] = lambda _: wire.InitProducerIdResponse(0, 16, -1, -1).encode()
    cluster.nodes[2].says["InitProducerId"] = lambda _: wire.InitProducerIdResponse(0, 0, 7, 3).encode()
    for told in ("FindCoordinator.*COORDINATOR_NOT_AVAILABLE", "InitProducerId.*NOT_COORDINATOR"):
        with pytest.raises(NothingDone, match=told):
            await broker.init_producer("job", timeout_ms=1)
    assert await broker.init_producer("job", timeout_ms=1) == Producer(producer_id=7, epoch=3)


async def test_the_coordinator_is_kept_when_it_says_it_is_none_to_end_transaction(
    cluster: Cluster, broker: Broker
) -> None:
    cluster.nodes[2].says["EndTxn"] = lambda _: wire.EndTxnResponse(0, 16).encode()
    for _ in range(2):
        with pytest.raises(BrokerError) as caught:
            await broker.end_transaction("job", OURS, commit=True)
        assert type(caught.value) is BrokerError
    assert cluster.nodes[1].count("FindCoordinator") == 1


async def test_of_several_partitions_the_one_that_is_at_fault_is_named(cluster: Cluster, broker: Broker) -> None:
    said = [("orders", [(0, 55), (1, 55)]), ("secret", [(0, 29)])]
    cluster.nodes[2].says["AddPartitionsToTxn"] = lambda _: wire.AddPartitionsToTxnResponse(0, said).encode()
    with pytest.raises(NotAuthorized, match="secret-0"):
        await broker.add_partitions("job", OURS, [ORDERS, TopicPartition("orders", 1), TopicPartition("secret", 0)])


async def test_partitions_are_added_in_one_request(cluster: Cluster, broker: Broker) -> None:
    said = [("orders", [(0, 0), (3, 0)]), ("other", [(0, 0)])]
    cluster.nodes[2].says["AddPartitionsToTxn"] = lambda _: wire.AddPartitionsToTxnResponse(0, said).encode()
    await broker.add_partitions("job", OURS, [ORDERS, TopicPartition("other", 0), TopicPartition("orders", 3)])
    ((_, _, body),) = [entry for entry in cluster.nodes[2].requests if entry[1] == "AddPartitionsToTxn"]
    assert body == wire.AddPartitionsToTxnRequest("job", 1, 0, [("orders", [0, 3]), ("other", [0])]).encode()


@pytest.mark.parametrize("said", [[], None, [("orders", None)], [("orders", [(3, 0)])], [("other", [(0, 0)])]])
async def test_a_partition_that_the_answer_says_nothing_of_is_not_added(
    cluster: Cluster, broker: Broker, said: list[object] | None
) -> None:
    cluster.nodes[2].says["AddPartitionsToTxn"] = lambda _: wire.AddPartitionsToTxnResponse(0, said).encode()
    with pytest.raises(Doubt, match="says nothing of orders-0"):
        await broker.add_partitions("job", OURS, [ORDERS])


@pytest.mark.parametrize("topics", [None, [], [("orders", None)], [("orders", [])], [("other", 0)], [("orders", 1)]])
async def test_an_answer_about_something_else_is_a_doubt(
    cluster: Cluster, broker: Broker, topics: list[tuple[str, object]] | None
) -> None:
    """A row would count as written that another partition has."""
    node = cluster.nodes[2]

    def saying(*rest: object) -> list[tuple[str, object]] | None:
        return topics and [(topic, [(at, *rest)] if isinstance(at, int) else at) for topic, at in topics]

    node.says["Produce"] = lambda _: wire.ProduceResponse(saying(0, 5, -1, 0, [], None), 0).encode()
    with pytest.raises(Doubt, match="the broker's answer is about"):
        await broker.produce(ORDERS, batch([b"v"]), transactional_id=None)
    node.says["ListOffsets"] = lambda _: wire.ListOffsetsResponse(0, saying(0, -1, 5)).encode()
    with pytest.raises(Doubt, match="the broker's answer is about"):
        await broker.log_ends(ORDERS)


async def test_configuration_that_may_not_be_described_is_empty(cluster: Cluster, broker: Broker) -> None:
    cluster.nodes[1].says["DescribeConfigs"] = lambda _: wire.DescribeConfigsResponse(
        0, [(29, "no", 2, "orders", [])]
    ).encode()
    facts = await broker.topic("orders")
    assert facts is not None
    assert dict(facts.config) == {}
    assert (facts.topic_id, dict(facts.partitions)) == ("", {0: 2})  # an id of zeros is none


async def test_a_created_topic_is_waited_for_until_its_leader_knows_of_it(cluster: Cluster, broker: Broker) -> None:
    cluster.nodes[1].says["CreateTopics"] = lambda _: wire.CreateTopicsResponse(0, [("orders", 0, None)]).encode()
    fine = cluster.nodes[2].says["ListOffsets"](b"") or b""
    not_leader = wire.ListOffsetsResponse(0, [("orders", [(0, 6, -1, -1)])]).encode()
    cluster.nodes[2].says["ListOffsets"] = answers(not_leader, not_leader, not_leader, fine)
    cluster.topic_code = 3  # not there yet

    async def appear() -> None:
        while cluster.nodes[1].count("Metadata") < 3:
            await asyncio.sleep(0)
        cluster.topic_code = 0

    appearing = asyncio.ensure_future(appear())
    await broker.create_topic("orders", partitions=1, config={})
    await appearing
    assert cluster.nodes[1].count("CreateTopics") == 1
    assert cluster.nodes[2].count("ListOffsets") >= 6


async def test_a_topic_that_cannot_be_created_is_not_waited_for(cluster: Cluster, broker: Broker) -> None:
    cluster.nodes[1].says["CreateTopics"] = lambda _: wire.CreateTopicsResponse(0, [("orders", 44, "no")]).encode()
    with pytest.raises(ConfigError, match="POLICY_VIOLATION: no"):
        await broker.create_topic("orders", partitions=1, config={})


async def test_an_error_in_one_of_the_ends_is_raised(cluster: Cluster, broker: Broker) -> None:
    fine = wire.ListOffsetsResponse(0, [("orders", [(0, 0, -1, 5)])]).encode()
    wrong = wire.ListOffsetsResponse(0, [("orders", [(0, 78, -1, -1)])]).encode()
    cluster.nodes[2].says["ListOffsets"] = answers(fine, wrong, fine)
    with pytest.raises(BrokerError, match="OFFSET_NOT_AVAILABLE"):
        await broker.log_ends(ORDERS)


async def test_nothing_behind_the_stable_offset_is_given_to_a_committed_reader(
    cluster: Cluster, broker: Broker
) -> None:
    log = b"".join(struct.pack(">q", offset) + batch([b"v"])[8:] for offset in range(3))
    said: list[object] = [("orders", [(0, 0, 3, 1, 0, [], -1, log)])]
    cluster.nodes[2].says["Fetch"] = lambda _: wire.FetchResponse(0, 0, 0, said).encode()

    committed = await broker.read(ORDERS, 0, Isolation.READ_COMMITTED, max_bytes=1 << 20)
    everything = await broker.read(ORDERS, 0, Isolation.READ_UNCOMMITTED, max_bytes=1 << 20)

    assert ([one.base_offset for one in committed.batches], committed.next_offset) == ([0], 1)
    assert ([one.base_offset for one in everything.batches], everything.next_offset) == ([0, 1, 2], 3)
    assert committed.ends == LogEnds(start=0, end=3, stable=1)


async def test_leaving_closes_every_connection(cluster: Cluster) -> None:
    async with broker_factory({"bootstrap_servers": cluster.nodes[1].address})() as broker:
        await produce(broker)
        cluster.nodes[2].says["Produce"] = lambda _: None
        waiting = asyncio.ensure_future(produce(broker))
        while cluster.nodes[2].count("Produce") < 2:
            await asyncio.sleep(0)
    with pytest.raises(Doubt):
        await waiting
    with pytest.raises(Doubt, match="not sent"):
        await produce(broker)
