"""What is not promised, shown: each limit that docs/guarantees.md tells, and each thing that it asks of people."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio

import pytest

from csv2kafka.errors import Doubt
from csv2kafka.kernel import pack_records
from csv2kafka.model import Payload, Target
from tests.simulation.broker import Fault, Network
from tests.simulation.job import CHECKPOINTS, DATA, MemoryStore, Run, expected, payload, visible
from tests.simulation.play import DEAD_LETTERS, at_least_once, begun, on, played


def test_at_least_once_a_batch_later_than_every_time_out_is_there_twice() -> None:
    """It comes when the partition has forgotten its producer; with transactions nobody ever sees it."""

    async def test(net: Network) -> None:
        store = MemoryStore()
        net.faults = on("produce", 1, Fault(delay=48 * 3600.0))
        with pytest.raises(Doubt):
            async with at_least_once(net, store).session() as session:
                await session.write(payload(0, 2))
        assert (await at_least_once(net, store, "next").run()).complete
        net.cluster.log(DATA).producers.clear()
        await asyncio.sleep(49 * 3600.0)
        assert visible(net) == [*expected(20), *expected(2)]

    played(test)()


def test_at_least_once_dead_letters_are_sent_again_by_the_next_run() -> None:
    async def test(net: Network) -> None:
        letter = Payload(target=Target.DEAD_LETTER, body=pack_records([(None, b"bad", [])]), first=0, last=1)
        store = MemoryStore()
        for name in "dead", "next":
            run = at_least_once(net, store, name, options={"dead_letter_topic": DEAD_LETTERS.topic})
            with pytest.raises(RuntimeError):
                async with run.session() as session:
                    await session.write(letter)
                    await asyncio.sleep(1)
                    raise RuntimeError
        assert visible(net, DEAD_LETTERS) == [b"bad", b"bad"]

    played(test)()


def test_a_job_that_neither_kafka_nor_the_store_knows_begins_anew() -> None:
    """The checkpoint topic was deleted, and it was the only store."""

    async def test(net: Network) -> None:
        await begun(net)
        del net.cluster.topics[CHECKPOINTS.topic]
        assert (await Run(network=net, name="next").run()).complete
        assert visible(net) == [*expected(6), *expected(20)]

    played(test)()
