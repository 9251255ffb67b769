"""The proxy does what its rules say, and nothing else."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer as OtherProducer

from csv2kafka.errors import Doubt
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import Broker, BrokerFactory, NothingDone, TopicPartition
from tests.faults.proxy import FaultProxy
from tests.reading import read_partition
from tests.record_batches import batch, opened_producer


@pytest.fixture
async def proxy(bootstrap_servers: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(bootstrap_servers) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: FaultProxy) -> BrokerFactory:
    return broker_factory({"bootstrap_servers": proxy.bootstrap_servers, "request_timeout_ms": 1000})


async def put(broker: Broker, topic: str, *values: bytes) -> int:
    return await broker.produce(TopicPartition(topic, 0), batch(values), transactional_id=None)


async def in_topic(bootstrap_servers: str, topic: str) -> list[bytes | None]:
    rows = await asyncio.to_thread(read_partition, bootstrap_servers, topic)
    return [row.value for row in rows]


async def test_all_traffic_passes_through_it(proxy: FaultProxy, through: BrokerFactory, topic: str) -> None:
    async with through() as broker:
        assert [await put(broker, topic, b"1"), await put(broker, topic, b"2")] == [0, 1]
        await opened_producer(broker, topic)

    assert proxy.count("Produce") == 2
    assert proxy.count("InitProducerId") >= 1  # the address in FindCoordinator's answer is the proxy's, too


async def test_other_clients_pass_through_it(proxy: FaultProxy, topic: str, bootstrap_servers: str) -> None:
    """Their Metadata and FindCoordinator versions are later ones."""

    def produce() -> None:
        producer = OtherProducer({"bootstrap.servers": proxy.bootstrap_servers, "transactional.id": topic})
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(topic, b"row")
        producer.commit_transaction(20)

    await asyncio.to_thread(produce)

    assert proxy.count("Produce") == 1
    assert proxy.count("EndTxn") == 1
    assert await in_topic(bootstrap_servers, topic) == [b"row"]


async def test_a_dropped_request_never_arrives(
    proxy: FaultProxy, through: BrokerFactory, topic: str, bootstrap_servers: str
) -> None:
    rule = proxy.drop_request("Produce", nth=2)
    async with through() as broker:
        await put(broker, topic, b"1")
        with pytest.raises(Doubt):
            await put(broker, topic, b"2")

    await rule.happened()
    assert await in_topic(bootstrap_servers, topic) == [b"1"]


async def test_a_dropped_answer_was_still_done(
    proxy: FaultProxy, through: BrokerFactory, topic: str, bootstrap_servers: str
) -> None:
    rule = proxy.drop_response("Produce")
    async with through() as broker:
        with pytest.raises(Doubt):
            await put(broker, topic, b"1")

    await rule.answered()
    assert await in_topic(bootstrap_servers, topic) == [b"1"]


async def test_a_repeated_request_is_done_twice_and_answered_once(
    proxy: FaultProxy, through: BrokerFactory, topic: str, bootstrap_servers: str
) -> None:
    rule = proxy.repeat_request("Produce")
    async with through() as broker:
        assert await put(broker, topic, b"1") == 0
        await rule.answered()
        assert await put(broker, topic, b"2") == 2

    assert await in_topic(bootstrap_servers, topic) == [b"1", b"1", b"2"]


async def test_a_held_request_arrives_after_its_client_has_gone(
    proxy: FaultProxy, through: BrokerFactory, topic: str, bootstrap_servers: str
) -> None:
    rule = proxy.hold_request("Produce")
    async with through() as broker:
        with pytest.raises(Doubt):
            await put(broker, topic, b"zombie")
    async with through() as broker:
        assert await put(broker, topic, b"1") == 0

    await rule.release()

    assert await in_topic(bootstrap_servers, topic) == [b"1", b"zombie"]


async def test_a_delayed_request_and_a_delayed_answer_come_late(
    proxy: FaultProxy, through: BrokerFactory, topic: str
) -> None:
    proxy.delay("Produce", 0.3, nth=1)
    proxy.delay_response("Produce", 0.3, nth=1)  # the second: the first was the other rule's
    loop = asyncio.get_running_loop()
    async with through() as broker:
        start = loop.time()
        await put(broker, topic, b"1")
        await put(broker, topic, b"2")
        assert loop.time() - start >= 0.6


@pytest.mark.parametrize(("after", "done"), [(False, []), (True, [b"1"])])
async def test_a_cut_ends_the_connection_before_or_after_the_deed(
    after: bool, done: list[bytes], proxy: FaultProxy, through: BrokerFactory, topic: str, bootstrap_servers: str
) -> None:
    proxy.cut("Produce", after=after)
    async with through() as broker:
        with pytest.raises(Doubt, match=r"closed the connection|reset"):
            await put(broker, topic, b"1")

    assert await in_topic(bootstrap_servers, topic) == done


async def test_a_pause_stops_everything_until_it_is_over(
    proxy: FaultProxy, through: BrokerFactory, topic: str, bootstrap_servers: str
) -> None:
    async with through() as broker:
        await put(broker, topic, b"1")
        proxy.pause()
        with pytest.raises(Doubt):
            await put(broker, topic, b"2")
    with pytest.raises(Doubt):
        async with through():
            pass
    proxy.resume()
    async with through() as broker:
        await put(broker, topic, b"3")
        await asyncio.sleep(0.1)

    # What was sent and stopped on its way arrives, with its client long gone.
    assert sorted(await in_topic(bootstrap_servers, topic)) == [b"1", b"2", b"3"]  # type: ignore[type-var]


async def test_an_answer_can_be_given_in_the_brokers_place(proxy: FaultProxy, through: BrokerFactory) -> None:
    concurrent_transactions = struct.pack(">ih qh", 0, 51, -1, -1)
    rule = proxy.answer("InitProducerId", concurrent_transactions)
    async with through() as broker:
        with pytest.raises(NothingDone, match="CONCURRENT_TRANSACTIONS"):
            await broker.init_producer(None, timeout_ms=60_000)
        await rule.happened()
        assert (await opened_producer(broker, None)).producer_id >= 0


async def test_a_rule_can_be_about_some_requests_only(proxy: FaultProxy, through: BrokerFactory, topic: str) -> None:
    proxy.cut("Produce", where=lambda request: b"second" in request.frame)
    async with through() as broker:
        await put(broker, topic, b"first")
        with pytest.raises(Doubt):
            await put(broker, topic, b"second")


async def test_all_connections_can_be_cut_at_once(proxy: FaultProxy, through: BrokerFactory, topic: str) -> None:
    async with through() as broker:
        await put(broker, topic, b"1")
        proxy.cut_all()
        with pytest.raises(Doubt):
            await put(broker, topic, b"2")
