"""A DynamoDB table as checkpoint store: ``dynamodb://TABLE?ttl=30d``. ``csv2kafka init`` makes the table.

One item for each job; its shape is told in ``dynamodb_item``. Each write is one conditional UpdateItem of what changes;
whatever is read to be decided upon is read consistently. How answers that were lost are told from a lost lease:
``remote``.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime
from typing import Any, Self
from urllib.parse import parse_qsl

from attrs import define, field

from csv2kafka.aws.client import not_aws
from csv2kafka.checkpoints.dynamodb_item import (
    EXPIRES,
    GROWTH_BYTES,
    KEY,
    LEASE,
    STORE_KEY,
    Item,
    Value,
    as_written,
    check_size,
    holder_of,
    job_of,
    key_of,
    packed,
    size_of,
    table_problem,
    unpacked,
)
from csv2kafka.checkpoints.dynamodb_requests import Table
from csv2kafka.checkpoints.remote import WRITES, HeldLease, RemoteStore, is_silent, stale
from csv2kafka.checkpoints.watch import Holder
from csv2kafka.config import kinds
from csv2kafka.config.option import did_you_mean
from csv2kafka.errors import ConfigError, Doubt
from csv2kafka.model import Checkpoint, JobStatus, Manifest, checkpoint_from_json, manifest_from_json, to_json
from csv2kafka.protocols import LEASE_SECONDS

EXPIRY_MARGIN = 86_400  # seconds: no item expires this soon after its lease was taken
TTL = kinds.duration(3600.0, 10 * 365 * 86400.0)
OPTIONS = ("ttl", "region", "endpoint_url")


@define(kw_only=True, eq=False)
class _Held(HeldLease):
    """``beat``: the highest sent. ``kept``: checkpoint and manifest in the item, as far as known."""

    beat: int = 0
    kept: dict[str, Value] = field(factory=dict)


class DynamoDBStore(RemoteStore[_Held]):
    """A store in ``table``, its name or ARN (whose region then counts).

    ``ttl_seconds``: how long a completed job is kept; None: for good. ``lease_seconds``: how long a silent lease is
    watched before it is taken over. ``now``: the time of day, for people to read and for ``expires_at``.
    ``region``, ``endpoint_url``: where botocore's own configuration does not say it. ConfigError for a wrong name.
    """

    def __init__(
        self,
        table: str,
        *,
        ttl_seconds: float | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(lease_seconds=lease_seconds, now=now)
        if problem := table_problem(table):
            raise ConfigError(problem)
        self.table = table
        self.ttl_seconds = ttl_seconds
        self._requests = Table(table, region=region, endpoint_url=endpoint_url)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A store of ``dynamodb://TABLE``, options behind a ``?``: ``ttl=30d``, ``region``, ``endpoint_url``."""
        table, _, query = url.removeprefix("dynamodb://").partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        problems = [table_problem(table)]
        ttl: float | None = None
        for name, value in given:
            if name not in OPTIONS:
                problems.append(f"no option {name!r}{did_you_mean(name, list(OPTIONS))}; there is {', '.join(OPTIONS)}")
            elif not value or [each for each, _ in given].count(name) > 1:
                problems.append(f"{name}: expected one value, found {[text for each, text in given if each == name]}")
            elif name == "ttl":
                try:
                    ttl = TTL.parse(value)
                except ValueError as error:
                    problems.append(f"ttl: {error}")
        if told := list(dict.fromkeys(problem for problem in problems if problem)):
            raise ConfigError(*(f"--checkpoints {url}: {problem}" for problem in told))
        named = dict(given)
        return cls(table, ttl_seconds=ttl, region=named.get("region"), endpoint_url=named.get("endpoint_url"))

    async def made(self) -> bool:
        """Whether the store has its id already: whoever asks for more makes it. ConfigError if there is no table."""
        return bool(await self._requests.get(STORE_KEY, ("id",)))

    async def load(self, job: str) -> Checkpoint | None:
        value = (await self._item(job, ("checkpoint",))).get("checkpoint")
        with as_written(self._where(job)):
            blob = unpacked(value)
        return None if blob is None else checkpoint_from_json(blob, job=job, where=self._where(job))

    async def load_manifest(self, job: str) -> Manifest | None:
        value = (await self._item(job, ("manifest",))).get("manifest")
        with as_written(self._where(job)):
            blob = await asyncio.to_thread(unpacked, value)  # may be MiB
        return None if blob is None else manifest_from_json(blob, where=self._where(job))

    async def jobs(self) -> AsyncIterator[JobStatus]:
        """All jobs, by name. Reads the whole table."""
        await self._ready()
        names = (KEY, "checkpoint", "epoch", "owner", "heartbeat")
        scanned = self._requests.scan(names, condition="attribute_exists(#checkpoint)")
        statuses = [self._status(item) async for item in scanned]
        for status in sorted(statuses, key=lambda status: status.checkpoint.job):
            yield status

    async def create(self) -> list[str]:
        """Makes the table if it is not there, switches its TTL on, and makes the store's id; what was found or made,
        for people. Safe to be repeated, and by two at once."""
        from csv2kafka.checkpoints.dynamodb_table import make_table

        told = await make_table(self._requests.call, self.table)
        await self._ready()
        return [*told, f"store id {self._id}"]

    async def close(self) -> None:
        """Give back connections; the next use opens others."""
        await self._requests.close()

    # --- what RemoteStore asks for ---

    @property
    def _place(self) -> str:
        return str(self._requests)

    async def _ready(self) -> None:
        if self._id:
            return
        item = await self._requests.get(STORE_KEY, ("id",))
        if not item:
            await self._requests.update(
                STORE_KEY,
                doing="making the store's id",
                set={"id": {"S": uuid.uuid4().hex}},
                condition="attribute_not_exists(#id)",
            )
            # Read back: it may be another's, or of a try of our own whose answer was lost; and what keeps nothing is
            # no DynamoDB, but answers every lease with yes.
            item = await self._requests.get(STORE_KEY, ("id",))
        if "id" not in item:
            raise not_aws(self._place, "it does not keep what is written")
        with as_written(self._place):
            self._id = item["id"]["S"]

    def _new_lease(self, job: str, owner: str, token: str) -> _Held:
        return _Held(store=self, job=job, owner=owner, token=token)

    async def _take(self, lease: _Held, silent: Holder | None) -> int | Holder:
        with as_written(self._where(lease.job)):
            return await self._taken_or_held(lease, silent)

    async def _taken_or_held(self, lease: _Held, silent: Holder | None) -> int | Holder:
        item = await self._requests.get(key_of(lease.job), LEASE)
        for _ in range(WRITES):
            if _is_of(item, lease):
                return self._taken(lease, item)
            holder = holder_of(item)
            if holder is not None and not is_silent(holder, silent):
                return holder
            lease.tried = True
            done, item = await self._requests.update(
                key_of(lease.job), doing="taking the lease", **self._taking(lease, item)
            )
            if done:
                return self._taken(lease, item)
            lease.tried = _is_of(item, lease)
        raise Doubt(f"{self._where(lease.job)}: the lease changed with each look at it")

    def _taking(self, lease: _Held, seen: Item) -> dict[str, Any]:
        """The write that takes it from where it was ``seen``, and from there only: a late one takes nothing."""
        if "epoch" not in seen:
            epoch, condition, given = 0, "attribute_not_exists(#epoch)", {}
        else:
            epoch, given = int(seen["epoch"]["N"]), {"seen": seen["epoch"]}
            condition = "#epoch = :seen AND attribute_not_exists(#owner)"
            if "owner" in seen:
                condition = "#epoch = :seen AND #beat = :still AND #token = :theirs"
                given |= {"still": seen["beat"], "theirs": seen["token"]}
        now = self._now()
        changed: dict[str, Value] = {
            "epoch": {"N": str(epoch + 1)},
            "beat": {"N": "0"},
            "owner": {"S": lease.owner},
            "token": {"S": lease.token},
            "since": {"S": now.isoformat()},
            "heartbeat": {"S": now.isoformat()},
        }
        if EXPIRES in seen:  # or the item could go from under the lease
            later = max(int(seen[EXPIRES]["N"]), int(now.timestamp()) + EXPIRY_MARGIN)
            changed[EXPIRES] = {"N": str(later)}
        return {"set": changed, "condition": condition, "given": given}

    def _taken(self, lease: _Held, item: Item) -> int:
        lease.tried = False
        lease.beat = max(lease.beat, int(item["beat"]["N"]))
        lease.kept = {name: item[name] for name in ("checkpoint", "manifest") if name in item}
        return int(item["epoch"]["N"])

    async def _renew(self, lease: _Held) -> None:
        await self._write(lease, doing="renewing the lease")

    async def _save(self, lease: _Held, checkpoint: Checkpoint, manifest: Manifest | None) -> None:
        changed = {"checkpoint": packed(to_json(checkpoint))}
        if manifest is not None:
            changed["manifest"] = await asyncio.to_thread(lambda: packed(to_json(manifest)))  # may be MiB
        # Where a run begins: refused now rather than later. Where it goes on, what has grown is part of the room.
        room = max(0, GROWTH_BYTES - size_of(changed["checkpoint"])) if manifest is not None else 0
        check_size(self._place, lease.job, lease.owner, {**lease.kept, **changed}, room=room)
        remove = [EXPIRES]
        kept = dict(changed)
        if checkpoint.complete and self.ttl_seconds is not None:
            remove = []
            changed[EXPIRES] = {"N": str(int(self._now().timestamp() + self.ttl_seconds))}
        await self._write(lease, doing="saving the checkpoint", set=changed, remove=remove)
        lease.kept |= kept

    async def _forget(self, lease: _Held) -> None:
        await self._write(lease, doing="deleting the job", remove=("checkpoint", "manifest", EXPIRES))

    async def _release(self, lease: _Held) -> None:
        await self._requests.update(
            key_of(lease.job),
            doing="giving the lease back",
            remove=("owner", "token"),
            condition="#token = :token",
            given={"token": {"S": lease.token}},
        )

    # --- requests ---

    async def _write(
        self, lease: _Held, *, doing: str, set: Mapping[str, Value] | None = None, remove: Collection[str] = ()
    ) -> None:
        """A holder's write. It has a number higher than all before it, so that none that was given up, and is still
        on its way, can undo a later one; and so that its own is known by its number."""
        for _ in range(WRITES):
            lease.beat += 1
            number = lease.beat
            done, item = await self._requests.update(
                key_of(lease.job),
                doing=doing,
                set={**(set or {}), "beat": {"N": str(number)}, "heartbeat": {"S": self._now().isoformat()}},
                remove=remove,
                condition="#epoch = :epoch AND #token = :token AND #beat < :beat",
                given={"epoch": {"N": str(lease.epoch)}, "token": {"S": lease.token}},
            )
            if done:
                return
            if not _is_of(item, lease):
                holder = holder_of(item)
                raise stale(lease.job, lease.epoch, f"now it is {holder}" if holder else "now nobody has it")
            if int(item["beat"]["N"]) == number:
                return  # by a try whose answer was lost
            lease.beat = max(lease.beat, int(item["beat"]["N"]))  # one beside it was faster
        raise Doubt(f"{self._where(lease.job)}: {doing}: other writes of this run were faster each time")

    async def _item(self, job: str, names: Collection[str]) -> Item:
        await self._ready()
        return await self._requests.get(key_of(job), names)

    def _status(self, item: Item) -> JobStatus:
        job = job_of(str(item[KEY].get("S")))
        where = self._where(job)
        with as_written(where):
            owner = item["owner"]["S"] if "owner" in item else None
            return JobStatus(
                checkpoint=checkpoint_from_json(unpacked(item["checkpoint"]) or b"", job=job, where=where),
                owner=owner,
                lease_epoch=int(item["epoch"]["N"]),
                heartbeat=datetime.fromisoformat(item["heartbeat"]["S"]) if owner is not None else None,
            )

    def _where(self, job: str) -> str:
        return f"{self._place}, job {job!r}"


def _is_of(item: Item, lease: _Held) -> bool:
    return "owner" in item and item["token"]["S"] == lease.token
