"""At-least-once within a run: what is in doubt is sent again, and doubled nowhere."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from csv2kafka.errors import Doubt
from csv2kafka.kernel import pack_records
from csv2kafka.model import Completion, Payload, Target
from tests.simulation.broker import Fault, Network, Request
from tests.simulation.clock import now
from tests.simulation.job import DATA, MemoryStore, advanced, expected, payload, visible
from tests.simulation.play import DEAD_LETTERS, EVENTS, at_least_once, on, played

ENDINGS = [
    Fault(lost=True),
    Fault(answer_lost=True),
    Fault(answer_delay=40.0),
    Fault(delay=31.0),
    Fault(delay=90.0),
    Fault(cut=True),
    Fault(cut=True, delay=5.0),
    Fault(cut=True, lost=True),
    Fault(code=16),
]


@pytest.mark.parametrize("fault", ENDINGS, ids=str)
@pytest.mark.parametrize("nth", range(1, 8))
def test_any_batch_lost_or_late(fault: Fault, nth: int) -> None:
    """Within a run: identical bytes under identical sequences, which the broker takes once."""

    async def test(net: Network) -> None:
        net.faults = on("produce", nth, fault)
        run = at_least_once(net, MemoryStore(), interval=3)
        assert (await run.run()).complete
        await asyncio.sleep(200)
        assert visible(net) == expected(20)

    played(test)()


@pytest.mark.parametrize("fault", ENDINGS, ids=str)
def test_lost_and_late_again_when_sent_again(fault: Fault) -> None:
    async def test(net: Network) -> None:
        first, second = on("produce", 4, fault), on("produce", 2, fault, client=2)
        net.faults = lambda request: first(request) or second(request)
        await at_least_once(net, MemoryStore(), interval=5).run()
        await asyncio.sleep(200)
        assert visible(net) == expected(20)

    played(test)()


def test_a_partition_that_has_forgotten_the_producer_gets_the_rows_in_order() -> None:
    """After a day of silence it takes any batch: the second of what is sent again must not go before the first."""

    async def test(net: Network) -> None:
        def faults(request: Request) -> Fault | None:
            if request.client == 2 and request.operation == "topic":
                net.cluster.log(DATA).producers.clear()
            lost = {(1, 3): Fault(cut=True, lost=True), (2, 1): Fault(lost=True)}
            return lost.get((request.client, request.nth)) if request.operation == "produce" else None

        net.faults = faults
        run = at_least_once(net, MemoryStore(), interval=6)
        assert (await run.run()).complete
        assert visible(net) == expected(20)

    played(test)()


@pytest.mark.parametrize("hours", [-48, 2, 48])
def test_what_was_sent_long_ago_is_looked_for_before_it_is_sent_again(hours: int) -> None:
    """The brokers were away for so long, or the process was stopped, that nobody knows a batch for one sent twice."""

    async def test(net: Network) -> None:
        away = 0.0

        def faults(request: Request) -> Fault | None:
            nonlocal away
            if request.client == 2 and request.operation == "topic":
                net.cluster.log(DATA).producers.clear()
                away = hours * 3600.0
            return Fault(cut=True) if (request.client, request.nth, request.operation) == (1, 3, "produce") else None

        net.faults = faults
        run = at_least_once(net, MemoryStore(), interval=6, clock=lambda: now() + away)
        assert (await run.run()).complete
        assert visible(net) == expected(20)
        assert run.sessions == 2

    played(test)()


@pytest.mark.parametrize("row", [12, 14])
def test_after_a_long_silence_a_batch_goes_alone(row: int) -> None:
    """A broker that refuses one, and does not lead for a moment, would take the next one in its place. The one that is
    refused goes out behind the silence, or was on its way when it began."""

    async def test(net: Network) -> None:
        silent = 0.0

        def before_write(written: int) -> None:
            nonlocal silent
            if written == row:
                silent = 48 * 3600.0
                net.cluster.log(DATA).producers.clear()

        net.faults = on("produce", 7, Fault(code=6, delay=0.5))
        run = at_least_once(net, MemoryStore(), interval=6, before_write=before_write, clock=lambda: now() + silent)
        assert (await run.run()).complete
        assert visible(net) == expected(20)

    played(test)()


def test_a_refused_dead_letter_does_not_hold_the_run_up_for_good() -> None:
    """A partition that knows nothing of the producer takes a batch with any sequence: with the second there and the
    first refused (replicas were missing for a moment), sending the first again was refused each time, for ever."""
    replicas_missing = 19

    def letter(number: int) -> Payload:
        body = pack_records([(None, b"bad %d" % number, [])])
        return Payload(target=Target.DEAD_LETTER, body=body, first=0, last=1)

    async def test(net: Network) -> None:
        run = at_least_once(net, MemoryStore(), options={"dead_letter_topic": DEAD_LETTERS.topic})
        net.faults = on("produce", 1, Fault(code=replicas_missing))
        with pytest.raises(Doubt):
            async with run.session() as session:
                for number in range(2):
                    await session.write(letter(number))
                await session.commit(session.resume_from)
        async with run.session() as session:
            await session.write(letter(1))
            await session.commit(session.resume_from)
        assert visible(net, DEAD_LETTERS) == [b"bad 0", b"bad 1"]

    played(test)()


def test_nothing_of_it_needs_transactions() -> None:
    async def test(net: Network) -> None:
        await at_least_once(net, MemoryStore()).run()
        assert net.cluster.transactions == {}
        assert list(net.cluster.topics) == [DATA.topic, DEAD_LETTERS.topic, EVENTS.topic]

    played(test)()


def test_completion_follows_the_rows() -> None:
    async def test(net: Network) -> None:
        run = at_least_once(net, MemoryStore(), options={"completion_topic": EVENTS.topic})
        slow = Fault(delay=5.0)

        def faults(request: Request) -> Fault | None:
            if request.target == EVENTS:
                assert visible(net) == expected(4)
            return slow if request.operation == "produce" and request.target == DATA else None

        net.faults = faults
        async with run.session() as session:
            await session.write(payload(0, 2))
            await session.write(payload(2, 4))
            at = advanced(session.resume_from, 4)
            await session.commit(evolve(at, complete=True), Completion(value=b"done"))
            assert visible(net) == expected(4)
            assert visible(net, EVENTS) == [b"done"]
            assert visible(net, DEAD_LETTERS) == []

    played(test)()
