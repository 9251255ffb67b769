"""Each trap of writing that docs/guarantees.md names: a request late, lost or repeated at the worst moment."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio

import pytest

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, StateContradiction, TakenOver
from csv2kafka.kafka.port import BrokerError, Fenced
from tests.simulation.broker import Fault, Network
from tests.simulation.job import CHECKPOINTS, DATA, Run, advanced, expected, payload, visible
from tests.simulation.play import DEAD_LETTERS, EVENTS, on, played

# In a fresh run: the claim is end_transaction 1 and produce 1, the row-0 checkpoint with its claim
# end_transaction 2 and produce 2 to 4; rows begin with produce 5, and end_transaction 3 commits them.
FIRST_ROWS, ROWS_COMMIT = 5, 3

ENDINGS = [
    Fault(lost=True),
    Fault(answer_lost=True),
    Fault(answer_delay=40.0),
    Fault(delay=29.5),
    Fault(delay=31.0),  # late: it arrives while the next session opens …
    Fault(delay=31.2),
    Fault(delay=32.0),
    Fault(delay=45.0),  # … or works; it must not end that one's transaction
    Fault(cut=True),
    Fault(cut=True, delay=0.2),
    Fault(cut=True, lost=True),
    Fault(code=16),  # NOT_COORDINATOR proves nothing
]


@pytest.mark.parametrize("operation", ["add_partitions", "produce", "end_transaction", "init_producer"])
@pytest.mark.parametrize("fault", ENDINGS, ids=str)
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_any_request_of_a_commit_lost_or_late(operation: str, fault: Fault, offset: int) -> None:
    first = {"add_partitions": 3, "produce": FIRST_ROWS, "end_transaction": ROWS_COMMIT, "init_producer": 1}

    async def test(net: Network) -> None:
        net.faults = on(operation, first[operation] + offset, fault)
        run = Run(network=net)
        assert (await run.run()).complete
        await asyncio.sleep(100)
        assert visible(net) == expected(run.rows)

    played(test)()


def test_a_late_commit_does_not_end_the_next_transaction() -> None:
    """aiokafka sends EndTxn again by itself, and the late first one commits half of the next transaction."""

    async def test(net: Network) -> None:
        seen: list[int] = []
        net.faults = on("end_transaction", ROWS_COMMIT, Fault(delay=35.0))
        run = Run(network=net, rows=400, interval=50)
        task = asyncio.create_task(run.run())
        while not task.done():
            await asyncio.sleep(0.01)
            seen.append(len(visible(net)))
        assert all(count % 100 == 0 for count in seen), "only whole commits are ever seen"
        assert visible(net) == expected(400)

    played(test)()


def test_no_commit_over_a_batch_that_failed() -> None:
    async def test(net: Network) -> None:
        net.faults = on("produce", FIRST_ROWS, Fault(code=3))
        run = Run(network=net, interval=4)
        await run.run()
        assert isinstance(run.failures[0], BrokerError)
        ends = [request for request in net.sent if request.operation == "end_transaction" and request.client == 1]
        assert len(ends) == ROWS_COMMIT - 1, "the session ended without EndTxn, not even to abort"
        assert visible(net) == expected(run.rows)

    played(test)()


def test_a_batch_still_on_its_way_is_shut_out() -> None:
    """Abort and go on would let it into the next transaction: same epoch, fitting sequence."""

    async def test(net: Network) -> None:
        net.faults = on("produce", FIRST_ROWS, Fault(delay=30.3, cut=True))
        run = Run(network=net, rows=4000, interval=20)
        await run.run()
        await asyncio.sleep(100)
        assert visible(net) == expected(run.rows)

    played(test)()


def test_everything_confirmed_then_the_checkpoint_then_one_end() -> None:
    async def test(net: Network) -> None:
        slow = Fault(delay=1.0)
        net.faults = lambda request: slow if request.operation == "produce" and request.target == DATA else None
        run = Run(network=net, rows=12, batch=3, interval=4)
        async with run.session() as session:
            net.sent.clear()
            for row in range(0, 12, 3):
                await session.write(payload(row, row + 3))
            await session.commit(advanced(session.resume_from, 12))
            told = [(request.operation, request.target) for request in net.sent]
            assert told == [
                ("add_partitions", None),
                *[("produce", DATA)] * 4,
                ("produce", CHECKPOINTS),
                ("end_transaction", None),
            ]
            assert net.cluster.log(CHECKPOINTS).batches[-1].base_offset > 0

    played(test)()


def test_the_checkpoint_is_not_sent_before_its_rows_are_confirmed() -> None:
    async def test(net: Network) -> None:
        slow = Fault(answer_delay=5.0)
        net.faults = lambda request: slow if request.operation == "produce" and request.target == DATA else None
        run = Run(network=net)
        async with run.session() as session:
            await session.write(payload(0, 2))
            await asyncio.sleep(0)
            before = len(net.sent)
            commit = asyncio.create_task(session.commit(advanced(session.resume_from, 2)))
            await asyncio.sleep(4)
            assert len(net.sent) == before, "nothing is sent while the rows' answer is missing"
            await commit

    played(test)()


def test_nothing_is_sent_behind_a_doubt() -> None:
    async def test(net: Network) -> None:
        net.faults = on("produce", FIRST_ROWS, Fault(cut=True))
        run = Run(network=net)
        async with run.session() as session:
            await session.write(payload(0, 2))
            with pytest.raises(Doubt):
                await session.commit(advanced(session.resume_from, 2))
            before = len(net.sent)
            for _ in range(2):
                with pytest.raises(Doubt):
                    await session.write(payload(2, 4))
                with pytest.raises(Doubt):
                    await session.commit(advanced(session.resume_from, 4))
        assert len(net.sent) == before

    played(test)()


def test_four_in_flight_at_most() -> None:
    async def test(net: Network) -> None:
        slow = Fault(answer_delay=1.0)
        net.faults = lambda request: slow if request.operation == "produce" and request.target == DATA else None
        run = Run(network=net)
        async with run.session() as session:
            for row in range(4):
                await asyncio.wait_for(session.write(payload(row, row + 1)), 0.5)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.write(payload(4, 5)), 0.5)
            await session.write(payload(4, 5))

    played(test)()


def test_all_partitions_of_a_transaction_are_named_at_once() -> None:
    async def test(net: Network) -> None:
        run = Run(network=net, options={"dead_letter_topic": DEAD_LETTERS.topic})
        async with run.session() as session:
            await session.write(payload(0, 2))
            (known,) = net.cluster.transactions.values()
            assert sorted(map(str, known.partitions)) == ["csv2kafka-checkpoints-0", "refused-0", "rows-0"]

    played(test)()


def test_a_base_offset_below_the_last_stops_the_job_uncommitted() -> None:
    """The topic was made anew, or its log truncated, between two batches."""

    async def test(net: Network) -> None:
        def lose(row: int) -> None:
            if row == 10:
                net.cluster.log(DATA).truncate(5)

        run = Run(network=net, before_write=lose)
        with pytest.raises(StateContradiction) as raised:
            await run.run()
        assert "rows-0" in raised.value.message
        checkpoints = [r for r in net.sent if r.operation == "end_transaction" and r.commit]
        assert len(checkpoints) == run.commits + 2  # the claim and the row-0 checkpoint

    played(test)()


def test_sequences_wrap_as_the_broker_does() -> None:
    async def test(net: Network) -> None:
        run = Run(network=net, rows=40, batch=10)
        async with run.session() as session:
            writer = session.writer  # type: ignore[attr-defined]
            writer.state.sequences[DATA] = 2_147_483_646  # an unknown producer may start anywhere
            for row in range(0, 40, 10):
                await session.write(payload(row, row + 10))
            await session.commit(advanced(session.resume_from, 40))
        assert visible(net) == []  # markers are on their way
        await asyncio.sleep(1)
        assert visible(net) == expected(40)
        assert net.cluster.log(DATA).producers[1001].batches[1][0] == 8

    played(test)()


def test_batches_carry_the_time_of_sending() -> None:
    """With the time of packing, a slow source would make the broker forget the producer too early."""

    async def test(net: Network) -> None:
        run = Run(network=net)
        async with run.session() as session:
            packed = payload(0, 2)
            await asyncio.sleep(5000)
            await session.write(packed)
            await session.commit(advanced(session.resume_from, 2))
        batch = net.cluster.log(DATA).batches[0]
        assert int.from_bytes(batch.data[27:35], "big") >= 5_000_000

    played(test)()


@pytest.mark.parametrize("code", [14, 51])
@pytest.mark.parametrize("operation", ["init_producer", "add_partitions", "end_transaction"])
def test_nothing_was_done_is_asked_again_in_the_same_session(operation: str, code: int) -> None:
    async def test(net: Network) -> None:
        busy = Fault(code=code)
        net.faults = lambda request: busy if request.operation == operation and request.nth % 3 != 0 else None
        run = Run(network=net)
        await run.run()
        assert run.sessions == 1
        await asyncio.sleep(1)
        assert visible(net) == expected(run.rows)

    played(test)()


def test_nothing_was_done_has_a_bound_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def test(net: Network) -> None:
        net.faults = lambda request: Fault(code=51) if request.operation == "init_producer" else None
        run = Run(network=net)
        with pytest.raises(BrokerError):
            await asyncio.wait_for(run.one_session(), 100)

    played(test)()
    (told,) = caplog.messages
    assert told.startswith("asking again, for 60 s at most: ")


def test_complete_is_seen_only_behind_every_row() -> None:
    """Markers are written to each partition on its own, so the last checkpoint and the completion event need a
    transaction of their own, which cannot begin before the markers of the last are written."""

    async def test(net: Network) -> None:
        net.cluster.marker_delay = lambda partition: 20.0 if partition == DATA else 0.001
        run = Run(network=net, rows=4, options={"completion_topic": EVENTS.topic})
        work = asyncio.create_task(run.run())
        for _ in range(1000):
            if not visible(net, EVENTS):
                await asyncio.sleep(0.1)
        assert visible(net, EVENTS) == [b"{}"]
        assert visible(net) == expected(4)
        assert (await work).complete

    played(test)()


class TestLeaving:
    """For good, with a transaction open: abort once if it is certain that nothing else is on its way."""

    def test_a_stopped_run_aborts_at_once(self) -> None:
        async def test(net: Network) -> None:
            run = Run(network=net)
            async with run.session() as session:
                await session.write(payload(0, 2))
                await asyncio.sleep(0)
                before = len(net.sent)
            assert [(r.operation, r.commit) for r in net.sent[before:]] == [("end_transaction", False)]

        played(test)()

    def test_what_is_on_its_way_is_awaited_before_the_abort(self) -> None:
        """It would come to stand behind the marker, in a transaction that nobody ends."""

        async def test(net: Network) -> None:
            net.faults = on("produce", FIRST_ROWS, Fault(delay=0.5))
            log = net.cluster.log(DATA)
            async with Run(network=net).session() as session:
                await session.write(payload(0, 2))
                await asyncio.sleep(0)
            await asyncio.sleep(5)
            assert [batch.commit for batch in log.batches] == [None, False]

        played(test)()

    def test_a_batch_refused_for_good_aborts_at_once(self) -> None:
        """Else the open transaction would hide other jobs' checkpoints until it times out."""
        too_large = 10

        async def test(net: Network) -> None:
            net.faults = on("produce", FIRST_ROWS, Fault(code=too_large))
            run = Run(network=net)
            with pytest.raises(ConfigError, match="MESSAGE_TOO_LARGE"):
                await run.one_session()
            assert (net.sent[-1].operation, net.sent[-1].commit) == ("end_transaction", False)

        played(test)()

    def test_a_doubt_leaves_it_to_the_next_opening(self) -> None:
        async def test(net: Network) -> None:
            net.faults = on("produce", FIRST_ROWS, Fault(answer_lost=True))
            run = Run(network=net)
            with pytest.raises(Doubt):
                await run.one_session()
            assert net.sent[-1].operation == "produce"

        played(test)()

    def test_a_doubt_from_elsewhere_leaves_it_to_the_next_opening_too(self) -> None:
        """The same run opens again: it never aborts and goes on."""

        async def test(net: Network) -> None:
            run = Run(network=net)
            with pytest.raises(Doubt):
                async with run.session() as session:
                    await session.write(payload(0, 2))
                    raise Doubt("the source is away")
            assert net.sent[-1].operation != "end_transaction"

        played(test)()

    def test_a_fenced_run_sends_nothing(self) -> None:
        async def test(net: Network) -> None:
            run, other = Run(network=net), Run(network=net, name="other")
            with pytest.raises(Fenced):
                async with run.session() as session:
                    await session.write(payload(0, 2))
                    async with other.session():
                        before = len(net.sent)
                        await session.write(payload(2, 4))
                        await session.commit(advanced(session.resume_from, 4))
            assert [r.operation for r in net.sent[before:] if r.name == "run"] == ["produce"]

        played(test)()

    def test_cancelled_inside_a_request_sends_nothing(self) -> None:
        async def test(net: Network) -> None:
            net.faults = on("end_transaction", ROWS_COMMIT, Fault(delay=5.0))
            run = Run(network=net)
            task = asyncio.create_task(run.one_session())
            await asyncio.sleep(4)
            assert net.sent[-1].operation == "end_transaction"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert net.sent[-1].commit is True

        played(test)()

    def test_never_takes_longer_than_a_few_seconds(self) -> None:
        async def test(net: Network) -> None:
            run = Run(network=net)
            with pytest.raises(Csv2KafkaError):
                async with run.session() as session:
                    await session.write(payload(0, 2))
                    net.faults = lambda _: Fault(lost=True)
                    started = asyncio.get_running_loop().time()
                    raise TakenOver("as an error that ends the run")
            assert asyncio.get_running_loop().time() - started < 5

        played(test)()

    def test_never_asks_for_a_producer(self) -> None:
        """That would fence whoever owns the job by now."""

        async def test(net: Network) -> None:
            run = Run(network=net)
            await run.run()
            assert [r.operation for r in net.sent].count("init_producer") == 1

        played(test)()


def test_nothing_is_written_into_a_transaction_that_a_stopped_process_has_left_behind() -> None:
    """The partition has forgotten the producer meanwhile: it would begin a transaction that nobody ends (KIP-890)."""

    async def test(net: Network) -> None:
        run = Run(network=net)
        with pytest.raises(Doubt, match="an hour old"):
            async with run.session() as session:
                await session.write(payload(0, 2))
                await asyncio.sleep(7200)
                net.cluster.log(DATA).producers.clear()
                await session.write(payload(2, 4))
        assert not net.cluster.log(DATA).open
        assert (await run.run()).complete
        assert visible(net) == expected(20)

    played(test)()
