"""More of the protocol's traps on a real broker: what other writers, lost topics and lying answers do to a job."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio
import struct
import uuid
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer as ConfluentProducer
from confluent_kafka.admin import AdminClient

from csv2kafka.errors import StateContradiction, TakenOver
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import BrokerError, Fenced, TopicPartition
from tests.broker.job import run_on
from tests.conftest import OwnKafka, create_topic
from tests.faults.proxy import FaultProxy, Request
from tests.reading import read_partition
from tests.simulation.job import MemoryStore, Run, advanced, expected, payload

pytestmark = [pytest.mark.broker]

SHORT = 1000  # request_timeout_ms
ADMIN_SECONDS = 20.0
DUPLICATE_SEQUENCE_NUMBER = 46


@pytest.fixture
def checkpoint_topic() -> str:
    """Not there yet; of the test's own, so that it may be hidden or deleted."""
    return f"checkpoints-{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def proxy(bootstrap_servers: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(bootstrap_servers) as standing:
        yield standing


def of_partition_0(topic: str, *, code: int = 0) -> bytes:
    """How answers about one partition begin, behind the throttle time: one topic, its partition 0, the code."""
    name = topic.encode()
    return struct.pack(f">ih{len(name)}siih", 1, len(name), name, 1, 0, code)


def produces_to(request: Request, topic: str) -> bool:
    """Version 8 has the topic's name behind its length; the transactional id ends in the same letters."""
    return struct.pack(">ih", 1, len(topic)) + topic.encode() in request.frame


def produce_answer(topic: str, code: int) -> bytes:
    """Version 8: base offset, append time, log start, no record errors, no message; throttle time."""
    return of_partition_0(topic, code=code) + struct.pack(">qqqih", -1, -1, -1, 0, -1) + bytes(4)


def list_offsets_answer(topic: str, offset: int) -> bytes:
    """Version 2."""
    return bytes(4) + of_partition_0(topic) + struct.pack(">qq", -1, offset)


def empty_fetch_answer(topic: str, end: int) -> bytes:
    """Version 11: of a log that ends at ``end``, asked for what is behind."""
    head = struct.pack(">ihi", 0, 0, 0)  # throttle time, code, session
    return head + of_partition_0(topic) + struct.pack(">qqqiii", end, end, 0, 0, -1, 0)


async def values(bootstrap_servers: str, topic: str) -> list[bytes | None]:
    return [row.value for row in await asyncio.to_thread(read_partition, bootstrap_servers, topic)]


async def interrupted(run: Run, rows: int = 6) -> None:
    """A run that leaves after its first commit."""
    async with run.session() as session:
        await session.write(payload(0, rows))
        await run.commit(session, advanced(session.resume_from, rows))


async def test_an_open_transaction_of_others_hides_the_claim_until_it_is_decided(
    bootstrap_servers: str, topic: str, checkpoint_topic: str
) -> None:
    await interrupted(run_on(bootstrap_servers, topic, checkpoint_topic=checkpoint_topic))
    other = ConfluentProducer({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic}-other"})
    await asyncio.to_thread(other.init_transactions, 20)
    other.begin_transaction()
    other.produce(checkpoint_topic, key=b"unrelated", value=b"open", partition=0)
    await asyncio.to_thread(other.flush, 20)
    following = run_on(bootstrap_servers, topic, checkpoint_topic=checkpoint_topic, name="next")
    work = asyncio.create_task(following.run())
    await asyncio.sleep(1)
    assert not work.done()
    assert following.commits == 0
    assert await values(bootstrap_servers, topic) == expected(6)
    await asyncio.to_thread(other.abort_transaction, 20)
    assert (await work).complete
    assert following.sessions == 1
    assert await values(bootstrap_servers, topic) == expected(20)


async def test_a_checkpoint_topic_that_is_gone_is_known_from_the_store(
    bootstrap_servers: str, topic: str, checkpoint_topic: str
) -> None:
    store = MemoryStore()
    await interrupted(run_on(bootstrap_servers, topic, checkpoint_topic=checkpoint_topic, store=store))
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    await asyncio.to_thread(admin.delete_topics([checkpoint_topic])[checkpoint_topic].result, ADMIN_SECONDS)
    while checkpoint_topic in (await asyncio.to_thread(admin.list_topics, timeout=ADMIN_SECONDS)).topics:
        await asyncio.sleep(0.05)
    following = run_on(bootstrap_servers, topic, checkpoint_topic=checkpoint_topic, name="next", store=store)
    with pytest.raises(StateContradiction, match=r"the checkpoint store has .* has none"):
        await following.run()
    assert await values(bootstrap_servers, topic) == expected(6)


async def test_a_duplicate_sequence_number_is_a_doubt(proxy: FaultProxy, bootstrap_servers: str, topic: str) -> None:
    """It says that the batch is older than those the broker remembers, not that it stands in this transaction."""
    body = produce_answer(topic, DUPLICATE_SEQUENCE_NUMBER)
    proxy.answer("Produce", body, where=lambda request: produces_to(request, topic))
    run = run_on(proxy.bootstrap_servers, topic, request_timeout_ms=SHORT)
    assert (await run.run()).complete
    (failure,) = run.failures
    assert isinstance(failure, BrokerError)
    assert failure.code == DUPLICATE_SEQUENCE_NUMBER
    assert run.sessions == 2
    assert await values(bootstrap_servers, topic) == expected(20)


@pytest.mark.parametrize("on_foreign", ["stop", "resend"])
async def test_a_foreign_record_behind_the_checkpoint_of_a_dead_run(
    on_foreign: str, bootstrap_servers: str, topic: str
) -> None:
    store = MemoryStore()
    settings = {"request_timeout_ms": SHORT, "store": store, "delivery": "at-least-once"}
    with pytest.raises(RuntimeError):
        async with (dead := run_on(bootstrap_servers, topic, name="dead", **settings)).session() as session:  # type: ignore[arg-type]
            await session.write(payload(0, 4))
            await dead.commit(session, advanced(session.resume_from, 4))
            raise RuntimeError
    other = ConfluentProducer({"bootstrap.servers": bootstrap_servers})
    other.produce(topic, value=b"foreign", partition=0)
    assert await asyncio.to_thread(other.flush, 20) == 0
    following = run_on(bootstrap_servers, topic, name="next", on_foreign=on_foreign, **settings)  # type: ignore[arg-type]
    if on_foreign == "stop":
        with pytest.raises(StateContradiction, match="offset 4, stand records of another producer"):
            await following.run()
        assert await values(bootstrap_servers, topic) == [*expected(4), b"foreign"]
    else:
        assert (await following.run()).complete
        assert await values(bootstrap_servers, topic) == [*expected(4), b"foreign", *expected(20)[4:]]


async def test_a_transactional_id_that_expired_amid_a_run_is_no_new_beginning(own_kafka: OwnKafka) -> None:
    """It is shut out, and goes on if nobody has claimed the job; otherwise it is told."""
    node = own_kafka(
        config={
            "transactional.id.expiration.ms": "3000",
            "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
        }
    )
    servers = node.bootstrap_servers
    for topic in (alone := "alone", taken := "taken"):
        await asyncio.to_thread(create_topic, servers, topic)
    runs = {topic: run_on(servers, topic) for topic in (alone, taken)}
    await asyncio.gather(*(slept(run, servers, other=topic == taken) for topic, run in runs.items()))
    assert (await runs[alone].run()).complete
    with pytest.raises(TakenOver):
        await runs[taken].run()
    for topic in runs:
        assert await values(servers, topic) == expected(20)


async def slept(run: Run, servers: str, *, other: bool) -> None:
    """Its first session: it sleeps between two commits, and is shut out. ``other``: a run that ends meanwhile."""
    with pytest.raises(Fenced):
        async with run.session() as session:
            await session.write(payload(0, 2))
            await run.commit(session, advanced(session.resume_from, 2))
            await asyncio.sleep(4.5)  # idle for longer than ids are kept
            if other:
                await run_on(servers, run.topic, name="other").run()
            await session.write(payload(2, 4))
            await run.commit(session, advanced(session.resume_from, 4))


async def test_a_log_that_ends_below_the_checkpoint(proxy: FaultProxy, bootstrap_servers: str, topic: str) -> None:
    await interrupted(run_on(bootstrap_servers, topic))
    lie = proxy.answer(
        "ListOffsets",
        list_offsets_answer(topic, 3),
        nth=None,
        where=lambda request: topic.encode() in request.frame,  # each question: answers keep their order
    )
    with pytest.raises(StateContradiction, match="ends at offset 3, though"):
        await run_on(proxy.bootstrap_servers, topic, name="next", request_timeout_ms=SHORT).run()
    await lie.happened()
    assert proxy.count("Produce") == 0
    assert proxy.count("InitProducerId") == 0
    assert await values(bootstrap_servers, topic) == expected(6)


async def test_a_leader_without_the_claim_is_not_believed(
    proxy: FaultProxy, bootstrap_servers: str, topic: str, checkpoint_topic: str
) -> None:
    await interrupted(run_on(bootstrap_servers, topic, checkpoint_topic=checkpoint_topic))
    async with broker_factory({"bootstrap_servers": bootstrap_servers})() as broker:
        end = (await broker.log_ends(TopicPartition(checkpoint_topic, 0))).end
    stale = True
    lie = proxy.answer(
        "Fetch",
        empty_fetch_answer(checkpoint_topic, end),
        nth=None,
        where=lambda request: stale and proxy.count("EndTxn") > 0 and checkpoint_topic.encode() in request.frame,
    )
    following = run_on(
        proxy.bootstrap_servers, topic, checkpoint_topic=checkpoint_topic, name="next", request_timeout_ms=SHORT
    )
    work = asyncio.create_task(following.run())
    await lie.happened()
    produced = proxy.count("Produce")
    await asyncio.sleep(1)
    assert not work.done()
    assert proxy.count("Produce") == produced
    stale = False
    assert (await work).complete
    assert following.sessions == 1
    assert await values(bootstrap_servers, topic) == expected(20)
