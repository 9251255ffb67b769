"""``--restart`` begins once, behind what stands there, whatever it was that was there."""

# ruff: noqa: PT012  (what is expected to fail is a whole session, which is a block)

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import define, evolve

from csv2kafka.errors import Doubt
from csv2kafka.kafka.port import LogEnds
from tests.simulation.broker import Fault, Leaders, Network
from tests.simulation.cluster import Cluster, Topic
from tests.simulation.job import CHECKPOINTS, DATA, MemoryStore, Run, advanced, expected, payload, visible
from tests.simulation.partition import Log
from tests.simulation.play import begun, on, played


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

    @pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
    def test_begins_behind_the_rows_that_stand_there_also_if_a_leader_does_not_know_them(self, delivery: str) -> None:
        """One that was cut off named an old end. The next session found the rows behind it, took them for rows that
        no checkpoint knows, and stopped."""

        async def test(net: Network) -> None:
            options: dict[str, Any] = {"delivery": delivery, "store": MemoryStore()}
            await Run(network=net, name="before", **options).run()
            end = net.cluster.log(DATA).end
            net.leaders = OldLeader(ends=LogEnds(start=0, end=4, stable=4))
            run = Run(network=net, restart=True, **options)
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
