"""At-least-once, reconciled: doubled nowhere on a partition that this job alone writes, and honest where it is not.

What a dead run left. Within a run: test_sending_again_traps.py.
"""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio

import pytest
from attrs import define, evolve

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, StaleLease, StateContradiction
from csv2kafka.kernel import pack_records, stamp
from tests.simulation.broker import Fault, Leaders, Network, Silence
from tests.simulation.cluster import Cluster, Topic
from tests.simulation.job import DATA, MemoryStore, Run, advanced, expected, payload, value, visible
from tests.simulation.partition import Log
from tests.simulation.play import at_least_once, open_transaction, played


async def died(net: Network, store: MemoryStore, *, committed: int = 4, sent: int = 10) -> None:
    """A run that committed some rows, sent more, and was killed before it could save how far it was."""
    run = at_least_once(net, store, "dead")
    with pytest.raises(RuntimeError):
        async with run.session() as session:
            at = session.resume_from
            if committed:
                await session.write(payload(0, committed))
                await run.commit(session, advanced(at, committed))
            for row in range(committed, sent, 2):
                await session.write(payload(row, min(row + 2, sent)))
            await asyncio.sleep(1)
            raise RuntimeError


def foreign(net: Network, values: list[bytes], *, producer_id: int = -1, headers: bool = False) -> None:
    """Somebody else's batch in the data partition."""
    batch = pack_records([(None, content, [("who", b"else")] if headers else []) for content in values])
    epoch = -1 if producer_id < 0 else 100
    stamp(batch, producer_id=producer_id, epoch=epoch, sequence=0, timestamp_ms=0, transactional=False)
    net.cluster.produce(DATA, bytes(batch), None)


@pytest.mark.parametrize("committed", [0, 4])
@pytest.mark.parametrize("sent", [4, 5, 10, 20])
@pytest.mark.parametrize("older", [0, 3])
def test_what_a_dead_run_sent_is_not_sent_again(committed: int, sent: int, older: int) -> None:
    """Also before its first commit: the row-0 checkpoint, with the partition's end, is saved before the first row."""

    async def test(net: Network) -> None:
        for _ in range(older):
            foreign(net, [b"older"])
        store = MemoryStore()
        await died(net, store, committed=committed, sent=sent)
        done = await at_least_once(net, store, "next").run()
        assert visible(net) == [b"older"] * older + expected(20)
        assert done.sink.first_offset == older
        assert done.sink.offsets["data"] == 20 + older

    played(test)()


@pytest.mark.parametrize("stop_at", range(4, 12))
def test_a_commit_amid_what_stood_there_leads_the_next_run_right(stop_at: int) -> None:
    async def test(net: Network) -> None:
        store = MemoryStore()
        await died(net, store, sent=12)
        second = at_least_once(net, store, "second")
        async with second.session() as session:
            _ = [batch async for batch in session.standing()]
            await second.commit(session, advanced(session.resume_from, stop_at))
        assert store.checkpoint is not None
        assert store.checkpoint.sink.offsets["data"] == stop_at
        await at_least_once(net, store, "third").run()
        assert visible(net) == expected(20)

    played(test)()


def test_what_a_dead_run_left_in_the_network_is_shut_out() -> None:
    """Its last batch arrives after the successor's first."""

    async def test(net: Network) -> None:
        store = MemoryStore()
        dead = at_least_once(net, store, "dead")
        with pytest.raises(RuntimeError):
            async with dead.session() as session:
                await session.write(payload(0, 2))
                await dead.commit(session, advanced(session.resume_from, 2))
                net.faults = lambda request: Fault(delay=31.05) if request.operation == "produce" else None
                await session.write(payload(2, 4))
                await asyncio.sleep(0)
                net.faults = lambda _: None
                raise RuntimeError
        following = at_least_once(net, store, "next", rows=2000)
        await following.run()
        await asyncio.sleep(100)
        assert visible(net) == expected(2000)

    played(test)()


def test_a_request_time_passes_before_reading(caplog: pytest.LogCaptureFixture) -> None:
    """What a dead run left in the network may still arrive, until then; also before the successor's first batch."""

    async def test(net: Network) -> None:
        store = MemoryStore()
        dead = at_least_once(net, store, "dead")
        with pytest.raises(RuntimeError):
            async with dead.session() as session:
                await session.write(payload(0, 2))
                await dead.commit(session, advanced(session.resume_from, 2))
                net.faults = lambda request: Fault(delay=29.0) if request.operation == "produce" else None
                await session.write(payload(2, 4))
                await asyncio.sleep(0)
                net.faults = lambda _: None
                raise RuntimeError
        following = at_least_once(net, store, "next")
        async with following.session() as session:
            stood = [row async for batch in session.standing() for row in batch.rows()]
            at = advanced(session.resume_from, 2 + len(stood))
            await asyncio.sleep(29.5)  # the source is slow
            await session.write(payload(at.counts.rows, 6))
            await following.commit(session, advanced(at, 6))
        assert visible(net) == expected(6)

    played(test)()
    assert [text for text in caplog.messages if "waiting" in text] == [
        "job job: waiting 30 s (request_timeout_ms), until nothing that was sent before can be on its way"
    ]


def test_the_first_batch_goes_alone_and_must_stand_where_reading_ended() -> None:
    async def test(net: Network) -> None:
        run = at_least_once(net, MemoryStore())
        slow = Fault(answer_delay=3.0)
        net.faults = lambda request: slow if request.operation == "produce" else None
        async with run.session() as session:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(session.write(payload(0, 2)), 1.0)
        other = at_least_once(net, MemoryStore(), "other")
        net.faults = lambda _: None
        with pytest.raises(Doubt, match="the end"):
            async with other.session() as session:
                foreign(net, [b"foreign"])
                await session.write(payload(0, 2))

    played(test)()


class TestForeign:
    @pytest.mark.parametrize("headers", [False, True])
    def test_stop(self, headers: bool) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            assert store.checkpoint is not None
            (ours,) = store.checkpoint.sink.producer_ids
            foreign(net, [value(10)], producer_id=ours if headers else 77, headers=headers)
            with pytest.raises(StateContradiction, match="offset 10") as raised:
                await at_least_once(net, store, "next").run()
            assert "--on-foreign resend" in raised.value.hint
            assert len(visible(net)) == 11

        played(test)()

    def test_resend(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            foreign(net, [b"foreign"], producer_id=77)
            done = await at_least_once(net, store, "next", on_foreign="resend").run()
            assert visible(net) == [*expected(10), b"foreign", *expected(20)[10:]]
            assert done.sink.offsets["data"] == 21

        played(test)()

    def test_resend_goes_on_while_others_write(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            run = at_least_once(
                net, store, "next", on_foreign="resend", before_write=lambda row: foreign(net, [b"foreign"])
            )
            await run.run()
            assert [row for row in visible(net) if row != b"foreign"] == expected(20)

        played(test)()

    def test_an_aborted_transaction_of_others_is_nothing(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            cluster = net.cluster
            producer = open_transaction(cluster, "others", DATA, value=b"undecided", timeout_ms=60_000)
            # It is decided only after the successor begins to read.
            asyncio.get_running_loop().call_later(45, lambda: cluster.end_transaction("others", producer, commit=False))
            await at_least_once(net, store, "next").run()
            assert visible(net) == expected(20)

        played(test)()


class TestStops:
    async def refused(self, net: Network, store: MemoryStore) -> Csv2KafkaError:
        before = len(net.sent)
        with pytest.raises(StateContradiction) as raised:
            await at_least_once(net, store, "next").run()
        assert "produce" not in [request.operation for request in net.sent[before:]]
        return raised.value

    def test_log_begins_behind_the_checkpoint(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            net.cluster.log(DATA).start = 6
            assert "begins at offset 6" in (await self.refused(net, store)).message

        played(test)()

    def test_log_ends_before_it(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            net.cluster.log(DATA).truncate(2)
            assert "ends at offset 2" in (await self.refused(net, store)).message

        played(test)()

    def test_another_topic(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            del net.cluster.topics[DATA.topic]
            net.cluster.make_topic(DATA.topic)
            assert "another one" in (await self.refused(net, store)).message

        played(test)()

    def test_confirmed_rows_lost_within_the_run(self) -> None:
        """Rows confirmed and not yet saved are gone when the next session opens."""

        async def test(net: Network) -> None:
            run = at_least_once(net, MemoryStore())
            with pytest.raises(Doubt):
                async with run.session() as session:
                    await session.write(payload(0, 4))
                    raise Doubt("away")
            net.cluster.log(DATA).truncate(2)
            with pytest.raises(StateContradiction, match="ends at offset 2"):
                await run.run()

        played(test)()

    def test_not_a_job_that_is_complete(self) -> None:
        """Others wrote behind it, and retention has taken its end: there is nothing left to be sent."""

        async def test(net: Network) -> None:
            store = MemoryStore()
            await at_least_once(net, store).run()
            foreign(net, [b"behind"] * 3)
            log = net.cluster.log(DATA)
            log.start = log.end - 1
            assert (await at_least_once(net, store, "again").run()).complete
            assert log.end == 23

        played(test)()

    def test_a_lease_that_is_lost(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            run = at_least_once(net, store)
            store.take()
            with pytest.raises(StaleLease):
                await run.run()
            assert net.sent == []

        played(test)()

    def test_needs_a_lease(self) -> None:
        async def test(net: Network) -> None:
            with pytest.raises(ConfigError):
                await Run(network=net, delivery="at-least-once").run()

        played(test)()


class TestProducer:
    def test_a_coordinator_that_loads_is_asked_again_in_the_same_session(self) -> None:
        async def test(net: Network) -> None:
            net.faults = lambda request: (
                Fault(code=14) if request.operation == "init_producer" and request.nth < 4 else None
            )
            run = at_least_once(net, MemoryStore())
            await run.run()
            assert run.sessions == 1
            assert visible(net) == expected(run.rows)

        played(test)()

    def test_a_successor_has_the_next_epoch(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            for number in range(4):
                run = at_least_once(net, store, f"run-{number}")
                async with run.session() as session:
                    assert session.resume_from.sink.producer_epoch == number
                    assert session.resume_from.sink.producer_ids == (1001,)

        played(test)()

    def test_the_last_epoch_is_followed_by_a_new_id(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            assert store.checkpoint is not None
            store.checkpoint = evolve(store.checkpoint, sink=evolve(store.checkpoint.sink, producer_epoch=32766))
            await at_least_once(net, store, "next").run()
            assert store.checkpoint.sink.producer_ids == (1001, 1002)
            assert store.checkpoint.sink.producer_epoch == 0
            assert visible(net) == expected(20)

        played(test)()

    def test_shut_out_under_a_lease_still_held_it_goes_on(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            run = at_least_once(net, store)

            def fence(row: int) -> None:
                if row == 8 and run.sessions == 1:  # a run with a copy of the store wrote the next rows
                    foreign(net, [value(8), value(9)], producer_id=1001)

            run.before_write = fence
            done = await run.run()
            assert visible(net) == expected(20)
            assert done.sink.producer_ids == (1001, 1002)

        played(test)()

    def test_restart_is_not_lost_with_a_session_that_could_not_be_saved(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await died(net, store)
            run = at_least_once(net, store, "again", restart=True)
            async with run.sink.open(run.description(), store.checkpoint, run.lease) as session:
                assert session.resume_from.generation == 1
            run.restart = False  # as the pipeline does after a session that opened; saving it failed
            done = await run.run()
            assert done.generation == 1
            assert visible(net) == expected(10) + expected(20)

        played(test)()


def test_what_a_leader_that_was_cut_off_did_not_have_is_not_doubled() -> None:
    """Read up to there at the old leader, sent to it without an answer, and sent again to the new one, behind the same
    rows of a dead run."""

    async def test(net: Network) -> None:
        store = MemoryStore()
        await died(net, store, committed=0, sent=10)
        log = net.cluster.log(DATA)
        new, old = list(log.batches), Log()
        net.leaders = OldLeader(old=old, until=asyncio.get_running_loop().time() + 60)
        run = at_least_once(net, store)
        assert (await run.run()).complete
        assert log.batches[: len(new)] == new
        assert visible(net) == expected(run.rows)

    played(test)()


@define(kw_only=True)
class OldLeader(Leaders):
    """Nobody finds the new leader of the rows' partition before ``until``, unless he asks anew."""

    old: Log
    until: float

    def connect(self, connection: object, *, refresh: bool = False) -> object:
        return "old" if not refresh and asyncio.get_running_loop().time() < self.until else "new"

    def reached(self, connection: object, node: object, operation: str, cluster: Cluster) -> Cluster:
        if connection != DATA or node != "old":
            return cluster
        if operation == "produce":
            raise Silence
        return evolve(cluster, topics={DATA.topic: Topic(topic_id="", partitions={0: self.old}, config={})})
