"""A job's lease, for as long as this run has it, and the store's copy of its progress.

Where the sink keeps the checkpoint with the rows, the store's copy is for people. A store that does not answer then
holds up nothing, until another run could have taken the lease: LEASE_SECONDS after it was last renewed. From there on
each commit asks the store first, so the session ends, and the next one waits for the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from attrs import Factory, define

from csv2kafka.errors import Doubt
from csv2kafka.model import Checkpoint, Event, LeaseRenewed, Manifest, StoreAway
from csv2kafka.protocols import HEARTBEAT_SECONDS, LEASE_SECONDS, CheckpointStore, Lease

CLOSE_SECONDS = 1.0  # for the store to hear of the last commit


def _now() -> float:
    return asyncio.get_running_loop().time()


@define(kw_only=True, eq=False)
class Holding:
    """Made when the lease was taken. ``emit`` hears of each renewal, and once when the store is away."""

    lease: Lease
    store: CheckpointStore
    emit: Callable[[Event], None]
    _renewed_at: float = Factory(_now)
    _renewing: asyncio.Lock = Factory(asyncio.Lock)
    _latest: Checkpoint | None = None
    _saving: asyncio.Task[None] | None = None
    _away: bool = False

    async def keep(self) -> None:
        """Renew the lease until it is lost (StaleLease). A store that is away is asked again."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            with suppress(Doubt):
                await self._renew()

    async def ensure(self) -> None:
        """StaleLease if the lease is lost, Doubt if it may be. The store is asked only after it was silent for long."""
        if _now() - self._renewed_at >= LEASE_SECONDS:
            await self._renew()

    async def settle(self, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        """The store has it on return. Raises what the store does."""
        if self._saving is not None:
            await self._saving
        await self.store.save(self.lease, checkpoint, manifest)

    def tell(self, checkpoint: Checkpoint) -> None:
        """The store gets it soon; of several that wait, only the last. Raises what it said to an earlier one, Doubt
        excepted."""
        self._latest = checkpoint
        if self._saving is not None and not self._saving.done():
            return
        if self._saving is not None:
            self._saving.result()
        self._saving = asyncio.create_task(self._save_latest())

    async def close(self) -> None:
        """Wait for the store to hear of the last commit, but not for long."""
        if self._saving is None:
            return
        await asyncio.wait({self._saving}, timeout=CLOSE_SECONDS)
        self._saving.cancel()
        await asyncio.gather(self._saving, return_exceptions=True)

    async def _renew(self) -> None:
        async with self._renewing:  # a lease has one beat after another
            asked = _now()
            await self.lease.renew()
            self._renewed_at = asked
        self.emit(LeaseRenewed(epoch=self.lease.epoch))

    async def _save_latest(self) -> None:
        while (checkpoint := self._latest) is not None:
            self._latest = None
            try:
                await self.store.save(self.lease, checkpoint)
                self._away = False
            except Doubt as error:
                if not self._away:
                    self.emit(StoreAway(reason=error.message))
                self._away = True
