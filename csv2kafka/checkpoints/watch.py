"""How a lease is taken: the rule that all stores share.

A lease found held is watched. Its heartbeat stands still for one time to live: taken over, by a write that fails if
it moved after all. It moves, and some seconds later again: somebody lives, LeaseHeld. (Once may be what a run sent
before it died.) Only the change that the newcomer sees counts, measured by his own monotonic clock; no two clocks are
ever compared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from attrs import frozen

from csv2kafka.errors import LeaseHeld

LOOKS = 30  # at a held lease, in one time to live
APART = 5  # to a time to live: two moves nearer together can be heartbeat and checkpoint of a run that died

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Holder:
    """Who has a lease. ``beat`` changes with each renewal; ``since`` and ``heartbeat`` are for people only."""

    owner: str
    epoch: int
    beat: int
    since: datetime
    heartbeat: datetime

    def __str__(self) -> str:
        return f"{self.owner} (epoch {self.epoch}), since {self.since.isoformat(timespec='seconds')}"


async def acquire(job: str, take: Callable[[Holder | None], Awaitable[int | Holder]], *, lease_seconds: float) -> int:
    """The epoch under which the lease was taken; LeaseHeld if a live run has it.

    ``take(silent)``, atomically: takes the lease if it is free, or is still ``silent``'s with the same epoch and
    beat, and gives the new epoch; else it gives the holder.
    """
    loop = asyncio.get_running_loop()
    seen = watched = await take(None)
    moved_at: float | None = None
    until = loop.time() + lease_seconds  # counted from after the look, so never too short
    if isinstance(seen, Holder):
        _log.warning(
            "the lease of job %s is held by %s; watching it for %g s, whether that run still lives",
            job,
            seen,
            lease_seconds,
        )
    while isinstance(watched, Holder) and isinstance(seen, Holder):
        now = loop.time()
        if (seen.epoch, seen.beat) != (watched.epoch, watched.beat):
            moved_at = now if moved_at is None else moved_at
            if now - moved_at >= lease_seconds / APART:
                raise held(job, seen)
            watched, until = seen, now + lease_seconds
        left = until - now
        if left > 0:
            await asyncio.sleep(min(left, lease_seconds / LOOKS))
        seen = await take(None if left > 0 else watched)
    assert isinstance(seen, int)
    return seen


def held(job: str, holder: Holder) -> LeaseHeld:
    return LeaseHeld(
        f"job {job!r}: another run has it: {holder}, last heartbeat {holder.heartbeat.isoformat(timespec='seconds')}",
        hint="wait for it to end, or stop it; or give this run another --job name",
    )
