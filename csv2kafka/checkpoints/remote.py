"""What stores behind a network share: a lease of which each request may lose its answer.

A request can take effect and its answer be lost. botocore then sends it again, and the second one meets what the
first has written: a condition that no longer holds. So each taking has a token of its own, written with the lease,
and each write of a holder a number or token of its own: what stands there says whose it is. Nobody else writes under
an epoch and its token, so a condition that failed while they still stand was failed by a write of ours.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from attrs import define

from csv2kafka.checkpoints.watch import Holder, acquire
from csv2kafka.errors import Csv2KafkaError, Doubt, StaleLease, StateContradiction
from csv2kafka.model import Checkpoint, JobStatus, Manifest
from csv2kafka.protocols import LEASE_SECONDS, Lease

RELEASE_SECONDS = 3.0  # to give a lease back; then it ends with silence
WRITES = 4  # of one thing, each met by an unknown one of our own, before it is a doubt

# Of one request. All are small, and a stalled one must not use up the time to live of a lease.
CONNECT_SECONDS = 2.0
READ_SECONDS = 3.0


@define(kw_only=True, eq=False)
class HeldLease:
    """A lease of this process, or one that it tries to take. ``tried``: a taking was sent, and not answered."""

    store: RemoteStore[Any]
    job: str
    owner: str
    token: str
    epoch: int = 0
    tried: bool = False

    @property
    def store_id(self) -> str:
        return self.store.id

    async def renew(self) -> None:
        await self.store._renew(self)


L = TypeVar("L", bound=HeldLease)


class RemoteStore(ABC, Generic[L]):
    """Leases, and what is saved under them; how it is written is the subclass's. Used by one loop at a time."""

    def __init__(self, *, lease_seconds: float = LEASE_SECONDS, now: Callable[[], datetime] | None = None) -> None:
        self._lease_seconds = lease_seconds
        self._now = now or (lambda: datetime.now(UTC))
        self._id = ""
        self._leases: dict[tuple[str, int], L] = {}
        # Takings that may have taken effect, by job and owner: their next try is the same taking.
        self._in_doubt: dict[tuple[str, str], str] = {}

    @property
    def id(self) -> str:
        """Made with the store; empty until a call has returned that needed it."""
        return self._id

    @asynccontextmanager
    async def lease(self, job: str, owner: str) -> AsyncIterator[Lease | None]:
        """See protocols.CheckpointStore."""
        await self._ready()
        lease = self._new_lease(job, owner, self._in_doubt.pop((job, owner), "") or uuid.uuid4().hex)
        try:
            lease.epoch = await acquire(
                job, lambda silent: self._take(lease, silent), lease_seconds=self._lease_seconds
            )
        except Doubt:
            if lease.tried:
                self._in_doubt[job, owner] = lease.token
            raise
        except asyncio.CancelledError:
            if lease.tried:
                await self._give_back(lease)
            raise
        self._leases[job, lease.epoch] = lease
        try:
            yield lease
        finally:
            del self._leases[job, lease.epoch]
            await self._give_back(lease)

    async def save(self, lease: Lease, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        """Durable on return. StaleLease if the lease is lost, StateContradiction if it is another store's."""
        await self._ready()
        if lease.store_id != self._id:
            raise StateContradiction(
                f"{self._place}: the lease is of store {lease.store_id}, this one is {self._id}",
                hint="save with the store that gave the lease",
            )
        held = self._leases.get((checkpoint.job, lease.epoch))
        if held is None:
            raise stale(checkpoint.job, lease.epoch, "it was given back")
        await self._save(held, checkpoint, manifest)

    async def delete(self, job: str) -> None:
        """Forget the job. A dead run's lease is waited for like anybody's. Epochs go on from where they were."""
        async with self.lease(job, "csv2kafka delete") as lease:
            assert lease is not None
            await self._forget(self._leases[job, lease.epoch])

    async def _give_back(self, lease: L) -> None:
        with suppress(Csv2KafkaError, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._release(lease)

    @property
    @abstractmethod
    def _place(self) -> str:
        """The store, for people."""

    @abstractmethod
    async def load(self, job: str) -> Checkpoint | None: ...

    @abstractmethod
    async def load_manifest(self, job: str) -> Manifest | None: ...

    @abstractmethod
    def jobs(self) -> AsyncIterator[JobStatus]: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def _ready(self) -> None:
        """Sees to it that the store is there and its id known."""

    @abstractmethod
    def _new_lease(self, job: str, owner: str, token: str) -> L: ...

    @abstractmethod
    async def _take(self, lease: L, silent: Holder | None) -> int | Holder:
        """See ``watch.acquire``. Sets ``lease.tried`` while a taking is not answered."""

    @abstractmethod
    async def _renew(self, lease: L) -> None: ...

    @abstractmethod
    async def _save(self, lease: L, checkpoint: Checkpoint, manifest: Manifest | None) -> None: ...

    @abstractmethod
    async def _forget(self, lease: L) -> None:
        """Remove checkpoint and manifest; the epoch stays."""

    @abstractmethod
    async def _release(self, lease: L) -> None:
        """Make it free, if the taking with this token is the last; its epoch need not be known."""


def stale(job: str, epoch: int, now: str) -> StaleLease:
    """``now``: what is known of who has it."""
    return StaleLease(
        f"job {job!r}: the lease of epoch {epoch} is lost: {now}",
        hint="the other run goes on; this one has changed nothing since",
    )


def is_silent(holder: Holder, silent: Holder | None) -> bool:
    """Whether the holder is still the one watched, and has not stirred."""
    return silent is not None and (holder.epoch, holder.beat) == (silent.epoch, silent.beat)
