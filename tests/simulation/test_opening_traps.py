"""Each trap of opening a session that docs/guarantees.md names, and whose job it is."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from attrs import define, evolve

from csv2kafka.errors import (
    ConfigError,
    Csv2KafkaError,
    Doubt,
    NotAuthorized,
    SettingsChanged,
    StaleLease,
    StateContradiction,
    TakenOver,
    TopicMissing,
    Unreachable,
)
from csv2kafka.kafka.log import HANGING_SECONDS, until_visible
from csv2kafka.kafka.port import Fenced, LogEnds, Operation, Producer, TopicPartition
from csv2kafka.kernel import pack_records, stamp
from csv2kafka.model import Checkpoint, Manifest
from tests.simulation.broker import Fault, Leaders, Network, Request
from tests.simulation.cluster import Cluster, Log, Topic
from tests.simulation.job import CHECKPOINTS, DATA, MemoryStore, Run, advanced, expected, payload, visible
from tests.simulation.play import on, played


def sent(net: Network, name: str) -> list[str]:
    return [request.operation for request in net.sent if request.name == name]


async def begun(net: Network, rows: int = 6, *, store: MemoryStore | None = None) -> Checkpoint:
    """A run that committed ``rows`` rows of 20 and ended; gives its last checkpoint."""
    run = Run(network=net, name="begun", rows=20, store=store)
    async with run.session() as session:
        await session.write(payload(0, rows))
        done = await run.commit(session, advanced(session.resume_from, rows))
    await asyncio.sleep(1)
    return done


def foreign(net: Network, key: bytes = b"x", value: bytes = b"foreign", *, transaction: str | None = None) -> None:
    """Somebody else's record in the checkpoint topic, at once; open if ``transaction`` names one."""
    batch = pack_records([(key, value, [])])
    cluster = net.cluster
    producer = Producer(producer_id=-1, epoch=-1)
    if transaction is not None:
        producer = cluster.init_producer(transaction, 900_000)
        cluster.add_partitions(transaction, producer, [CHECKPOINTS])
    stamp(
        batch,
        producer_id=producer.producer_id,
        epoch=producer.epoch,
        sequence=0,
        timestamp_ms=0,
        transactional=transaction is not None,
    )
    cluster.produce(CHECKPOINTS, bytes(batch), transaction)


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


class TestBefore:
    """Steps 2 and 3: what must stop a run stops it before it has shut anybody out."""

    def refused(self, net: Network, run: Run, kind: type[Csv2KafkaError]) -> Callable[[], object]:
        async def attempt() -> Csv2KafkaError:
            with pytest.raises(kind) as raised:
                await run.run()
            assert not {"init_producer", "produce"} & set(sent(net, run.name))
            return raised.value

        return attempt

    def test_settings_that_differ(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            run = Run(network=net, name="next", settings={"delimiter": ";"})
            await self.refused(net, run, SettingsChanged)()  # type: ignore[misc]

        played(test)()

    def test_settings_that_differ_from_the_stores_when_kafka_has_none(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await begun(net, store=store)
            del net.cluster.topics[CHECKPOINTS.topic]
            run = Run(network=net, name="next", store=store, settings={"delimiter": ";"})
            await self.refused(net, run, SettingsChanged)()  # type: ignore[misc]

        played(test)()

    def test_a_topic_made_anew(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            del net.cluster.topics[DATA.topic]
            net.cluster.make_topic(DATA.topic)
            await self.refused(net, Run(network=net, name="next"), StateContradiction)()  # type: ignore[misc]

        played(test)()

    def test_a_log_that_was_truncated(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            net.cluster.log(DATA).truncate(3)
            await self.refused(net, Run(network=net, name="next"), StateContradiction)()  # type: ignore[misc]

        played(test)()

    def test_no_such_topic_or_partition(self) -> None:
        async def test(net: Network) -> None:
            missing = Run(network=net, name="next", topic="nowhere")
            error = await self.refused(net, missing, TopicMissing)()  # type: ignore[misc]
            assert "--create-topic" in error.hint
            assert "nowhere" not in net.cluster.topics
            other = Run(network=net, name="third", options={"partition": 7})
            await self.refused(net, other, TopicMissing)()  # type: ignore[misc]

        played(test)()

    def test_create_topic(self) -> None:
        async def test(net: Network) -> None:
            run = Run(network=net, topic="made", options={"create_topic": True, "partition": 2})
            await run.run()
            assert list(net.cluster.topics["made"].partitions) == [0, 1, 2]

        played(test)()

    @pytest.mark.parametrize("policy", ["delete", "compact,delete", "delete,compact"])
    def test_a_checkpoint_topic_that_forgets(self, policy: str) -> None:
        async def test(net: Network) -> None:
            net.cluster.make_topic(CHECKPOINTS.topic, config={"cleanup.policy": policy})
            error = await self.refused(net, Run(network=net, name="next"), ConfigError)()  # type: ignore[misc]
            assert policy in error.message

        played(test)()

    def test_a_checkpoint_topic_that_can_lose(self) -> None:
        async def test(net: Network) -> None:
            config = {"cleanup.policy": "compact", "unclean.leader.election.enable": "true"}
            net.cluster.make_topic(CHECKPOINTS.topic, config=config)
            await self.refused(net, Run(network=net, name="next"), ConfigError)()  # type: ignore[misc]

        played(test)()

    def test_a_checkpoint_topic_that_may_not_be_described_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            config = dict(net.cluster.topics[CHECKPOINTS.topic].config)
            await Run(network=net, name="described").run()
            assert caplog.messages == []
            net.cluster.topics[CHECKPOINTS.topic].config.clear()
            await Run(network=net, name="next").run()
            net.cluster.topics[CHECKPOINTS.topic].config.update(config)

        played(test)()
        (told,) = caplog.messages
        assert told.startswith("checkpoint topic csv2kafka-checkpoints: its settings may not be described")

    def test_the_checkpoint_topic_is_made_safe(self) -> None:
        async def test(net: Network) -> None:
            net.cluster.topics[DATA.topic].config["min.insync.replicas"] = "2"
            await Run(network=net).run()
            config = net.cluster.topics[CHECKPOINTS.topic].config
            assert config["cleanup.policy"] == "compact"
            assert config["unclean.leader.election.enable"] == "false"
            assert config["min.insync.replicas"] == "2"
            assert config["segment.bytes"] == str(16 << 20)

        played(test)()

    @pytest.mark.parametrize("topic", ["rows", "csv2kafka-checkpoints", "refused", "events"])
    def test_a_permission_that_is_missing(self, topic: str) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            net.cluster.topics[topic].operations = frozenset({Operation.READ})
            options: dict[str, object] = {"dead_letter_topic": "refused", "completion_topic": "events"}
            run = Run(network=net, name="next", options=options)
            error = await self.refused(net, run, NotAuthorized)()  # type: ignore[misc]
            assert topic in error.message
            assert "Write" in error.hint

        played(test)()

    def test_a_manifest_that_no_record_can_hold(self) -> None:
        async def test(net: Network) -> None:
            net.cluster.make_topic(CHECKPOINTS.topic, config={"cleanup.policy": "compact", "max.message.bytes": "5000"})
            many = tuple((f"s3://bucket/{number:032x}", number, f"{number**9:064x}") for number in range(1000))
            run = Run(network=net, name="next", manifest=Manifest(objects=many))
            error = await self.refused(net, run, ConfigError)()  # type: ignore[misc]
            assert "1,000 source objects" in error.message

        played(test)()

    def test_a_lease_that_is_lost(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            run = Run(network=net, name="next", store=store)
            store.take()
            await self.refused(net, run, StaleLease)()  # type: ignore[misc]
            assert sent(net, "next") == []

        played(test)()

    def test_a_lease_lost_while_an_older_commit_ends(self) -> None:
        """It is renewed just before every InitProducerId, repeated ones too."""

        async def test(net: Network) -> None:
            await begun(net)
            store = MemoryStore()
            run = Run(network=net, name="next", store=store)
            net.faults = lambda request: Fault(code=51) if request.operation == "init_producer" else None
            asyncio.get_running_loop().call_later(5, store.take)
            with pytest.raises(StaleLease):
                await run.run()
            assert asyncio.get_running_loop().time() < 10

        played(test)()


class TestAfter:
    """Step 7: held against the world."""

    def test_the_store_is_ahead(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            done = await begun(net, store=store)
            store.checkpoint = advanced(done, 8)
            with pytest.raises(StateContradiction, match="row 8"):
                await Run(network=net, name="next", store=store).run()

        played(test)()

    def test_only_the_store_has_a_checkpoint(self) -> None:
        async def test(net: Network) -> None:
            store = MemoryStore()
            await begun(net, store=store)
            del net.cluster.topics[CHECKPOINTS.topic]
            with pytest.raises(StateContradiction, match="none"):
                await Run(network=net, name="next", store=store).run()

        played(test)()

    def test_the_store_is_behind(self) -> None:
        """It is written only after the commit's answer."""

        async def test(net: Network) -> None:
            store = MemoryStore()
            done = await begun(net, store=store)
            store.checkpoint = advanced(done, 2)
            await Run(network=net, name="next", store=store).run()
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()

    def test_a_log_that_ends_early_only_for_a_moment(self) -> None:
        """A leader that has just come up: asked again after a refresh and a request's time."""

        async def test(net: Network) -> None:
            await begun(net)
            log = net.cluster.log(DATA)
            end, log.end = log.end, 3
            asyncio.get_running_loop().call_later(10, setattr, log, "end", end)
            await Run(network=net, name="next").run()
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()

    def test_a_log_that_begins_later(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            log = net.cluster.log(DATA)
            log.start, log.batches = log.end, []
            await Run(network=net, name="next").run()
            await asyncio.sleep(1)
            assert visible(net) == expected(20)[6:]

        played(test)()

    def test_rows_of_ours_that_no_checkpoint_knows(self) -> None:
        async def test(net: Network) -> None:
            done = await begun(net)
            batch = pack_records([(None, b"row 6", [])])
            stamp(
                batch, producer_id=done.sink.producer_ids[-1], epoch=5, sequence=0, timestamp_ms=0, transactional=False
            )
            net.cluster.log(DATA).append(bytes(batch))
            with pytest.raises(StateContradiction, match="does not know"):
                await Run(network=net, name="next").run()
            claims = [request for request in net.sent if request.name == "next" and request.commit]
            assert len(claims) == 2, "the stop counts only after a second claim"

        played(test)()

    def test_rows_of_ours_under_a_later_producer_id(self) -> None:
        """The transactional id was forgotten, or its epochs used up, and the job went on under another producer."""

        async def test(net: Network) -> None:
            first = await begun(net)
            net.cluster.expire("csv2kafka.job")
            run = Run(network=net, name="later")
            async with run.session() as session:
                await session.write(payload(6, 8))
                done = await run.commit(session, advanced(session.resume_from, 8))
            await asyncio.sleep(1)
            assert len(done.sink.producer_ids) == 2
            assert done.sink.producer_ids[0] == first.sink.producer_ids[0]
            batch = pack_records([(None, b"row 8", [])])
            stamp(
                batch, producer_id=done.sink.producer_ids[-1], epoch=5, sequence=0, timestamp_ms=0, transactional=False
            )
            net.cluster.log(DATA).append(bytes(batch))
            with pytest.raises(StateContradiction, match="does not know"):
                await Run(network=net, name="next").run()

        played(test)()

    def test_a_stop_is_a_take_over_if_somebody_has_claimed_since(self) -> None:
        """The other run's rows look like rows that no checkpoint knows: same producer id."""

        async def test(net: Network) -> None:
            await begun(net)
            run, other = Run(network=net), Run(network=net, name="other")

            def slow(request: Request) -> Fault | None:
                if request.name == "run" and request.operation == "log_ends" and request.target == DATA:
                    return Fault(delay=10.0) if request.nth == 7 else None
                return None

            net.faults = slow
            opening = asyncio.create_task(run.run())
            await asyncio.sleep(5)
            async with other.session() as session:
                await session.write(payload(6, 8))
                at = await other.commit(session, advanced(session.resume_from, 8))
                with pytest.raises(TakenOver):
                    await opening
                await session.write(payload(8, 10))
                await other.commit(session, advanced(at, 10))
            assert any(isinstance(error, Fenced) for error in run.failures)

        played(test)()

    def test_aborted_rows_behind_the_checkpoint_are_nothing(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            run = Run(network=net, name="dies")
            async with run.session() as session:
                await session.write(payload(6, 8))
            await Run(network=net, name="next").run()
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

        played(test)()


class TestRestart:
    def test_begins_the_next_generation_at_the_end(self) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            end = net.cluster.log(DATA).end
            run = Run(network=net, name="again", restart=True, settings={"delimiter": ";"})
            done = await run.run()
            assert (done.generation, done.sink.first_offset) == (1, end)
            await asyncio.sleep(1)
            assert visible(net) == expected(6) + expected(20)

        played(test)()

    @pytest.mark.parametrize("nth", [1, 2])
    @pytest.mark.parametrize("fault", [Fault(answer_lost=True), Fault(lost=True), Fault(cut=True, delay=3.0)], ids=str)
    def test_once_even_if_its_outcome_was_not_known(self, fault: Fault, nth: int) -> None:
        async def test(net: Network) -> None:
            await begun(net)
            run = Run(network=net, restart=True)
            net.faults = on("end_transaction", nth, fault)
            done = await run.run()
            assert done.generation == 1
            await asyncio.sleep(100)
            assert visible(net) == expected(6) + expected(20)

        played(test)()

    def test_not_again_when_another_run_went_on_from_it(self) -> None:
        """The restart was committed, its answer lost; another run has written rows of the new generation since."""

        async def test(net: Network) -> None:
            await begun(net)
            run = Run(network=net, restart=True)
            net.faults = on("end_transaction", 2, Fault(answer_lost=True))
            opening = asyncio.create_task(run.run())
            await asyncio.sleep(10)
            other = Run(network=net, name="other")
            async with other.session() as session:
                assert session.resume_from.generation == 1
                await session.write(payload(0, 4))
                await other.commit(session, advanced(session.resume_from, 4))
            assert (await opening).generation == 1
            await asyncio.sleep(100)
            assert visible(net) == expected(6) + expected(20)

        played(test)()

    def test_begins_behind_the_rows_that_stand_there_also_if_a_leader_does_not_know_them(self) -> None:
        """One that was cut off named an old end. The next session found the rows behind it, took them for rows that
        no checkpoint knows, and stopped."""

        async def test(net: Network) -> None:
            await Run(network=net, name="before").run()
            end = net.cluster.log(DATA).end
            net.leaders = OldLeader(ends=LogEnds(start=0, end=4, stable=4))
            run = Run(network=net, restart=True)
            with pytest.raises(Doubt):
                async with run.session() as session:
                    assert session.resume_from.sink.first_offset == end
                    raise Doubt("the old leader takes no rows")
            assert (await run.run()).complete
            assert visible(net) == expected(20) + expected(20)

        played(test)()

    def test_needs_nothing_that_was_there(self) -> None:
        """What stops a run is what --restart is for: topic made anew, checkpoints lost."""

        async def test(net: Network) -> None:
            store = MemoryStore()
            done = await begun(net, store=store)
            store.checkpoint = evolve(done, generation=4)
            del net.cluster.topics[DATA.topic], net.cluster.topics[CHECKPOINTS.topic]
            net.cluster.make_topic(DATA.topic)
            again = await Run(network=net, name="again", restart=True, store=store).run()
            assert again.generation == 5
            await asyncio.sleep(1)
            assert visible(net) == expected(20)

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


@define(kw_only=True)
class OldLeader(Leaders):
    """A partition's leader that was cut off from the others: who asks anew finds the new one."""

    ends: LogEnds

    def connect(self, connection: object, *, refresh: bool = False) -> object:
        return "new" if refresh else "old"

    def reached(self, connection: object, node: object, operation: str, cluster: Cluster) -> Cluster:
        if connection == DATA and node == "old" and operation == "log_ends":
            old = Log(end=self.ends.end)
            return evolve(cluster, topics={DATA.topic: Topic(topic_id="", partitions={0: old}, config={})})
        return cluster


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
