"""A checkpoint store in this process's memory, with the semantics of the real ones."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from attrs import evolve, frozen

from csv2kafka.checkpoints.watch import Holder, acquire
from csv2kafka.errors import Csv2KafkaError, StaleLease, StateContradiction
from csv2kafka.model import Checkpoint, JobStatus, Manifest
from csv2kafka.protocols import LEASE_SECONDS, Lease
from csv2kafka.testing.faults import Faults


class MemoryStore:
    """Leases and checkpoints in memory; lost with it. ``faults``: at ``take``, ``renew``, ``release``, ``load``,
    ``save``."""

    def __init__(
        self, *, lease_seconds: float = LEASE_SECONDS, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.faults = Faults()
        self._id = uuid.uuid4().hex
        self._lease_seconds = lease_seconds
        self._now = now
        self._epochs: dict[str, int] = {}
        self._holders: dict[str, Holder] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._manifests: dict[str, Manifest] = {}

    @property
    def id(self) -> str:
        return self._id

    @asynccontextmanager
    async def lease(self, job: str, owner: str) -> AsyncIterator[Lease | None]:
        taken: list[_Lease] = []

        async def take(silent: Holder | None) -> int | Holder:
            async with self.faults.around("take"):
                holder = self._holders.get(job)
                if holder is not None and holder != silent:
                    return holder
                epoch = self._epochs[job] = self._epochs.get(job, 0) + 1
                now = self._now()
                self._holders[job] = Holder(owner=owner, epoch=epoch, beat=0, since=now, heartbeat=now)
                taken.append(_Lease(store=self, job=job, epoch=epoch))
            return epoch

        try:
            await acquire(job, take, lease_seconds=self._lease_seconds)
            yield taken[0]
        finally:
            if taken:
                with suppress(Csv2KafkaError):
                    await self._release(taken[0])

    async def load(self, job: str) -> Checkpoint | None:
        async with self.faults.around("load"):
            return self._checkpoints.get(job)

    async def load_manifest(self, job: str) -> Manifest | None:
        return self._manifests.get(job)

    async def save(self, lease: Lease, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        async with self.faults.around("save"):
            if lease.store_id != self._id:
                raise StateContradiction(f"the lease is of store {lease.store_id}, this one is {self._id}")
            self._held(checkpoint.job, lease.epoch)
            self._checkpoints[checkpoint.job] = checkpoint
            if manifest is not None:
                self._manifests[checkpoint.job] = manifest

    async def jobs(self) -> AsyncIterator[JobStatus]:
        for job, checkpoint in sorted(self._checkpoints.items()):
            holder = self._holders.get(job)
            yield JobStatus(
                checkpoint=checkpoint,
                owner=holder.owner if holder else None,
                lease_epoch=self._epochs.get(job, 0),
                heartbeat=holder.heartbeat if holder else None,
            )

    async def delete(self, job: str) -> None:
        async with self.lease(job, "delete"):
            self._checkpoints.pop(job, None)
            self._manifests.pop(job, None)

    async def close(self) -> None:
        """There is nothing to give back."""

    def _held(self, job: str, epoch: int) -> Holder:
        holder = self._holders.get(job)
        if holder is None or holder.epoch != epoch:
            raise StaleLease(f"job {job!r}: the lease of epoch {epoch} is lost; now it is {holder or 'nobody'}")
        return holder

    async def _renew(self, job: str, epoch: int) -> None:
        async with self.faults.around("renew"):
            holder = self._held(job, epoch)
            self._holders[job] = evolve(holder, beat=holder.beat + 1, heartbeat=self._now())

    async def _release(self, lease: _Lease) -> None:
        async with self.faults.around("release"):
            with suppress(StaleLease):
                self._held(lease.job, lease.epoch)
                del self._holders[lease.job]


@frozen(kw_only=True)
class _Lease:
    store: MemoryStore
    job: str
    epoch: int

    @property
    def store_id(self) -> str:
        return self.store.id

    async def renew(self) -> None:
        await self.store._renew(self.job, self.epoch)
