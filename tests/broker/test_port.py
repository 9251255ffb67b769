"""Every operation of the port against a real broker, and what it makes of a broker that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from csv2kafka.errors import ConfigError, Doubt, NotReachable, TopicMissing
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import (
    Broker,
    BrokerError,
    BrokerFactory,
    Fenced,
    Isolation,
    LogEnds,
    NothingDone,
    OffsetOutOfRange,
    TopicPartition,
)
from tests.conftest import MakeTopic
from tests.faults.proxy import FaultProxy
from tests.reading import read_partition
from tests.record_batches import batch, opened_producer, values

MIB = 1 << 20
LAST_SEQUENCE = 2**31 - 1


@pytest.fixture
def factory(bootstrap_servers: str) -> BrokerFactory:
    return broker_factory({"bootstrap_servers": bootstrap_servers})


@pytest.fixture
async def broker(factory: BrokerFactory) -> AsyncIterator[Broker]:
    async with factory() as broker:
        yield broker


@pytest.fixture
async def target(broker: Broker, topic: str) -> TopicPartition:
    """A new partition, whose leader knows that it is: the cluster names it a little earlier."""
    target = TopicPartition(topic, 0)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(BrokerError):
                await broker.log_ends(target)
                return target
            await asyncio.sleep(0.02)


async def read_all(broker: Broker, target: TopicPartition, isolation: Isolation) -> list[tuple[int, bytes | None]]:
    """(offset, value) of the data in it, up to where nothing more comes."""
    found: list[tuple[int, bytes | None]] = []
    offset = 0
    while True:
        fetched = await broker.read(target, offset, isolation, max_bytes=MIB)
        for one in fetched.batches:
            if not one.is_control and not one.aborted:
                found += [(one.base_offset + at, value) for at, value in enumerate(values(one.data))]
        if fetched.next_offset == offset:
            return found
        offset = fetched.next_offset


async def test_a_topic_is_described_as_it_is(broker: Broker, make_topic: MakeTopic) -> None:
    name = make_topic(partitions=3, config={"max.message.bytes": "5000000", "cleanup.policy": "compact"})

    facts = await broker.topic(name)

    assert facts is not None
    assert facts.name == name
    assert len(bytes.fromhex(facts.topic_id)) == 16
    assert dict(facts.partitions) == {0: 1, 1: 1, 2: 1}
    assert facts.config["max.message.bytes"] == "5000000"
    assert facts.config["cleanup.policy"] == "compact"
    assert facts.config["unclean.leader.election.enable"] == "false"
    assert {"min.insync.replicas", "retention.ms", "retention.bytes", "message.timestamp.type"} <= set(facts.config)


async def test_a_topic_that_is_not_there_is_none_and_stays_away(broker: Broker) -> None:
    assert await broker.topic("not-there") is None
    with pytest.raises(TopicMissing, match="topic not-there does not exist"):
        await broker.log_ends(TopicPartition("not-there", 0))
    with pytest.raises(TopicMissing):
        await broker.produce(TopicPartition("not-there", 0), batch([b"1"]), transactional_id=None)
    assert await broker.topic("not-there") is None


async def test_a_name_that_no_topic_can_have_is_a_configuration_error(broker: Broker) -> None:
    with pytest.raises(ConfigError, match="INVALID_TOPIC_EXCEPTION"):
        await broker.topic("no such name")


async def test_a_partition_that_is_not_there_is_named_with_those_that_are(
    broker: Broker, make_topic: MakeTopic
) -> None:
    target = TopicPartition(make_topic(partitions=2), 2)
    with pytest.raises(TopicMissing, match="has no partition 2: it has 0 to 1"):
        await broker.read(target, 0, Isolation.READ_COMMITTED, max_bytes=MIB)


async def test_a_created_topic_can_be_used_at_once_and_created_again(broker: Broker, topic: str) -> None:
    name = f"{topic}-new"
    await broker.create_topic(name, partitions=2, config={"cleanup.policy": "compact", "segment.bytes": "16777216"})
    await broker.create_topic(name, partitions=1, config={})

    facts = await broker.topic(name)
    assert facts is not None
    assert dict(facts.partitions) == {0: 1, 1: 1}
    assert facts.config["segment.bytes"] == "16777216"
    assert await broker.log_ends(TopicPartition(name, 1)) == LogEnds(start=0, end=0, stable=0)


async def test_a_topic_the_cluster_refuses_is_a_configuration_error(broker: Broker, topic: str) -> None:
    with pytest.raises(ConfigError, match=r"INVALID_CONFIG.*no\.such\.setting"):
        await broker.create_topic(f"{topic}-new", partitions=1, config={"no.such.setting": "1"})


async def test_the_cluster_has_an_id(broker: Broker, factory: BrokerFactory) -> None:
    async with factory() as other:
        assert await broker.cluster_id() == await other.cluster_id() != ""


async def test_batches_stand_in_the_order_of_the_calls(broker: Broker, target: TopicPartition) -> None:
    """The first four calls come before there is a connection to the leader."""
    producer = await opened_producer(broker, None)
    made = [batch([b"%d" % at] * 3, producer, sequence=3 * at) for at in range(40)]

    offsets: list[int] = []
    for at in range(0, 40, 4):
        group = (broker.produce(target, one, transactional_id=None) for one in made[at : at + 4])
        offsets += await asyncio.gather(*group)

    assert offsets == list(range(0, 120, 3))
    assert await broker.log_ends(target) == LogEnds(start=0, end=120, stable=120)


async def test_a_large_batch_arrives_whole(broker: Broker, make_topic: MakeTopic) -> None:
    target = TopicPartition(make_topic(config={"max.message.bytes": str(20 * MIB)}), 0)
    value = bytes(range(256)) * (15 * MIB // 256)

    await broker.produce(target, bytearray(batch([value])), transactional_id=None)
    await broker.produce(target, memoryview(batch([b"small"])), transactional_id=None)

    assert await read_all(broker, target, Isolation.READ_UNCOMMITTED) == [(0, value), (1, b"small")]


async def test_a_batch_over_the_topics_limit_ends_the_run_with_an_explanation(
    broker: Broker, make_topic: MakeTopic
) -> None:
    target = TopicPartition(make_topic(config={"max.message.bytes": "1000"}), 0)
    with pytest.raises(ConfigError, match=r"larger than the topic's max\.message\.bytes"):
        await broker.produce(target, batch([bytes(2000)]), transactional_id=None)


async def test_a_record_without_key_in_a_compacted_topic_is_explained(broker: Broker, make_topic: MakeTopic) -> None:
    target = TopicPartition(make_topic(config={"cleanup.policy": "compact"}), 0)
    with pytest.raises(ConfigError, match=r"Compacted topic cannot accept message without key(.|\n)*--key"):
        await broker.produce(target, batch([b"no key"]), transactional_id=None)


async def test_a_gap_in_the_sequence_is_refused(broker: Broker, target: TopicPartition) -> None:
    producer = await opened_producer(broker, None)
    await broker.produce(target, batch([b"1"], producer), transactional_id=None)
    with pytest.raises(BrokerError) as caught:
        await broker.produce(target, batch([b"3"], producer, sequence=2), transactional_id=None)
    assert caught.value.name == "OUT_OF_ORDER_SEQUENCE_NUMBER"


async def test_an_identical_batch_is_taken_once_and_answered_with_its_place(
    broker: Broker, target: TopicPartition
) -> None:
    producer = await opened_producer(broker, None)
    first, second = batch([b"1"], producer), batch([b"2"], producer, sequence=1)
    await broker.produce(target, first, transactional_id=None)
    await broker.produce(target, second, transactional_id=None)

    assert await broker.produce(target, first, transactional_id=None) == 0
    assert await broker.produce(target, second, transactional_id=None) == 1
    assert (await broker.log_ends(target)).end == 2


async def test_sequences_wrap_behind_the_largest(broker: Broker, target: TopicPartition) -> None:
    """A producer may begin anywhere in a partition that does not know it; ten records at 2147483646 end at 7."""
    producer = await opened_producer(broker, None)
    await broker.produce(target, batch([b"a"] * 10, producer, sequence=LAST_SEQUENCE - 1), transactional_id=None)
    await broker.produce(target, batch([b"b"], producer, sequence=8), transactional_id=None)
    with pytest.raises(BrokerError, match="OUT_OF_ORDER_SEQUENCE_NUMBER"):
        await broker.produce(target, batch([b"c"], producer, sequence=8 + 2), transactional_id=None)
    assert (await broker.log_ends(target)).end == 11


async def test_a_transaction_is_hidden_until_it_is_committed(broker: Broker, target: TopicPartition) -> None:
    producer = await opened_producer(broker, target.topic)
    await broker.add_partitions(target.topic, producer, [target])
    await broker.produce(target, batch([b"1", b"2"], producer, transactional=True), transactional_id=target.topic)

    assert await broker.log_ends(target) == LogEnds(start=0, end=2, stable=0)
    hidden = await broker.read(target, 0, Isolation.READ_COMMITTED, max_bytes=MIB)
    assert (list(hidden.batches), hidden.next_offset, hidden.ends.stable) == ([], 0, 0)
    assert await read_all(broker, target, Isolation.READ_UNCOMMITTED) == [(0, b"1"), (1, b"2")]

    await broker.end_transaction(target.topic, producer, commit=True)
    await stable_end(broker, target, 3)
    assert await read_all(broker, target, Isolation.READ_COMMITTED) == [(0, b"1"), (1, b"2")]


async def stable_end(broker: Broker, target: TopicPartition, offset: int) -> None:
    """Wait until the markers stand: EndTxn is answered before they do."""
    async with asyncio.timeout(20):
        while (await broker.log_ends(target)).stable < offset:
            await asyncio.sleep(0.02)


async def test_aborted_batches_are_marked_until_their_marker(broker: Broker, target: TopicPartition) -> None:
    """Two producers, one aborts and commits in turn, their batches between each other's."""
    names = (f"{target.topic}-a", f"{target.topic}-b")
    first, second = [await opened_producer(broker, name) for name in names]
    for name, producer in zip(names, (first, second), strict=True):
        await broker.add_partitions(name, producer, [target])
    await broker.produce(target, batch([b"aborted"], first, transactional=True), transactional_id=names[0])
    await broker.produce(target, batch([b"kept"], second, transactional=True), transactional_id=names[1])
    await broker.produce(target, batch([b"aborted"], first, sequence=1, transactional=True), transactional_id=names[0])
    await broker.end_transaction(names[0], first, commit=False)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(NothingDone):
                await broker.add_partitions(names[0], first, [target])
                break
    await broker.produce(
        target, batch([b"kept, too"], first, sequence=2, transactional=True), transactional_id=names[0]
    )
    await broker.end_transaction(names[0], first, commit=True)
    await broker.end_transaction(names[1], second, commit=True)
    await stable_end(broker, target, 7)

    fetched = await broker.read(target, 0, Isolation.READ_COMMITTED, max_bytes=MIB)

    seen = [(one.base_offset, one.producer_id, one.is_control, one.aborted) for one in fetched.batches]
    assert seen[:4] == [
        (0, first.producer_id, False, True),
        (1, second.producer_id, False, False),
        (2, first.producer_id, False, True),
        (3, first.producer_id, True, False),
    ]
    assert [one.aborted for one in fetched.batches if not one.is_control] == [True, False, True, False]
    assert all(one.is_transactional for one in fetched.batches)
    assert fetched.next_offset == 7
    # From the middle of the aborted transaction on, it still is one.
    later = await broker.read(target, 2, Isolation.READ_COMMITTED, max_bytes=MIB)
    assert [one.aborted for one in later.batches if not one.is_control] == [True, False]
    everything = await broker.read(target, 0, Isolation.READ_UNCOMMITTED, max_bytes=MIB)
    assert not any(one.aborted for one in everything.batches)


async def test_another_jobs_open_transaction_holds_the_stable_offset(broker: Broker, target: TopicPartition) -> None:
    other = await opened_producer(broker, f"{target.topic}-other")
    await broker.add_partitions(f"{target.topic}-other", other, [target])
    await broker.produce(target, batch([b"open"], other, transactional=True), transactional_id=f"{target.topic}-other")
    await broker.produce(target, batch([b"ours"]), transactional_id=None)

    ends = (await broker.read(target, 0, Isolation.READ_COMMITTED, max_bytes=MIB)).ends
    assert ends == await broker.log_ends(target, refresh=True) == LogEnds(start=0, end=2, stable=0)

    await broker.end_transaction(f"{target.topic}-other", other, commit=False)
    await stable_end(broker, target, 3)
    assert await read_all(broker, target, Isolation.READ_COMMITTED) == [(1, b"ours")]


async def test_reading_goes_on_from_the_middle_and_past_markers(broker: Broker, target: TopicPartition) -> None:
    producer = await opened_producer(broker, target.topic)
    await broker.add_partitions(target.topic, producer, [target])
    await broker.produce(target, batch([b"1", b"2", b"3"], producer, transactional=True), transactional_id=target.topic)
    await broker.end_transaction(target.topic, producer, commit=True)
    await stable_end(broker, target, 4)

    middle = await broker.read(target, 1, Isolation.READ_COMMITTED, max_bytes=MIB)
    assert [(one.base_offset, one.last_offset) for one in middle.batches] == [(0, 2), (3, 3)]
    assert middle.next_offset == 4
    end = await broker.read(target, 4, Isolation.READ_COMMITTED, max_bytes=MIB)
    assert (list(end.batches), end.next_offset) == ([], 4)


async def test_a_batch_larger_than_asked_for_comes_whole_and_others_are_cut_off(
    broker: Broker, target: TopicPartition
) -> None:
    for size in (100_000, 100, 100_000):
        await broker.produce(target, batch([bytes(size)]), transactional_id=None)

    first = await broker.read(target, 0, Isolation.READ_UNCOMMITTED, max_bytes=1000)
    second = await broker.read(target, 1, Isolation.READ_UNCOMMITTED, max_bytes=1000)

    assert ([one.base_offset for one in first.batches], first.next_offset) == ([0], 1)
    assert ([one.base_offset for one in second.batches], second.next_offset) == ([1], 2)


@pytest.mark.parametrize("offset", [-1, 3, 1000])
async def test_an_offset_outside_the_log_is_never_a_jump(broker: Broker, target: TopicPartition, offset: int) -> None:
    await broker.produce(target, batch([b"1", b"2"]), transactional_id=None)
    with pytest.raises(OffsetOutOfRange, match=f"offset {offset}"):
        await broker.read(target, offset, Isolation.READ_UNCOMMITTED, max_bytes=MIB)


async def test_a_second_init_fences_the_first_in_every_request(factory: BrokerFactory, target: TopicPartition) -> None:
    name = target.topic
    async with factory() as older, factory() as newer:
        producer = await opened_producer(older, name)
        await older.add_partitions(name, producer, [target])
        await older.produce(target, batch([b"1"], producer, transactional=True), transactional_id=name)
        successor = await opened_producer(newer, name)
        assert successor.producer_id == producer.producer_id
        assert successor.epoch > producer.epoch

        with pytest.raises(Fenced):
            await older.produce(target, batch([b"2"], producer, sequence=1, transactional=True), transactional_id=name)
        with pytest.raises(Fenced):
            await older.end_transaction(name, producer, commit=True)
        with pytest.raises(Fenced):
            await older.add_partitions(name, producer, [target])
    assert await asyncio.to_thread(read_partition, factory_address(factory), name) == []


def factory_address(factory: BrokerFactory) -> str:
    """Where it goes to."""
    ((host, port),) = factory._settings.servers  # type: ignore[attr-defined]
    return f"{host}:{port}"


async def test_a_producer_id_the_coordinator_does_not_know_is_a_fence(broker: Broker, target: TopicPartition) -> None:
    stranger = await opened_producer(broker, None)
    await opened_producer(broker, target.topic)
    with pytest.raises(Fenced, match="INVALID_PRODUCER_ID_MAPPING"):
        await broker.add_partitions(target.topic, stranger, [target])


async def test_partitions_that_are_not_there_are_named_when_a_transaction_wants_them(
    broker: Broker, target: TopicPartition
) -> None:
    producer = await opened_producer(broker, target.topic)
    with pytest.raises(BrokerError, match=r"nowhere-0.*UNKNOWN_TOPIC_OR_PARTITION"):
        await broker.add_partitions(target.topic, producer, [target, TopicPartition("nowhere", 0)])


async def test_a_transaction_time_out_beyond_the_brokers_is_a_configuration_error(broker: Broker, topic: str) -> None:
    with pytest.raises(ConfigError, match=r"transaction\.max\.timeout\.ms"):
        await opened_producer(broker, topic, timeout_ms=2**31 - 1)


# What a broker that misbehaves is made of.


async def test_where_nothing_listens_it_is_not_reachable_and_says_where_and_why() -> None:
    with socket.socket() as first, socket.socket() as second:
        addresses = []
        for one in (first, second):
            one.bind(("127.0.0.1", 0))  # bound, but not listening
            addresses.append(f"127.0.0.1:{one.getsockname()[1]}")
        factory = broker_factory({"bootstrap_servers": ",".join(addresses)})
        with pytest.raises(NotReachable) as caught:
            async with factory():
                pass
    assert all(f"{address}: Connection refused" in caught.value.message for address in addresses)


async def test_one_bootstrap_server_that_answers_is_enough(bootstrap_servers: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        factory = broker_factory({"bootstrap_servers": f"127.0.0.1:{closed.getsockname()[1]},{bootstrap_servers}"})
        for _ in range(2):  # each time it begins with another
            async with factory() as broker:
                assert await broker.cluster_id()


async def test_a_server_that_takes_connections_and_says_nothing_is_not_reachable_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        factory = broker_factory(
            {"bootstrap_servers": f"127.0.0.1:{silent.getsockname()[1]}", "request_timeout_ms": 1000}
        )
        async with asyncio.timeout(20):
            with pytest.raises(NotReachable, match="no answer in time"):
                async with factory():
                    pass


async def test_a_server_that_hangs_up_is_not_reachable_and_the_cause_is_guessed() -> None:
    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        factory = broker_factory({"bootstrap_servers": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        with pytest.raises(NotReachable, match=r"is TLS or SASL missing\?"):
            async with factory():
                pass


@pytest.fixture
async def proxy(bootstrap_servers: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(bootstrap_servers) as proxy:
        yield proxy


@pytest.fixture
async def behind(proxy: FaultProxy) -> AsyncIterator[Broker]:
    """A client with short patience that comes through the proxy."""
    settings = {"bootstrap_servers": proxy.bootstrap_servers, "request_timeout_ms": 1000}
    async with broker_factory(settings)() as broker:
        yield broker


async def test_no_answer_is_a_doubt_and_nothing_is_sent_again(
    behind: Broker, proxy: FaultProxy, target: TopicPartition
) -> None:
    proxy.drop_response("Produce")
    with pytest.raises(Doubt, match="Produce had no answer in 1 s: its outcome is unknown"):
        await behind.produce(target, batch([b"1"]), transactional_id=None)
    with pytest.raises(Doubt, match="Produce not sent: the connection is closed"):
        await behind.produce(target, batch([b"2"]), transactional_id=None)
    with pytest.raises(Doubt, match="ListOffsets not sent"):
        await behind.log_ends(target, refresh=True)
    assert proxy.count("Produce") == 1


@pytest.mark.parametrize("after", [False, True])
async def test_a_connection_cut_under_way_is_a_doubt_for_all_that_is_in_flight(
    after: bool, behind: Broker, proxy: FaultProxy, target: TopicPartition
) -> None:
    proxy.cut("Produce", nth=2, after=after)
    producer = await opened_producer(behind, None)
    made = [batch([b"1"], producer, sequence=at) for at in range(4)]

    outcomes = await asyncio.gather(
        *(behind.produce(target, one, transactional_id=None) for one in made), return_exceptions=True
    )

    assert outcomes[0] == 0 or isinstance(outcomes[0], Doubt)
    assert all(isinstance(outcome, Doubt) for outcome in outcomes[1:])
    connections = {request.connection for request in proxy.requests if request.api == "Produce"}
    assert len(connections) == 1  # it did not open another


async def test_end_transaction_is_sent_once_whatever_happens(
    behind: Broker, proxy: FaultProxy, target: TopicPartition
) -> None:
    producer = await opened_producer(behind, target.topic)
    await behind.add_partitions(target.topic, producer, [target])
    proxy.drop_response("EndTxn")
    for _ in range(2):
        with pytest.raises(Doubt):
            await behind.end_transaction(target.topic, producer, commit=True)
    assert proxy.count("EndTxn") == 1


async def test_answers_that_come_one_by_one_are_not_late(
    behind: Broker, proxy: FaultProxy, target: TopicPartition
) -> None:
    """Behind three that take 0.6 s each, the fourth is answered after 2.4 s: more than a request's time."""
    proxy.delay_response("Produce", 0.6, nth=None)
    producer = await opened_producer(behind, None)
    made = [batch([b"1"], producer, sequence=at) for at in range(4)]
    assert await asyncio.gather(*(behind.produce(target, one, transactional_id=None) for one in made)) == [0, 1, 2, 3]


async def test_leaving_does_not_wait_for_a_broker_that_is_away(proxy: FaultProxy, topic: str) -> None:
    """Nor for what is still to be sent: more than all buffers between us and the proxy hold."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as paused:
        async with broker_factory({"bootstrap_servers": proxy.bootstrap_servers})() as broker:
            target = TopicPartition(topic, 0)
            await broker.log_ends(target)
            proxy.pause()
            paused.callback(proxy.resume)
            sending = asyncio.ensure_future(broker.produce(target, batch([bytes(64 * MIB)]), transactional_id=None))
            await asyncio.sleep(0.05)
            sending.cancel()
            start = loop.time()
        assert loop.time() - start < 5
    await asyncio.sleep(0.2)
    assert proxy.count("Produce") == 0  # what was not sent yet is not sent later


async def test_a_broker_that_is_cut_off_while_a_batch_is_sent_is_a_doubt(
    behind: Broker, proxy: FaultProxy, target: TopicPartition
) -> None:
    await behind.log_ends(target)
    sending = asyncio.ensure_future(behind.produce(target, batch([bytes(30 * MIB)]), transactional_id=None))
    await asyncio.sleep(0)
    proxy.cut_all()
    with pytest.raises(Doubt):
        await sending
