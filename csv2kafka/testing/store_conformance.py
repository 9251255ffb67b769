"""What every CheckpointStore must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from attrs import evolve

from csv2kafka.errors import Csv2KafkaError, LeaseHeld, StaleLease
from csv2kafka.model import (
    Checkpoint,
    ContentHash,
    Counts,
    JobStatus,
    Manifest,
    Position,
    ResumePoint,
    SinkState,
)
from csv2kafka.protocols import CheckpointStore, Lease

CHECKPOINT = Checkpoint(
    job="orders",
    run_id="run-1",
    position=Position(
        object_index=1,
        uri="/data/größe 2.csv",
        version="size=1,mtime=2",
        offset=2**40,
        resume=ResumePoint(offset=2**39, state="utf-16", skip=3),
        rows=10**10,
        line=10**10 + 7,
    ),
    header=("id", "", "id", 'a "b"\n', "ü"),
    counts=Counts(rows=10**10 - 1, bad_rows=1, bytes=2**41),
    content_hash=ContentHash(value=2**128 - 1),
    sink=SinkState(offsets={"data": 2**62, "dead-letter": 0}, first_offset=5, producer_ids=(1, 2**40)),
    generation=3,
    settings={"delimiter": "\t", "key": ""},
    manifest_digest="abc",
    transactions=12,
    at=datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
)
MANIFEST = Manifest(objects=(("/data/größe 1.csv", 1, "v1"), ("-", None, "v2")))
JOBS = ("orders", "with space and /slash", "größe-ü-漢字", "*", "a" * 200, "%", "..")


class LeaselessStoreConformance:
    """For a store whose ``lease`` gives None, because the sink keeps what counts (``kafka://``). Fill in ``make`` and
    ``put``."""

    def make(self) -> CheckpointStore:
        """A store. Within one test each call opens the same one, as another process would."""
        raise NotImplementedError

    async def put(self, store: CheckpointStore, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        """Have the checkpoint in the store, as a run would bring it there."""
        raise NotImplementedError

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run one test's coroutine."""
        asyncio.run(main)

    def test_satisfies_the_protocol(self) -> None:
        assert isinstance(self.make(), CheckpointStore)

    def test_a_new_job_has_nothing(self) -> None:
        async def main() -> None:
            async with self._opened() as store:
                assert await store.load("orders") is None
                assert await store.load_manifest("orders") is None
                assert await _jobs(store) == []
                await store.delete("orders")

        self.run(main())

    def test_the_id_is_the_stores(self) -> None:
        async def main() -> None:
            async with self._opened() as one, self._opened() as other:
                assert await one.load("orders") is await other.load("orders") is None
                assert one.id == other.id
                assert one.id

        self.run(main())

    def test_what_is_saved_comes_back_whole_in_another_process(self) -> None:
        async def main() -> None:
            async with self._opened() as store:
                await self.put(store, CHECKPOINT, MANIFEST)
                later = evolve(CHECKPOINT, transactions=13, complete=True)
                await self.put(store, later)
            async with self._opened() as store:
                assert await store.load("orders") == later
                assert await store.load_manifest("orders") == MANIFEST, "it stays when only the checkpoint is saved"

        self.run(main())

    def test_a_manifest_of_many_objects(self) -> None:
        many = Manifest(objects=tuple((f"s3://bucket/part-{n}.csv", n, f"{n:032x}") for n in range(20_000)))

        async def main() -> None:
            async with self._opened() as store:
                await self.put(store, CHECKPOINT, many)
                assert await store.load_manifest("orders") == many

        self.run(main())

    def test_jobs_do_not_mix(self) -> None:
        async def main() -> None:
            async with self._opened() as store:
                for job in JOBS:
                    await self.put(store, evolve(CHECKPOINT, job=job), Manifest(objects=((job, 1, "v"),)))
                for job in JOBS:
                    assert await store.load(job) == evolve(CHECKPOINT, job=job)
                    assert await store.load_manifest(job) == Manifest(objects=((job, 1, "v"),))
                assert [status.checkpoint.job for status in await _jobs(store)] == sorted(JOBS)

        self.run(main())

    def test_delete_forgets_the_job(self) -> None:
        async def main() -> None:
            async with self._opened() as store:
                await self.put(store, CHECKPOINT, MANIFEST)
                await self.put(store, evolve(CHECKPOINT, job="other"), MANIFEST)
                await store.delete("orders")
                assert await store.load("orders") is None
                assert await store.load_manifest("orders") is None
                assert [status.checkpoint.job for status in await _jobs(store)] == ["other"]

        self.run(main())

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[CheckpointStore]:
        store = self.make()
        try:
            yield store
        finally:
            await store.close()


class CheckpointStoreConformance(LeaselessStoreConformance):
    """Fill in ``make``, with stores of ``lease_seconds`` time to live: long enough for a few of the store's calls.
    Where ``run`` is ``run_virtual`` it costs nothing."""

    lease_seconds = 0.5

    async def put(self, store: CheckpointStore, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        async with _lease(store, checkpoint.job, "run-a") as lease:
            assert lease.store_id == store.id
            await store.save(lease, checkpoint, manifest)

    def test_status_shows_who_has_the_lease(self) -> None:
        async def main() -> None:
            async with self._opened() as store:
                async with _lease(store, "orders", "run-a") as lease:
                    await store.save(lease, CHECKPOINT)
                    (status,) = await _jobs(store)
                    assert (status.owner, status.lease_epoch) == ("run-a", lease.epoch)
                    assert status.heartbeat is not None
                (status,) = await _jobs(store)
                assert (status.owner, status.checkpoint) == (None, CHECKPOINT)

        self.run(main())

    def test_a_live_lease_is_refused_and_its_holder_named(self) -> None:
        async def main() -> None:
            async with self._opened() as one, self._opened() as other, _lease(one, "orders", "run-a") as lease:
                error = await self._while_renewed(lease, self._refused(other, "orders", "run-b"))
                assert "run-a" in error.message
                await lease.renew()
                await one.save(lease, CHECKPOINT)
                async with _lease(other, "invoices", "run-b"):
                    pass  # another job's is free

        self.run(main())

    def test_a_lease_given_back_is_free_at_once(self) -> None:
        async def main() -> None:
            async with self._opened() as store:
                epochs = []
                for _ in range(3):
                    async with _lease(store, "orders", "run-a") as lease:
                        epochs.append(lease.epoch)
                assert epochs == sorted(set(epochs)), "each taking has a later epoch"

        self.run(main())

    def test_a_silent_lease_is_taken_over_and_then_worth_nothing(self) -> None:
        async def main() -> None:
            async with self._opened() as one, self._opened() as other, _lease(one, "orders", "run-a") as old:
                await one.save(old, CHECKPOINT)
                async with _lease(other, "orders", "run-b") as new:
                    assert new.epoch > old.epoch
                    await self._stale(old, one)
                    assert await other.load("orders") == CHECKPOINT
                    moved = evolve(CHECKPOINT, run_id="run-2")
                    await other.save(new, moved)
                await self._stale(old, one)
                assert await one.load("orders") == moved

        self.run(main())

    def test_leaving_a_lost_lease_does_not_free_its_successors(self) -> None:
        async def main() -> None:
            async with self._opened() as one, self._opened() as other:
                leaving = one.lease("orders", "run-a")
                await leaving.__aenter__()
                async with _lease(other, "orders", "run-b") as lease:
                    await leaving.__aexit__(None, None, None)
                    await lease.renew()
                    await self._while_renewed(lease, self._refused(one, "orders", "run-c"))
                    await other.save(lease, CHECKPOINT)

        self.run(main())

    def test_of_two_newcomers_one_gets_a_silent_lease(self) -> None:
        async def main() -> None:
            async with self._opened() as one, self._opened() as other, _lease(one, "orders", "dead"):
                taken: list[Lease] = []

                async def newcomer(owner: str) -> bool:
                    try:
                        async with _lease(other, "orders", owner) as lease:
                            taken.append(lease)
                            for _ in range(10):
                                await lease.renew()
                                await asyncio.sleep(self.lease_seconds / 5)
                    except LeaseHeld:
                        return False
                    return True

                assert sorted(await asyncio.gather(newcomer("b"), newcomer("c"))) == [False, True]
                assert len(taken) == 1

        self.run(main())

    def test_a_newcomer_who_gives_up_takes_nothing(self) -> None:
        async def main() -> None:
            async with self._opened() as one, self._opened() as other:
                async with _lease(one, "orders", "run-a") as lease:
                    waiting = asyncio.ensure_future(self._refused(other, "orders", "run-b"))
                    await asyncio.sleep(self.lease_seconds / 4)
                    waiting.cancel()
                    await asyncio.wait({waiting})
                    await asyncio.sleep(self.lease_seconds * 2)
                    await lease.renew()
                    await one.save(lease, CHECKPOINT)
                async with _lease(other, "orders", "run-c"):
                    pass

        self.run(main())

    def test_a_deleted_jobs_epochs_go_on(self) -> None:
        async def main() -> None:
            async with self._opened() as store:
                async with _lease(store, "orders", "run-a") as old:
                    await store.save(old, CHECKPOINT, MANIFEST)
                await store.delete("orders")
                async with _lease(store, "orders", "run-b") as new:
                    assert new.epoch > old.epoch, "or a run that was asleep would be taken for the new one"
                    await self._stale(old, store)

        self.run(main())

    def test_delete_is_refused_while_a_run_has_the_job(self) -> None:
        async def main() -> None:
            async with self._opened() as one, self._opened() as other, _lease(one, "orders", "run-a") as lease:
                await one.save(lease, CHECKPOINT)

                async def delete() -> Csv2KafkaError:
                    try:
                        await other.delete("orders")
                    except LeaseHeld as error:
                        return error
                    raise AssertionError("the job of a live run was deleted")

                error = await self._while_renewed(lease, delete())
                assert "run-a" in error.message
                assert await one.load("orders") == CHECKPOINT

        self.run(main())

    def test_several_jobs_use_one_store_at_once(self) -> None:
        async def main() -> None:
            async with self._opened() as store:

                async def job(name: str) -> None:
                    async with _lease(store, name, "run-a") as lease:
                        for transactions in range(5):
                            await asyncio.gather(
                                store.save(lease, evolve(CHECKPOINT, job=name, transactions=transactions)),
                                lease.renew(),
                            )

                await asyncio.gather(*(job(name) for name in JOBS))
                assert [status.checkpoint.transactions for status in await _jobs(store)] == [4] * len(JOBS)

        self.run(main())

    async def _refused(self, store: CheckpointStore, job: str, owner: str) -> Csv2KafkaError:
        try:
            async with store.lease(job, owner):
                raise AssertionError("the lease of a live run was taken")
        except LeaseHeld as error:
            return error

    async def _while_renewed(self, lease: Lease, call: Coroutine[Any, Any, Csv2KafkaError]) -> Csv2KafkaError:
        """What ``call`` gives, while its holder keeps the lease alive."""
        task = asyncio.ensure_future(call)
        while not task.done():
            await lease.renew()
            await asyncio.wait({task}, timeout=self.lease_seconds / 10)
        return task.result()

    async def _stale(self, lease: Lease, store: CheckpointStore) -> None:
        for call in (lease.renew(), store.save(lease, evolve(CHECKPOINT, run_id="stale"), MANIFEST)):
            try:
                await call
            except StaleLease:
                continue
            raise AssertionError("a lost lease was taken for a good one")


@asynccontextmanager
async def _lease(store: CheckpointStore, job: str, owner: str) -> AsyncIterator[Lease]:
    async with store.lease(job, owner) as lease:
        assert lease is not None
        yield lease


async def _jobs(store: CheckpointStore) -> list[JobStatus]:
    return [status async for status in store.jobs()]
