"""Each trap of opening a session that docs/guarantees.md names: until a claim is seen, and whose job it is."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio
import json

import pytest

from csv2kafka.errors import Csv2KafkaError, StaleLease, TakenOver, Unreachable
from csv2kafka.kafka.log import HANGING_SECONDS, until_visible
from csv2kafka.kafka.port import Fenced, LogEnds, Producer, TopicPartition
from csv2kafka.kernel import pack_records, stamp
from csv2kafka.model import Checkpoint
from tests.simulation.broker import Fault, Network, Request
from tests.simulation.job import CHECKPOINTS, MemoryStore, Run, advanced, expected, payload, visible
from tests.simulation.play import begun, on, open_transaction, played, sent


def foreign(net: Network, key: bytes = b"x", value: bytes = b"foreign", *, transaction: str | None = None) -> None:
    """Somebody else's record in the checkpoint topic, at once; open if ``transaction`` names one."""
    if transaction is not None:
        open_transaction(net.cluster, transaction, CHECKPOINTS, key=key, value=value)
        return
    batch = pack_records([(key, value, [])])
    stamp(batch, producer_id=-1, epoch=-1, sequence=0, timestamp_ms=0, transactional=False)
    net.cluster.produce(CHECKPOINTS, bytes(batch), None)


class TestReading:
    """Step 6: until the claim is seen."""

    @pytest.mark.parametrize("seconds", [5.0, 200.0])
    def test_another_jobs_open_transaction_hides_our_checkpoint(self, seconds: float) -> None:
        """It stood before our rows were committed, so a read_committed reader ends before our checkpoint."""

        async def test(net: Network) -> None:
            run = Run(network=net, name="first")
            with pytest.raises(RuntimeError):
                async with run.session() as session:
                    foreign(net, transaction="another")
                    await session.write(payload(0, 6))
                    await run.commit(session, advanced(session.resume_from, 6))
                    raise RuntimeError
            (another,) = [known for name, known in net.cluster.transactions.items() if name == "another"]
            asyncio.get_running_loop().call_later(
                seconds, lambda: net.cluster.end_transaction("another", another.producer, commit=False)
            )
            last = Run(network=net, name="last")
            assert (await last.run()).complete
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()

    def test_a_hanging_transaction_is_named_after_its_time(self) -> None:
        async def test(net: Network) -> None:
            done = await begun(net)
            net.cluster.later = lambda seconds, action: None  # nobody ends it
            foreign(net, transaction="another")
            net.cluster.later = asyncio.get_running_loop().call_later
            hanging = net.cluster.log(CHECKPOINTS).stable
            with pytest.raises(Unreachable) as raised:
                await Run(network=net, name="last").run()
            told = str(raised.value)
            assert f"{hanging}" in told
            assert "kafka-transactions.sh" in told
            assert "csv2kafka-checkpoints" in told
            assert done.position.rows == 6

        played(test)()

    def test_a_sleeper_looks_again_before_it_says_that_a_transaction_hangs(self) -> None:
        """Stopped for longer than its patience just behind a look, it would judge by what was there before."""

        async def test(net: Network) -> None:
            net.cluster.make_topic(CHECKPOINTS.topic)
            foreign(net, transaction="another")
            end = net.cluster.log(CHECKPOINTS).end

            class Sleepy:
                async def log_ends(self, target: TopicPartition) -> LogEnds:
                    ends = net.cluster.log(target).ends()
                    if ends.stable < end:
                        net.cluster.end_transaction("another", Producer(producer_id=1001, epoch=0), commit=True)
                        await asyncio.sleep(2 * HANGING_SECONDS)
                    return ends

            await until_visible(Sleepy(), CHECKPOINTS, end)  # type: ignore[arg-type]

        played(test)()

    def test_markers_that_are_late_are_waited_for(self) -> None:
        async def test(net: Network) -> None:
            net.cluster.marker_delay = lambda partition: 25.0 if partition == CHECKPOINTS else 0.001
            run = Run(network=net, rows=8)
            await run.run()
            await asyncio.sleep(100)
            assert visible(net) == expected(8)

        played(test)()

    def test_a_claim_compacted_away_means_taken_over(self) -> None:
        async def test(net: Network) -> None:
            run, other = Run(network=net), Run(network=net, name="other")

            def meanwhile(request: Request) -> Fault | None:
                # Our claim is committed; before we read it, another run claims and the log is compacted.
                if request.name == "run" and request.operation == "read" and request.nth == 1:
                    return Fault(delay=20.0)
                return None

            net.faults = meanwhile
            opening = asyncio.create_task(run.one_session())
            await asyncio.sleep(2)
            async with other.session() as session:
                await session.write(payload(0, 2))
                await other.commit(session, advanced(session.resume_from, 2))
                await asyncio.sleep(1)
                net.cluster.log(CHECKPOINTS).compact()
            with pytest.raises(TakenOver):
                await opening

        played(test)()

    def test_the_checkpoint_is_found_however_far_back_it_stands(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            for number in range(5000):
                foreign(net, key=b"checkpoint/other-%d" % number)
            run = Run(network=net, name="next")
            async with run.session() as session:
                assert session.resume_from.position.rows == 6
            assert sent(net, "next").count("read") < 12

        played(test)()

    def test_a_job_is_never_mistaken_for_another(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            run = Run(network=net, name="next", job="jo")
            async with run.session() as session:
                assert session.resume_from.position.rows == 0

        played(test)()


class TestOwnership:
    def test_of_two_runs_one_finishes_and_one_is_told(self) -> None:
        async def test(net: Network) -> None:
            runs = [Run(network=net, name=name, store=MemoryStore(store_id=name), rows=200) for name in "ab"]
            results = await asyncio.gather(*(run.run() for run in runs), return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["Checkpoint", "TakenOver"]
            await asyncio.sleep(1)
            assert visible(net) == expected(200)

        played(test)()

    @pytest.mark.parametrize("late", [number / 1000 for number in range(316, 336, 2)])
    def test_of_two_that_have_seen_each_others_claims_the_later_one_goes_on(self, late: float) -> None:
        """Its own last claim was committed, and the answer lost: the other leaves for it. Shut out then by a late
        InitProducerId of its own, it does not leave for the other's earlier claim."""

        async def test(net: Network) -> None:
            run, other = Run(network=net), Run(network=net, name="other")
            async with run.session():
                pass  # it has claimed, and hears nothing of what follows
            opened = other.session()
            theirs = await opened.__aenter__()
            away = on("init_producer", 1, Fault(cut=True, delay=late), client=2)
            unseen = on("end_transaction", 1, Fault(cut=True), client=3)
            net.faults = lambda request: away(request) or unseen(request)

            async def going_on() -> Checkpoint:
                try:
                    await asyncio.sleep(1)
                    await theirs.write(payload(0, 2))
                    await other.commit(theirs, advanced(theirs.resume_from, 2))
                except Csv2KafkaError as error:
                    await opened.__aexit__(type(error), error, error.__traceback__)
                return await other.run()

            results = await asyncio.gather(run.run(), going_on(), return_exceptions=True)
            assert sorted(type(result).__name__ for result in results) == ["Checkpoint", "TakenOver"]
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()

    def test_a_run_whose_own_transaction_timed_out_goes_on(self) -> None:
        async def test(net: Network) -> None:
            run = Run(network=net)
            with pytest.raises(Fenced):
                async with run.session() as session:
                    await session.write(payload(0, 2))
                    await asyncio.sleep(70)
                    await session.commit(advanced(session.resume_from, 2))
            await run.run()
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()

    def test_under_one_store_the_lease_decides_not_a_claim(self) -> None:
        """A claim of a run that lost the lease (a late one, it slept) does not drive out the run that holds it."""

        async def test(net: Network) -> None:
            store = MemoryStore()
            sleeper = Run(network=net, name="sleeper", store=store)
            holder = Run(network=net, name="holder", store=store)
            stale, sleeper.lease = sleeper.lease, None  # as if it had been renewed just before
            with pytest.raises(Fenced):
                async with holder.session() as session:
                    await session.write(payload(0, 2))
                    sleeper.sink._run = None
                    assert stale is not None
                    async with sleeper.sink.open(sleeper.description(), None, _Blind(stale)):
                        pass
                    await holder.commit(session, advanced(session.resume_from, 2))
            assert (await holder.run()).complete
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()

    def test_an_expired_id_is_not_a_new_beginning(self) -> None:
        """INVALID_PRODUCER_ID_MAPPING: this run slept for a week, another has done the work."""

        async def test(net: Network) -> None:
            run = Run(network=net)
            with pytest.raises(Fenced):
                async with run.session() as session:
                    await session.write(payload(0, 2))
                    await run.commit(session, advanced(session.resume_from, 2))
                    net.cluster.expire("csv2kafka.job")
                    await Run(network=net, name="other").run()
                    await session.write(payload(2, 4))
                    await run.commit(session, advanced(session.resume_from, 4))
            with pytest.raises(TakenOver):
                await run.run()
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()

    def test_a_claim_of_its_own_that_it_never_saw_is_no_reason_to_leave(self) -> None:
        """Its commit's answer was lost; a late InitProducerId of its own fences the next session."""

        async def test(net: Network) -> None:
            away = on("produce", 5, Fault(cut=True))
            unseen = on("end_transaction", 1, Fault(answer_lost=True), client=2)
            fenced = on("add_partitions", 1, Fault(code=90), client=3)
            net.faults = lambda request: away(request) or unseen(request) or fenced(request)
            run = Run(network=net)
            assert (await run.run()).complete
            assert run.sessions == 4

        played(test)()

    def test_a_fenced_run_without_a_claim_heeds_only_later_ones(self) -> None:
        """An old run's claim before its InitProducerId is no reason to leave."""

        async def test(net: Network) -> None:
            await begun(net)
            run = Run(network=net)
            net.faults = on("add_partitions", 1, Fault(code=90))
            assert (await run.run()).complete

        played(test)()

    def test_a_fenced_run_without_a_claim_leaves_for_a_later_one(self) -> None:
        async def test(net: Network) -> None:
            run = Run(network=net)
            net.faults = on("add_partitions", 1, Fault(delay=5.0))
            opening = asyncio.create_task(run.run())
            await asyncio.sleep(2)
            other = Run(network=net, name="other")
            async with other.session() as session:
                with pytest.raises(TakenOver):
                    await opening
                await session.write(payload(0, 2))
                await other.commit(session, advanced(session.resume_from, 2))

        played(test)()

    def test_a_fenced_run_leaves_for_a_claim_also_where_something_hides_what_stands_behind_it(self) -> None:
        """With the claim in sight it shut its owner out, for as long as somebody's transaction was open behind it."""

        async def test(net: Network) -> None:
            run, other = Run(network=net), Run(network=net, name="other")
            with pytest.raises(Fenced):
                async with run.session() as session:
                    await session.write(payload(0, 2))
                    async with other.session():
                        await asyncio.sleep(1)
                        foreign(net, transaction="another")
                        await session.write(payload(2, 4))
                        await session.commit(advanced(session.resume_from, 4))
            net.sent.clear()
            with pytest.raises(TakenOver, match="run other"):
                await run.one_session()
            assert "init_producer" not in sent(net, "run")

        played(test)()

    def test_silence_is_no_reason_to_ask(self) -> None:
        """No answer leads straight to a new InitProducerId, even if somebody has claimed: they are told then."""

        async def test(net: Network) -> None:
            run, other = Run(network=net), Run(network=net, name="other")
            with pytest.raises(TakenOver):
                async with other.session() as theirs:
                    pass
                async with run.session() as session:
                    net.faults = on("produce", 5, Fault(answer_lost=True))
                    await session.write(payload(0, 2))
                    raise TakenOver("only to leave")
            assert theirs.resume_from.position.rows == 0
            assert (await run.run()).complete

        played(test)()

    def test_a_sleeper_changes_nothing_and_is_told(self) -> None:
        """SIGSTOP past the lease, another run takes over and finishes, SIGCONT."""

        async def test(net: Network) -> None:
            store = MemoryStore()
            sleeper = Run(network=net, name="sleeper", store=store)
            with pytest.raises(Fenced):
                async with sleeper.session() as session:
                    await session.write(payload(0, 2))
                    await asyncio.sleep(30)
                    assert (await Run(network=net, name="other", store=store).run()).complete
                    await sleeper.commit(session, advanced(session.resume_from, 2))
            with pytest.raises(StaleLease):
                await sleeper.run()
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()


class _Blind:
    """A lease that does not notice it is lost."""

    def __init__(self, lease: object) -> None:
        self.epoch = 1
        self.store_id = "store"

    async def renew(self) -> None:
        pass


def test_claims_say_who_made_them() -> None:
    async def test(net: Network) -> None:
        from csv2kafka.kafka.checkpoint_topic import all_records

        await Run(network=net, store=MemoryStore()).run()
        await asyncio.sleep(1)
        async with net.factory()() as broker:
            records = await all_records(broker, CHECKPOINTS)
        claim = json.loads(records[b"claim/job"].value or b"")
        assert (claim["run_id"], claim["store_id"], claim["producer_id"]) == ("run", "store", 1001)
        assert set(records) == {b"claim/job", b"checkpoint/job", b"manifest/job"}

    played(test)()
