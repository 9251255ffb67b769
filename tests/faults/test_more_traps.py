"""More of the protocol's traps on a real broker: what other writers, lost topics and lying answers do to a job."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio
import uuid

import pytest
from confluent_kafka import Producer as ConfluentProducer
from confluent_kafka.admin import AdminClient

from csv2kafka.errors import StateContradiction
from tests.broker.job import run_on
from tests.faults.proxy import FaultProxy
from tests.reading import read_partition
from tests.simulation.job import MemoryStore, Run, advanced, expected, payload

pytestmark = [pytest.mark.broker]

SHORT = 1000  # request_timeout_ms
ADMIN_SECONDS = 20.0


@pytest.fixture
def checkpoint_topic() -> str:
    """Not there yet; of the test's own, so that it may be hidden or deleted."""
    return f"checkpoints-{uuid.uuid4().hex[:8]}"


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
    with pytest.raises(StateContradiction, match="the checkpoint store has .* has none"):
        await following.run()
    assert await values(bootstrap_servers, topic) == expected(6)
