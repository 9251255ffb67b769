"""The sink on a real broker: what another client sees, and where the next run goes on."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve
from confluent_kafka.admin import AdminClient

from csv2kafka.checkpoints.kafka import KafkaStore
from csv2kafka.errors import ConfigError, StateContradiction, TopicMissing
from csv2kafka.model import Completion, DeadLetter
from tests.broker.job import CHECKPOINT_TOPIC, run_on
from tests.conftest import MakeTopic
from tests.reading import read_partition
from tests.simulation.job import MemoryStore, advanced, expected, payload


async def values(bootstrap_servers: str, topic: str, partition: int = 0) -> list[bytes | None]:
    rows = await asyncio.to_thread(read_partition, bootstrap_servers, topic, partition)
    return [row.value for row in rows]


async def test_rows_in_order_then_complete_for_the_next_run(bootstrap_servers: str, topic: str) -> None:
    first = await run_on(bootstrap_servers, topic, rows=100, batch=7).run()
    assert first.complete
    assert await values(bootstrap_servers, topic) == expected(100)
    second = run_on(bootstrap_servers, topic, name="second", rows=100)
    assert await second.run() == first
    assert second.commits == 0


async def test_a_run_that_stops_within_a_transaction_leaves_nothing_of_it(bootstrap_servers: str, topic: str) -> None:
    first = run_on(bootstrap_servers, topic, rows=50)
    async with first.session() as session:
        at = session.resume_from
        await session.write(payload(0, 10))
        await first.commit(session, advanced(at, 10))
        await session.write(payload(10, 20))
    second = run_on(bootstrap_servers, topic, name="second", rows=50)
    done = await second.run()
    assert await values(bootstrap_servers, topic) == expected(50)
    assert done.sink.first_offset == 0
    everything = await asyncio.to_thread(read_partition, bootstrap_servers, topic, isolation="read_uncommitted")
    assert [row.value for row in everything] == [*expected(20), *expected(50)[10:]]


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
async def test_dead_letters_and_completion(delivery: str, bootstrap_servers: str, make_topic: MakeTopic) -> None:
    topic, refused, events = make_topic(partitions=3), make_topic(), make_topic()
    options: dict[str, object] = {"dead_letter_topic": refused, "completion_topic": events, "partition": 2}
    run = run_on(bootstrap_servers, topic, delivery=delivery, store=MemoryStore(), options=options)
    async with run.session() as session:
        bad = DeadLetter(value=b"1,2,3", source="a.csv", row=3, line=4, byte=20, reason="3 fields, expected 2")
        await session.write(payload(0, 2))
        for letters in session.packer.pack_dead_letters([bad]):
            await session.write(letters)
        await session.write(payload(2, 4))
        at = await run.commit(session, advanced(session.resume_from, 4))
        await session.commit(evolve(at, complete=True), Completion(value=b"done"))
    assert await values(bootstrap_servers, topic, 2) == expected(4)
    assert await values(bootstrap_servers, events) == [b"done"]
    (letter,) = await asyncio.to_thread(read_partition, bootstrap_servers, refused)
    assert letter.value == b"1,2,3"
    assert dict(letter.headers) == {
        "source": b"a.csv",
        "row": b"3",
        "line": b"4",
        "byte": b"20",
        "reason": b"3 fields, expected 2",
    }


async def test_a_missing_topic_is_told_and_made_when_asked(bootstrap_servers: str, topic: str) -> None:
    name = f"{topic}-missing"
    with pytest.raises(TopicMissing):
        await run_on(bootstrap_servers, name).run()
    await run_on(bootstrap_servers, name, options={"create_topic": True}).run()
    assert await values(bootstrap_servers, name) == expected(20)


async def test_a_checkpoint_topic_that_forgets_is_refused(
    bootstrap_servers: str, topic: str, make_topic: MakeTopic
) -> None:
    forgetful = make_topic(config={"cleanup.policy": "compact,delete"})
    run = run_on(bootstrap_servers, topic, checkpoint_topic=forgetful)
    with pytest.raises(ConfigError, match="compact,delete"):
        await run.run()


async def test_a_topic_made_anew_stops_the_next_run(bootstrap_servers: str, make_topic: MakeTopic) -> None:
    topic = make_topic()
    first = run_on(bootstrap_servers, topic)
    async with first.session() as session:
        await session.write(payload(0, 4))
        await first.commit(session, advanced(session.resume_from, 4))
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.delete_topics([topic])[topic].result(20)
    await asyncio.sleep(1)
    with pytest.raises(StateContradiction, match="another one"):
        await run_on(bootstrap_servers, topic, name="second", options={"create_topic": True}).run()


async def test_the_topic_is_the_store(bootstrap_servers: str, topic: str) -> None:
    store = KafkaStore(bootstrap_servers=bootstrap_servers, checkpoint_topic=CHECKPOINT_TOPIC)
    done = await run_on(bootstrap_servers, topic).run()
    assert await store.load(topic) == done
    assert await store.load_manifest(topic) is not None
    assert done in [status.checkpoint async for status in store.jobs()]
    await store.delete(topic)
    assert await store.load(topic) is None
    assert topic not in [status.checkpoint.job async for status in store.jobs()]
    assert store.id.endswith(f"/{CHECKPOINT_TOPIC}")
    async with store.lease(topic, "me") as lease:
        assert lease is None


async def test_each_transaction_waits_for_the_markers_of_the_one_before(bootstrap_servers: str, topic: str) -> None:
    """CONCURRENT_TRANSACTIONS is asked again, without a new session: fifty commits in a row."""
    run = run_on(bootstrap_servers, topic, rows=200, batch=2, interval=2)
    await run.run()
    assert run.sessions == 1
    assert await values(bootstrap_servers, topic) == expected(200)
