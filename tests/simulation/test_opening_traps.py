"""Each trap of opening a session that docs/guarantees.md names: what must stop a run, before and behind its claim.

Whose job it is: test_ownership_traps.py; beginning anew: test_restart_traps.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from csv2kafka.errors import (
    ConfigError,
    Csv2KafkaError,
    NotAuthorized,
    SettingsChanged,
    StaleLease,
    StateContradiction,
    TakenOver,
    TopicMissing,
)
from csv2kafka.kafka.port import Fenced, Operation
from csv2kafka.kernel import pack_records, stamp
from csv2kafka.model import Manifest
from tests.simulation.broker import Fault, Network, Request
from tests.simulation.job import CHECKPOINTS, DATA, MemoryStore, Run, advanced, expected, payload, visible
from tests.simulation.play import begun, played, sent


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
