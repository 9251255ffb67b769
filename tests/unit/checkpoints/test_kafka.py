"""``kafka://`` over the simulated cluster: what the sink committed, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from csv2kafka.checkpoints.kafka import KafkaStore
from csv2kafka.errors import ConfigError, StateContradiction
from csv2kafka.kernel import pack_records, stamp
from csv2kafka.model import Manifest, to_json
from csv2kafka.protocols import CheckpointStore
from tests.simulation.broker import Fault, Network
from tests.simulation.clock import now
from tests.simulation.job import CHECKPOINTS, MemoryStore, Run, advanced, payload
from tests.simulation.play import played


def store_on(net: Network) -> KafkaStore:
    return KafkaStore(broker_factory=net.factory("store"), clock=now)


def test_before_any_job() -> None:
    async def test(net: Network) -> None:
        store = store_on(net)
        assert isinstance(store, CheckpointStore)
        assert await store.load("job") is None
        assert await store.load_manifest("job") is None
        assert [status async for status in store.jobs()] == []
        await store.delete("job")
        assert "csv2kafka-checkpoints" not in net.cluster.topics, "looking makes no topic"
        assert store.id == "kafka:simulated/csv2kafka-checkpoints"
        await store.close()

    played(test)()


def test_what_runs_committed() -> None:
    async def test(net: Network) -> None:
        store = store_on(net)
        done = {}
        for job in ("b", "a", "c/d"):
            done[job] = await Run(network=net, job=job, name=f"run of {job}").run()
        await asyncio.sleep(1)
        for job, checkpoint in done.items():
            assert await store.load(job) == checkpoint
            assert await store.load_manifest(job) == Manifest()
        statuses = [status async for status in store.jobs()]
        assert [status.checkpoint.job for status in statuses] == ["a", "b", "c/d"]
        assert all(status.owner is None for status in statuses)

    played(test)()


def test_an_open_transaction_is_not_waited_for() -> None:
    async def test(net: Network) -> None:
        run = Run(network=net)
        async with run.session() as session:
            await session.write(payload(0, 2))
            at = await run.commit(session, advanced(session.resume_from, 2))
            await asyncio.sleep(1)
            net.faults = lambda request: Fault(lost=True) if request.operation == "end_transaction" else None
            await session.write(payload(2, 4))
            commit = asyncio.create_task(session.commit(advanced(at, 4)))
            await asyncio.sleep(1)
            assert await store_on(net).load("job") == at
            commit.cancel()
            await asyncio.wait({commit})

    played(test)()


def test_a_deleted_job_begins_anew() -> None:
    async def test(net: Network) -> None:
        store = store_on(net)
        await Run(network=net, job="kept").run()
        await Run(network=net).run()
        await asyncio.sleep(1)
        await store.delete("job")
        assert await store.load("job") is None
        assert [status.checkpoint.job async for status in store.jobs()] == ["kept"]
        run = Run(network=net, name="again")
        async with run.session() as session:
            assert session.resume_from.position.rows == 0

    played(test)()


def test_another_jobs_checkpoint_is_refused() -> None:
    async def test(net: Network) -> None:
        done = await Run(network=net).run()
        batch = pack_records([(b"checkpoint/renamed", to_json(done), [])])
        stamp(batch, producer_id=-1, epoch=-1, sequence=-1, timestamp_ms=0, transactional=False)
        net.cluster.produce(CHECKPOINTS, bytes(batch), None)
        store = store_on(net)
        for call in (store.load("renamed"), anext(store.jobs())):
            with pytest.raises(
                StateContradiction, match="checkpoint/renamed: expected the checkpoint of job 'renamed'"
            ):
                await call

    played(test)()


def test_there_is_no_lease_and_nothing_to_save_with_it() -> None:
    async def test(net: Network) -> None:
        store = store_on(net)
        async with store.lease("job", "me") as lease:
            assert lease is None
        done = await Run(network=net).run()
        with pytest.raises(ConfigError, match="committed with their rows"):
            await store.save(MemoryStore().take(), done)

    played(test)()
