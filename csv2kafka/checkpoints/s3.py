"""A corner of an S3 bucket as checkpoint store: ``s3://BUCKET/PREFIX``. For where there is no DynamoDB.

    PREFIX/store.json                         the store's id
    PREFIX/jobs/NAME.json                     one for each job: lease and checkpoint, in one object
    PREFIX/manifests/NAME/DIGEST-TOKEN.json   what the job's object names as its manifest

Lease and checkpoint are one object because a save must fail if the lease is lost: each write of it is conditional on
the version read or written before (``If-Match`` with its ETag, ``If-None-Match: *`` for the first). Each has a token
of its own, so no two bodies, and no two ETags, are ever equal; read back, the token tells whose write it is. A
manifest's name is new each time it is written: nobody deletes another's. A deleted job's object stays, with nothing
but its epoch.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

from attrs import asdict, define, evolve, field, frozen

from csv2kafka.checkpoints.remote import WRITES, HeldLease, RemoteStore, is_silent, stale
from csv2kafka.checkpoints.s3_objects import Bucket
from csv2kafka.checkpoints.watch import Holder
from csv2kafka.errors import ConfigError, Doubt, StateContradiction
from csv2kafka.model import Checkpoint, JobStatus, Manifest, checkpoint_from_json, manifest_from_json, to_json
from csv2kafka.protocols import LEASE_SECONDS

FORMAT = 1
LISTED_AT_ONCE = 16  # jobs read at a time
NAME_LETTERS = 400  # of a job's name in a key, whose limit is 1024 bytes; of a longer one the rest is a digest
CONFLICT_SECONDS = 0.1  # before trying again, what met another request to the same key at the same moment
PLACE = re.compile(r"s3://(arn:[^/]+:accesspoint[:/][^/]+|[a-zA-Z0-9.\-_]{1,255})/([^?#]*[^?#/])/?")


@frozen(kw_only=True)
class _Document:
    """The object of a job. ``write``: the token of this write of it. ``manifest``: the key of its manifest."""

    job: str
    epoch: int = 0
    beat: int = 0
    owner: str | None = None
    token: str | None = None
    since: str = ""
    heartbeat: str = ""
    write: str = ""
    checkpoint: dict[str, Any] | None = None
    manifest: str | None = None
    format: int = FORMAT


@define(kw_only=True, eq=False)
class _Held(HeldLease):
    """``document`` and ``etag``: as last read or written. ``writing``: one write at a time, each leans on the last."""

    document: _Document
    etag: str | None = None
    writing: asyncio.Lock = field(factory=asyncio.Lock)


class S3Store(RemoteStore[_Held]):
    """A store in ``bucket`` (its name, or an access point's ARN) under ``prefix``.

    ``lease_seconds``: how long a silent lease is watched before it is taken over. ``now``: the time of day, for people
    to read. ``region``, ``endpoint_url``: where botocore's own configuration does not say it.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        lease_seconds: float = LEASE_SECONDS,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        super().__init__(lease_seconds=lease_seconds, now=now)
        self._bucket = Bucket(bucket, region=region, endpoint_url=endpoint_url)
        self._prefix = prefix.strip("/")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A store of ``s3://BUCKET/PREFIX``; ConfigError for anything else."""
        match = PLACE.fullmatch(url)
        if match is None:
            raise ConfigError(
                f"--checkpoints {url}: expected s3://BUCKET/PREFIX, without options",
                hint="the prefix is the store's own, such as s3://BUCKET/csv2kafka",
            )
        return cls(match[1], match[2])

    async def made(self) -> bool:
        """Whether the store has its id already: whoever asks for more makes it. ConfigError if there is no bucket."""
        body, _ = await self._bucket.get(self._id_key)
        return body is not None

    async def load(self, job: str) -> Checkpoint | None:
        await self._ready()
        document, _ = await self._read(job)
        return None if document is None else self._checkpoint(document)

    async def load_manifest(self, job: str) -> Manifest | None:
        await self._ready()
        key = ""
        for _ in range(WRITES):
            document, _ = await self._read(job)
            if document is None or document.manifest is None:
                return None
            key = document.manifest
            body, _ = await self._bucket.get(key)
            if body is not None:
                return manifest_from_json(body, where=self._bucket.url(key))
            # Else its run wrote another one between the two reads, and deleted this.
        raise StateContradiction(
            f"{self._where(job)}: its manifest {self._bucket.url(key)} is gone",
            hint="restore it, or begin at row 0 with --restart; and see what deletes objects there",
        )

    async def jobs(self) -> AsyncIterator[JobStatus]:
        """All jobs, by name. Reads each job's object."""
        await self._ready()
        keys = [key async for key in self._bucket.keys(f"{self._prefix}/jobs/")]
        found: list[JobStatus] = []
        for start in range(0, len(keys), LISTED_AT_ONCE):
            async with asyncio.TaskGroup() as group:
                reads = [group.create_task(self._bucket.get(key)) for key in keys[start : start + LISTED_AT_ONCE]]
            for key, read in zip(keys[start:], reads, strict=False):
                body, _ = read.result()
                status = None if body is None else self._status(self._document(body, key))
                found += [] if status is None else [status]
        for status in sorted(found, key=lambda status: status.checkpoint.job):
            yield status

    async def create(self) -> list[str]:
        """Makes the store's id if there is none, and sees that conditions are kept there; what was found or made, for
        people. Safe to be repeated, and by two at once."""
        there, _ = await self._bucket.get(self._id_key)
        await self._ready()
        await self._try_conditions()
        how = "made" if there is None else "is there"
        return [f"{self._place}: {how}, and can be written to", f"store id {self._id}"]

    async def close(self) -> None:
        """Give back connections; the next use opens others."""
        await self._bucket.close()

    # --- what RemoteStore asks for ---

    @property
    def _place(self) -> str:
        return self._bucket.url(self._prefix)

    async def _ready(self) -> None:
        if self._id:
            return
        body, _ = await self._bucket.get(self._id_key)
        if body is None:
            made = json.dumps({"id": uuid.uuid4().hex}).encode()
            if await self._bucket.put_over(self._id_key, made, None) is not None:
                body = made
                await self._try_conditions()
            else:  # made by somebody else, or by a try of our own whose answer was lost
                body, _ = await self._bucket.get(self._id_key)
        try:
            self._id = str(json.loads(body or b"")["id"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _unreadable(self._bucket.url(self._id_key)) from error

    async def _try_conditions(self) -> None:
        """ConfigError where a condition that does not hold is not minded, as by some servers that speak S3."""
        if await self._bucket.put_over(self._id_key, b"overwritten", None) is not None:
            raise ConfigError(
                f"{self._place}: this server does not keep to If-None-Match, so nothing there can be a lease",
                hint="use another store, such as dynamodb://TABLE",
            )

    def _new_lease(self, job: str, owner: str, token: str) -> _Held:
        return _Held(store=self, job=job, owner=owner, token=token, document=_Document(job=job))

    async def _take(self, lease: _Held, silent: Holder | None) -> int | Holder:
        for attempt in range(WRITES):
            seen, lease.etag = await self._read(lease.job)
            lease.document = seen or _Document(job=lease.job)
            lease.tried = lease.document.token == lease.token
            if lease.tried:  # taken by a try whose answer was lost
                break
            holder = _holder(lease.document)
            if holder is not None and not is_silent(holder, silent):
                return holder
            lease.tried = True
            now = self._now().isoformat()
            mine = evolve(
                lease.document,
                epoch=lease.document.epoch + 1,
                beat=0,
                owner=lease.owner,
                token=lease.token,
                since=now,
                heartbeat=now,
                write=uuid.uuid4().hex,
            )
            if await self._replace(lease, mine):
                break
            await asyncio.sleep(CONFLICT_SECONDS * attempt)
        else:
            raise Doubt(f"{self._where(lease.job)}: the lease changed with each look at it")
        lease.tried = False
        return lease.document.epoch

    async def _renew(self, lease: _Held) -> None:
        await self._write(lease)

    async def _save(self, lease: _Held, checkpoint: Checkpoint, manifest: Manifest | None) -> None:
        changed: dict[str, Any] = {"checkpoint": json.loads(to_json(checkpoint))}
        before = lease.document.manifest
        if manifest is not None:
            changed["manifest"] = await self._put_manifest(lease.job, manifest, before)
        await self._write(lease, **changed)
        if manifest is not None and before is not None and before != changed["manifest"]:
            await self._bucket.drop(before)

    async def _put_manifest(self, job: str, manifest: Manifest, before: str | None) -> str:
        """The key under which it stands; the one it stood under ``before``, if it is the same."""
        stem = f"{self._prefix}/manifests/{name_of(job)}/{manifest.digest}-"
        if before is not None and before.startswith(stem):
            return before
        key = f"{stem}{uuid.uuid4().hex}.json"
        body = await asyncio.to_thread(to_json, manifest)  # may be MiB
        await self._bucket.put_new(key, body)
        return key

    async def _forget(self, lease: _Held) -> None:
        manifest = lease.document.manifest
        await self._write(lease, checkpoint=None, manifest=None)
        if manifest is not None:
            await self._bucket.drop(manifest)

    async def _release(self, lease: _Held) -> None:
        if lease.tried:  # not known whether it was taken: the last taking's token tells
            seen, lease.etag = await self._read(lease.job)
            if seen is None or seen.token != lease.token:
                return
            lease.document, lease.epoch = seen, seen.epoch
        await self._write(lease, owner=None, token=None)

    # --- objects ---

    async def _write(self, lease: _Held, **changed: Any) -> None:
        """A holder's write, leaning on its last one. StaleLease if another one has written since."""
        async with lease.writing:
            for attempt in range(WRITES):
                mine = evolve(
                    lease.document,
                    beat=lease.document.beat + 1,
                    heartbeat=self._now().isoformat(),
                    write=uuid.uuid4().hex,
                    **changed,
                )
                if await self._replace(lease, mine):
                    return
                await asyncio.sleep(CONFLICT_SECONDS * attempt)
                seen, etag = await self._read(lease.job)
                if seen is not None and seen.write == mine.write:  # by a try whose answer was lost
                    lease.document, lease.etag = seen, etag
                    return
                if seen is None or seen.token != lease.token:
                    holder = None if seen is None else _holder(seen)
                    raise stale(lease.job, lease.epoch, f"now it is {holder}" if holder else "now nobody has it")
                # An earlier write of ours, which was given up and came late.
                lease.document, lease.etag = seen, etag
            raise Doubt(f"{self._where(lease.job)}: each try to write it met another request")

    async def _replace(self, lease: _Held, document: _Document) -> bool:
        """Put the document where the lease's last known one stands; False if something else stands there."""
        body = json.dumps(asdict(document), ensure_ascii=False).encode(errors="surrogatepass")
        etag = await self._bucket.put_over(self._key(lease.job), body, lease.etag)
        if etag is None:
            return False
        lease.document, lease.etag = document, etag
        return True

    async def _read(self, job: str) -> tuple[_Document | None, str | None]:
        key = self._key(job)
        body, etag = await self._bucket.get(key)
        return (None if body is None else self._document(body, key)), etag

    def _document(self, body: bytes, key: str) -> _Document:
        """What stands under the key. StateContradiction if it is none, or another job's."""
        url = self._bucket.url(key)
        document = _parsed(body, url)
        if self._key(document.job) != key:
            raise StateContradiction(
                f"{url}: is of job {document.job!r}, whose key is {self._key(document.job)}",
                hint="see what has copied it there; another --job name begins at row 0, behind what stands there",
            )
        return document

    def _status(self, document: _Document) -> JobStatus | None:
        checkpoint = self._checkpoint(document)
        holder = _holder(document)
        if checkpoint is None:
            return None
        return JobStatus(
            checkpoint=checkpoint,
            owner=holder.owner if holder else None,
            lease_epoch=document.epoch,
            heartbeat=holder.heartbeat if holder else None,
        )

    def _checkpoint(self, document: _Document) -> Checkpoint | None:
        if document.checkpoint is None:
            return None
        return checkpoint_from_json(json.dumps(document.checkpoint), job=document.job, where=self._where(document.job))

    @property
    def _id_key(self) -> str:
        return f"{self._prefix}/store.json"

    def _key(self, job: str) -> str:
        return f"{self._prefix}/jobs/{name_of(job)}.json"

    def _where(self, job: str) -> str:
        return f"{self._place}, job {job!r}"


def name_of(job: str) -> str:
    """The job's name in letters that are safe in a key, ``!`` and two digits for each other byte. One for each job."""
    name = quote(job, safe="", errors="surrogatepass").replace("~", "%7E").replace("%", "!")
    if len(name) <= NAME_LETTERS:
        return name
    return f"{name[:NAME_LETTERS]}~{hashlib.sha256(name.encode()).hexdigest()}"


def _parsed(body: bytes, where: str) -> _Document:
    try:
        raw = json.loads(body)
        if raw["format"] == FORMAT:
            document = _Document(**raw)
            _check_kinds(document)
            return document
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _unreadable(where) from error
    raise StateContradiction(
        f"{where}: format {raw['format']!r}, this csv2kafka knows {FORMAT}", hint="use the csv2kafka that wrote it"
    )


def _check_kinds(document: _Document) -> None:
    """TypeError or ValueError where a field is not what this store writes in it."""
    for name in ("epoch", "beat"):
        number = getattr(document, name)
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise ValueError(f"{name} {number!r}")
    texts: tuple[str, ...] = (document.job, document.since, document.heartbeat, document.write)
    texts += tuple(text for text in (document.owner, document.token, document.manifest) if text is not None)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    "".join(texts).encode()
    if document.checkpoint is not None and not isinstance(document.checkpoint, dict):
        raise TypeError("a checkpoint is no object")
    _holder(document)


def _unreadable(where: str) -> StateContradiction:
    return StateContradiction(
        f"{where}: not an object of a checkpoint store", hint="see what wrote it, or give another prefix"
    )


def _holder(document: _Document) -> Holder | None:
    if document.owner is None:
        return None
    return Holder(
        owner=document.owner,
        epoch=document.epoch,
        beat=document.beat,
        since=datetime.fromisoformat(document.since),
        heartbeat=datetime.fromisoformat(document.heartbeat),
    )
