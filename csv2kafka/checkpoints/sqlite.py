"""A SQLite database as checkpoint store: leases, progress and completed jobs of one machine, in one file.

Every call opens the database, does one transaction and closes it: nothing is shared between threads, processes
or forks, and a database that was deleted or replaced under a run is seen. Rollback journal with
``synchronous=EXTRA``, not WAL: a commit is on the disk on return (FULL leaves a window in which a power loss
brings the journal back), it works where there is no shared memory, and the store is one plain file to copy.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

from attrs import frozen
from platformdirs import user_state_path

from csv2kafka.checkpoints.process import Process
from csv2kafka.checkpoints.watch import Holder, acquire
from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, StaleLease, StateContradiction, Unreachable
from csv2kafka.model import Checkpoint, JobStatus, Manifest, checkpoint_from_json, manifest_from_json, to_json
from csv2kafka.protocols import LEASE_SECONDS, Lease

APPLICATION_ID = 0x63326B66  # "c2kf", in the file's header: this is no other program's database
SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
MEMORY = "memory://"

SCHEMA = f"""
CREATE TABLE store (id TEXT NOT NULL);
CREATE TABLE leases (
    job TEXT PRIMARY KEY, epoch INTEGER NOT NULL, beat INTEGER NOT NULL, owner TEXT,
    space TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL,
    since TEXT NOT NULL, heartbeat TEXT NOT NULL
);
CREATE TABLE jobs (job TEXT PRIMARY KEY, checkpoint TEXT NOT NULL, manifest TEXT);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

T = TypeVar("T")


class SQLiteStore:
    """A store in the file at ``path``, made by the first call that needs it (its directory must be there).

    ``lease_seconds``: how long a silent lease is watched before it is taken over; at once if its process was on
    this machine and is gone. ``busy_seconds``: how long to wait while another process writes; then Doubt.
    ``now``: the time of day, for people to read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lease_seconds: float = LEASE_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = Path(path).absolute()
        self._lease_seconds = lease_seconds
        self._busy_seconds = busy_seconds
        self._now = now
        self._id = ""

    @classmethod
    def from_url(cls, url: str) -> Self:
        """A store at ``path_of(url)``. ``memory://``: its directory is made if it is not there, for the user's eyes
        only."""
        path = path_of(url)
        if url == MEMORY:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"--checkpoints {url}: cannot make {path.parent}: {error.strerror}") from error
        return cls(path)

    @property
    def id(self) -> str:
        """Made with the database; empty until a call has returned that needed it."""
        return self._id

    @asynccontextmanager
    async def lease(self, job: str, owner: str) -> AsyncIterator[Lease | None]:
        """See protocols.CheckpointStore. Its holder's process having ended on this machine, it is free at once."""
        taken: list[_Lease] = []

        def take(db: sqlite3.Connection, silent: Holder | None) -> int | Holder:
            answer = _take(db, job, owner, silent, self._now())
            if isinstance(answer, int):
                taken.append(_Lease(store=self, job=job, epoch=answer, owner=owner))
            return answer

        try:
            await acquire(job, lambda silent: self._write(take, silent), lease_seconds=self._lease_seconds)
            yield taken[0]
        finally:
            if taken:  # also when cancelled while the thread that took it was at work
                with suppress(Csv2KafkaError):  # not given back, it ends with the process or with silence
                    await self._write(_release, taken[0])

    async def load(self, job: str) -> Checkpoint | None:
        row = await self._read(_select, "SELECT checkpoint FROM jobs WHERE job = ?", job)
        return checkpoint_from_json(row[0][0], job=job, where=self._where(job)) if row else None

    async def load_manifest(self, job: str) -> Manifest | None:
        row = await self._read(_select, "SELECT manifest FROM jobs WHERE job = ? AND manifest IS NOT NULL", job)
        return manifest_from_json(row[0][0], where=self._where(job)) if row else None

    async def save(self, lease: Lease, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        """On the disk on return. StaleLease if the lease is lost, StateContradiction if it is another store's."""
        if lease.store_id != self._id:
            raise StateContradiction(
                f"{self._path}: the lease is of store {lease.store_id}, this one is {self._id}",
                hint="save with the store that gave the lease",
            )
        await self._write(_save, lease.epoch, checkpoint, manifest)

    async def jobs(self) -> AsyncIterator[JobStatus]:
        """All jobs, by name. A database that is not there is not made: it has none."""
        if not self._path.exists():
            return
        rows = await self._read(
            _select,
            "SELECT job, checkpoint, owner, coalesce(epoch, 0), heartbeat, space, pid, started "
            "FROM jobs LEFT JOIN leases USING (job) ORDER BY job",
        )
        with self._explained():
            statuses = [self._status(*row) for row in rows]
        for status in statuses:
            yield status

    def _status(
        self,
        job: str,
        checkpoint: str,
        owner: str | None,
        epoch: int,
        heartbeat: str,
        space: str,
        pid: int,
        started: str,
    ) -> JobStatus:
        return JobStatus(
            checkpoint=checkpoint_from_json(checkpoint, job=job, where=self._where(job)),
            owner=owner,
            lease_epoch=epoch,
            heartbeat=datetime.fromisoformat(heartbeat) if owner is not None else None,
            gone=owner is not None and Process(space=space, pid=pid, started=started).is_gone(),
        )

    async def delete(self, job: str) -> None:
        """Forget the job. A dead run's lease is waited for like anybody's. Epochs go on from where they were."""
        async with self.lease(job, "csv2kafka delete"):
            await self._write(_delete, job)

    async def close(self) -> None:
        """Nothing is held open between calls."""

    async def _read(self, work: Callable[..., T], *args: Any) -> T:
        return await self._threaded("BEGIN", work, *args)

    async def _write(self, work: Callable[..., T], *args: Any) -> T:
        return await self._threaded("BEGIN IMMEDIATE", work, *args)

    async def _threaded(self, begin: str, work: Callable[..., T], *args: Any) -> T:
        """One transaction in a thread. Cancelled, it is waited for (``busy_seconds`` bounds it), so that what was
        done is known before anything else is."""
        running = asyncio.ensure_future(asyncio.to_thread(self._transaction, begin, work, *args))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            running.exception()  # nobody asks for it any more; unseen, asyncio would show its traceback
            raise

    def _transaction(self, begin: str, work: Callable[..., T], *args: Any) -> T:
        with self._explained():
            if not self._id:
                self._id = self._prepare()
            with closing(self._connect("rw")) as db:
                db.execute(begin)
                if db.execute("SELECT id FROM store").fetchone() != (self._id,):
                    raise StateContradiction(
                        f"{self._path}: another database has been put in its place during the run",
                        hint="put the first one back, and run the same command again",
                    )
                result = work(db, *args)  # what it raises rolls back: the connection is closed without a commit
                db.execute("COMMIT")
                return result

    def _prepare(self) -> str:
        """The id of the database, which is made if there is none. A foreign or damaged one is not written to."""
        if header := self._header():
            self._check_header(header)
        with closing(self._connect("rwc")) as db:
            db.execute("BEGIN" if header else "BEGIN IMMEDIATE")  # of several newcomers one makes it
            if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in filter(str.strip, SCHEMA.split(";")):
                    db.execute(statement)
                db.execute("INSERT INTO store VALUES (?)", (uuid.uuid4().hex,))
                db.execute("COMMIT")
            if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise self._damaged("its check fails")
            return str(db.execute("SELECT id FROM store").fetchone()[0])

    def _header(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                return file.read(HEADER_BYTES)
        except FileNotFoundError:
            return b""

    def _check_header(self, header: bytes) -> None:
        """Read by hand, because SQLite writes to what it opens if a journal lies beside it."""
        if not header.startswith(MAGIC) or len(header) < HEADER_BYTES:
            raise ConfigError(f"--checkpoints: {self._path} is not a SQLite database", hint="give another path")
        version, application = int.from_bytes(header[60:64], "big"), int.from_bytes(header[68:72], "big")
        if application != APPLICATION_ID:
            raise ConfigError(
                f"--checkpoints: {self._path} is another program's database (application id {application:#x}, "
                f"expected {APPLICATION_ID:#x})",
                hint="give another path",
            )
        if version != SCHEMA_VERSION:
            raise ConfigError(
                f"--checkpoints: {self._path} has schema version {version}, this csv2kafka knows {SCHEMA_VERSION}",
                hint="use the csv2kafka that made it, or give another path",
            )

    def _connect(self, mode: str) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode={mode}", uri=True, timeout=self._busy_seconds, isolation_level=None
        )
        db.execute("PRAGMA synchronous = EXTRA")
        return db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What SQLite or the system refuses, as an error of this package."""
        try:
            yield
        except OSError as error:
            raise ConfigError(f"--checkpoints: {self._path}: {(error.strerror or str(error)).lower()}") from error
        except sqlite3.Error as error:
            raise self._error(error) from error
        except (ValueError, TypeError, OverflowError) as error:  # a column that holds something else than was written
            raise self._damaged(f"{type(error).__name__}: {error}") from error

    def _error(self, error: sqlite3.Error) -> ConfigError | Doubt | StateContradiction | Unreachable:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest are finer reasons
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL):
            return Doubt(f"{self._path}: {error}", hint="see whether another process holds it, and its disk")
        if code == sqlite3.SQLITE_FULL:
            return Unreachable(f"{self._path}: {error}", hint="make room and run the same command again")
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            if self._id and not self._path.exists():
                return StateContradiction(
                    f"{self._path}: it was deleted during the run", hint="run again to begin anew"
                )
            return ConfigError(
                f"--checkpoints: {self._path}: {error}", hint="see that its directory is there and can be written to"
            )
        return self._damaged(str(error))

    def _damaged(self, reason: str) -> StateContradiction:
        return StateContradiction(
            f"{self._path}: the checkpoint database is damaged: {reason}",
            hint="restore it from a copy; or move it away and begin anew with --restart",
        )

    def _where(self, job: str) -> str:
        return f"{self._path}, job {job!r}"


def path_of(url: str) -> Path:
    """Where the store of a URL is: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` (as SQLAlchemy has
    them) or ``memory://`` (in the user's state directory). The path stands as it is, without escapes."""
    if url == MEMORY:
        return user_state_path("csv2kafka", appauthor=False) / "checkpoints.sqlite"
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite" or len(rest) < 2 or not rest.startswith("/"):
        name = rest.lstrip("/") or "checkpoints.db"
        raise ConfigError(
            f"--checkpoints {url}: expected sqlite:///PATH or memory://",
            hint=f"sqlite:///{name} is in the current directory, sqlite:////{name} is absolute",
        )
    return Path(rest[1:])


@frozen(kw_only=True)
class _Lease:
    store: SQLiteStore
    job: str
    epoch: int
    owner: str

    @property
    def store_id(self) -> str:
        return self.store.id

    async def renew(self) -> None:
        await self.store._write(_renew, self, self.store._now())


def _select(db: sqlite3.Connection, query: str, *args: str) -> list[tuple[Any, ...]]:
    return db.execute(query, args).fetchall()


def _take(db: sqlite3.Connection, job: str, owner: str, silent: Holder | None, now: datetime) -> int | Holder:
    row = db.execute(
        "SELECT epoch, beat, owner, since, heartbeat, space, pid, started FROM leases WHERE job = ?", (job,)
    ).fetchone()
    epoch = 0
    if row is not None:
        epoch, beat, holder, since, heartbeat, space, pid, started = row
        still = silent is not None and (epoch, beat) == (silent.epoch, silent.beat)
        if holder is not None and not still and not Process(space=space, pid=pid, started=started).is_gone():
            return Holder(
                owner=holder,
                epoch=epoch,
                beat=beat,
                since=datetime.fromisoformat(since),
                heartbeat=datetime.fromisoformat(heartbeat),
            )
    me, text = Process.current(), now.isoformat()
    db.execute(
        "INSERT OR REPLACE INTO leases (job, epoch, beat, owner, space, pid, started, since, heartbeat) "
        "VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)",
        (job, epoch + 1, owner, me.space, me.pid, me.started, text, text),
    )
    return int(epoch) + 1


def _renew(db: sqlite3.Connection, lease: _Lease, now: datetime) -> None:
    _check_lease(db, lease.job, lease.epoch)
    db.execute("UPDATE leases SET beat = beat + 1, heartbeat = ? WHERE job = ?", (now.isoformat(), lease.job))


def _release(db: sqlite3.Connection, lease: _Lease) -> None:
    """If it was taken: a commit that failed leaves the epoch to somebody else."""
    db.execute(
        "UPDATE leases SET owner = NULL WHERE job = ? AND epoch = ? AND owner = ?",
        (lease.job, lease.epoch, lease.owner),
    )


def _save(db: sqlite3.Connection, epoch: int, checkpoint: Checkpoint, manifest: Manifest | None) -> None:
    _check_lease(db, checkpoint.job, epoch)
    db.execute(
        "INSERT INTO jobs VALUES (?, ?, ?) ON CONFLICT (job) DO UPDATE "
        "SET checkpoint = excluded.checkpoint, manifest = coalesce(excluded.manifest, manifest)",
        (checkpoint.job, to_json(checkpoint).decode(), None if manifest is None else to_json(manifest).decode()),
    )


def _delete(db: sqlite3.Connection, job: str) -> None:
    db.execute("DELETE FROM jobs WHERE job = ?", (job,))


def _check_lease(db: sqlite3.Connection, job: str, epoch: int) -> None:
    row = db.execute("SELECT epoch, owner, since FROM leases WHERE job = ?", (job,)).fetchone()
    if row is None or row[0] != epoch or row[1] is None:
        now = f"{row[1] or 'nobody'} (epoch {row[0]}), since {row[2]}" if row else "nobody"
        raise StaleLease(
            f"job {job!r}: the lease of epoch {epoch} is lost; now it is {now}",
            hint="the other run goes on; this one has changed nothing since",
        )
