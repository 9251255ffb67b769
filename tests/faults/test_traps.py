"""The traps of the protocol on a real broker, through a proxy that loses, delays and holds single requests.

tests/simulation has each of them, and those that need a clock or a log that lies, on a cluster in memory.
"""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from attrs import evolve
from confluent_kafka import Producer as ConfluentProducer
from confluent_kafka.admin import AdminClient

from csv2kafka.errors import Csv2KafkaError, Doubt, StateContradiction, TakenOver
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import Fenced, TopicPartition
from csv2kafka.kernel import pack_records, stamp
from tests.broker.job import CHECKPOINT_TOPIC, run_on
from tests.conftest import create_topic
from tests.faults.proxy import FaultProxy
from tests.reading import read_partition
from tests.simulation.job import MemoryStore, Run, advanced, expected, payload, value

pytestmark = [pytest.mark.broker]

SHORT = 1000  # request_timeout_ms


@pytest.fixture
async def proxy(bootstrap_servers: str) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(bootstrap_servers) as standing:
        yield standing


async def assert_exactly(bootstrap_servers: str, topic: str, rows: int) -> None:
    found = await asyncio.to_thread(read_partition, bootstrap_servers, topic)
    assert [row.value for row in found] == expected(rows)


def run_through(proxy: FaultProxy, topic: str, **settings: Any) -> Run:
    return run_on(proxy.bootstrap_servers, topic, request_timeout_ms=SHORT, **settings)


# In a fresh run the claim and the row-0 checkpoint come first: AddPartitionsToTxn and EndTxn 3 are the first rows',
# Produce 5 is their first batch.
STRIKES = {
    "InitProducerId": 1,
    "AddPartitionsToTxn": 3,
    "Produce": 5,
    "EndTxn": 3,
}
FAULTS: dict[str, Callable[[FaultProxy, str, int], object]] = {
    "request lost": lambda proxy, api, nth: proxy.drop_request(api, nth=nth),
    "answer lost": lambda proxy, api, nth: proxy.drop_response(api, nth=nth),
    "request late": lambda proxy, api, nth: proxy.delay(api, 2.0, nth=nth),
    "answer late": lambda proxy, api, nth: proxy.delay_response(api, 2.0, nth=nth),
    "cut before": lambda proxy, api, nth: proxy.cut(api, nth=nth),
    "cut after": lambda proxy, api, nth: proxy.cut(api, after=True, nth=nth),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("api", STRIKES)
async def test_a_request_lost_or_late(
    api: str, fault: str, proxy: FaultProxy, bootstrap_servers: str, topic: str
) -> None:
    FAULTS[fault](proxy, api, STRIKES[api])
    run = run_through(proxy, topic, rows=40)
    assert (await run.run()).complete
    assert run.sessions in (2, 3)  # an InitProducerId that comes late fences the run's own next session
    await assert_exactly(bootstrap_servers, topic, 40)


async def test_a_late_commit_does_not_end_the_next_transaction(
    proxy: FaultProxy, bootstrap_servers: str, topic: str
) -> None:
    held = proxy.hold_request("EndTxn", nth=3)
    run = run_through(proxy, topic)
    with pytest.raises(Doubt):
        await run.one_session()
    async with run.session() as session:
        assert session.resume_from.position.rows == 0
        await session.write(payload(0, 2))
        await held.release()
        await session.write(payload(2, 4))
        assert await asyncio.to_thread(read_partition, bootstrap_servers, topic) == []
        await run.commit(session, advanced(session.resume_from, 4))
    await run.run()
    await assert_exactly(bootstrap_servers, topic, 20)


async def test_a_batch_still_on_its_way_is_shut_out(proxy: FaultProxy, bootstrap_servers: str, topic: str) -> None:
    held = proxy.hold_request("Produce", nth=5)
    run = run_through(proxy, topic)
    with pytest.raises(Doubt):
        await run.one_session()
    async with run.session() as session:
        await session.write(payload(0, 2))
        await held.release()
        await session.write(payload(2, 4))
        await run.commit(session, advanced(session.resume_from, 4))
    await run.run()
    await assert_exactly(bootstrap_servers, topic, 20)


async def test_a_commit_repeated_by_the_network_does_no_harm(
    proxy: FaultProxy, bootstrap_servers: str, topic: str
) -> None:
    proxy.repeat_request("EndTxn", nth=3)
    proxy.repeat_request("Produce", nth=6)
    run = run_through(proxy, topic)
    await run.run()
    await assert_exactly(bootstrap_servers, topic, 20)


async def test_another_jobs_open_transaction_hides_our_checkpoint(
    proxy: FaultProxy, bootstrap_servers: str, topic: str
) -> None:
    """It was begun before our rows were committed; the next run waits until it is decided."""
    run = run_through(proxy, topic)
    other = ConfluentProducer({"bootstrap.servers": bootstrap_servers, "transactional.id": f"{topic}-other"})
    await asyncio.to_thread(other.init_transactions, 20)
    async with run.session() as session:
        other.begin_transaction()
        other.produce(CHECKPOINT_TOPIC, key=b"unrelated", value=b"open", partition=0)
        await asyncio.to_thread(other.flush, 20)
        await session.write(payload(0, 6))
        await run.commit(session, advanced(session.resume_from, 6))
    following = run_through(proxy, topic, name="next")
    work = asyncio.create_task(following.run())
    await asyncio.sleep(2)
    assert not work.done()
    assert following.commits == 0
    await asyncio.to_thread(other.abort_transaction, 20)
    await work
    await assert_exactly(bootstrap_servers, topic, 20)


async def test_rows_of_ours_that_no_checkpoint_knows_stop_the_job(
    bootstrap_servers: str, proxy: FaultProxy, topic: str
) -> None:
    first = run_through(proxy, topic)
    async with first.session() as session:
        await session.write(payload(0, 6))
        done = await first.commit(session, advanced(session.resume_from, 6))
    batch = pack_records([(None, value(6), [])])
    (ours,) = done.sink.producer_ids
    stamp(batch, producer_id=ours, epoch=100, sequence=0, timestamp_ms=0, transactional=False)
    async with broker_factory({"bootstrap_servers": bootstrap_servers})() as broker:
        await broker.produce(TopicPartition(topic, 0), batch, transactional_id=None)
    with pytest.raises(StateContradiction, match="does not know"):
        await run_through(proxy, topic, name="next").run()


async def test_sequences_wrap_as_the_broker_does(bootstrap_servers: str, proxy: FaultProxy, topic: str) -> None:
    run = run_through(proxy, topic, rows=40)
    async with run.session() as session:
        session.writer.state.sequences[TopicPartition(topic, 0)] = 2_147_483_646  # type: ignore[attr-defined]
        for row in range(0, 40, 10):
            await session.write(payload(row, row + 10))
        await run.commit(session, advanced(session.resume_from, 40))
    await assert_exactly(bootstrap_servers, topic, 40)


async def test_of_two_runs_one_finishes_and_one_is_told(bootstrap_servers: str, topic: str) -> None:
    runs = [run_on(bootstrap_servers, topic, name=name, store=MemoryStore(store_id=name), rows=400) for name in "ab"]
    results = await asyncio.gather(*(run.run() for run in runs), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Checkpoint", "TakenOver"]
    await assert_exactly(bootstrap_servers, topic, 400)


async def test_a_run_whose_own_transaction_timed_out_goes_on(bootstrap_servers: str, topic: str) -> None:
    run = run_on(bootstrap_servers, topic)
    run.sink._settings = evolve(run.sink._settings, transaction_timeout_ms=1000)  # a test has no 40 s
    with pytest.raises(Fenced):
        async with run.session() as session:
            await session.write(payload(0, 2))
            await asyncio.sleep(4)  # brokers look every half second in tests
            await session.commit(advanced(session.resume_from, 2))
    await run.run()
    await assert_exactly(bootstrap_servers, topic, 20)


async def test_a_sleeper_changes_nothing_and_is_told(bootstrap_servers: str, topic: str) -> None:
    sleeper = run_on(bootstrap_servers, topic)
    with pytest.raises(Fenced):
        async with sleeper.session() as session:
            await session.write(payload(0, 2))
            await run_on(bootstrap_servers, topic, name="other").run()
            await session.write(payload(2, 4))
            await session.commit(advanced(session.resume_from, 4))
    with pytest.raises(TakenOver):
        await sleeper.run()
    await assert_exactly(bootstrap_servers, topic, 20)


async def test_leaving_for_good_aborts_at_once(proxy: FaultProxy, bootstrap_servers: str, topic: str) -> None:
    run = run_through(proxy, topic)
    async with run.session() as session:
        await session.write(payload(0, 2))
        ends, producers = proxy.count("EndTxn"), proxy.count("InitProducerId")
    assert proxy.count("EndTxn") == ends + 1
    assert proxy.count("InitProducerId") == producers
    assert await asyncio.to_thread(read_partition, bootstrap_servers, topic) == []


async def test_a_topic_made_anew_amid_the_job_stops_it(bootstrap_servers: str, proxy: FaultProxy, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    run = run_through(proxy, topic)
    with pytest.raises(Csv2KafkaError):
        async with run.session() as session:
            await session.write(payload(0, 10))
            await run.commit(session, advanced(session.resume_from, 10))
            await asyncio.to_thread(admin.delete_topics([topic])[topic].result, 20)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(create_topic, bootstrap_servers, topic)
            await session.write(payload(10, 12))
            await run.commit(session, advanced(session.resume_from, 12))
    with pytest.raises(StateContradiction):
        await run.run()
    assert await asyncio.to_thread(read_partition, bootstrap_servers, topic) == []


class TestAtLeastOnce:
    def run(self, proxy: FaultProxy, topic: str, store: MemoryStore, **settings: Any) -> Run:
        return run_through(proxy, topic, store=store, delivery="at-least-once", **settings)

    @pytest.mark.parametrize(("fault", "nth"), [*((fault, 4) for fault in FAULTS), ("answer lost", 1)])
    async def test_a_batch_lost_or_late(
        self, fault: str, nth: int, proxy: FaultProxy, bootstrap_servers: str, topic: str
    ) -> None:
        FAULTS[fault](proxy, "Produce", nth)
        run = self.run(proxy, topic, MemoryStore(), rows=40, interval=3)
        assert (await run.run()).complete
        assert run.sessions == 2
        await assert_exactly(bootstrap_servers, topic, 40)

    @pytest.mark.parametrize("committed", [0, 4])
    async def test_what_a_dead_run_sent_is_not_sent_again(
        self, committed: int, proxy: FaultProxy, bootstrap_servers: str, topic: str
    ) -> None:
        store = MemoryStore()
        dead = self.run(proxy, topic, store, name="dead")
        with pytest.raises(RuntimeError):
            async with dead.session() as session:
                if committed:
                    await session.write(payload(0, committed))
                    await dead.commit(session, advanced(session.resume_from, committed))
                for row in range(committed, 10, 2):
                    await session.write(payload(row, row + 2))
                await asyncio.sleep(0.5)
                raise RuntimeError
        await self.run(proxy, topic, store, name="next").run()
        await assert_exactly(bootstrap_servers, topic, 20)

    async def test_what_a_dead_run_left_in_the_network_is_shut_out(
        self, proxy: FaultProxy, bootstrap_servers: str, topic: str
    ) -> None:
        store = MemoryStore()
        held = proxy.hold_request("Produce", nth=2)
        dead = self.run(proxy, topic, store, name="dead")
        with pytest.raises(RuntimeError):
            async with dead.session() as session:
                await session.write(payload(0, 2))
                await dead.commit(session, advanced(session.resume_from, 2))
                await session.write(payload(2, 4))
                await held.happened()
                raise RuntimeError
        following = self.run(proxy, topic, store, name="next")
        async with following.session() as session:
            assert [batch async for batch in session.standing()] == []
            await session.write(payload(2, 6))
            await held.release()
            await session.write(payload(6, 8))
            await following.commit(session, advanced(session.resume_from, 8))
        await following.run()
        await assert_exactly(bootstrap_servers, topic, 20)
