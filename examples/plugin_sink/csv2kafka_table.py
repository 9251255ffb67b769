"""A plug-in for csv2kafka: rows into a table of a SQLite database, exactly once.

    csv2kafka run orders.csv -o table:///var/lib/orders.sqlite

A database has transactions, so the checkpoint is committed in one with the rows it covers: either both are there
or neither. This is the whole trick, and the same as with Kafka. The rest is shutting out an older writer: each
session raises ``epoch``, and writes only while it finds its own there.
"""

from __future__ import annotations

import asyncio
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, frozen

from csv2kafka.errors import ConfigError, Doubt, TakenOver, Unreachable
from csv2kafka.model import (
    Checkpoint,
    Completion,
    DeadLetter,
    Packed,
    Payload,
    Records,
    SinkState,
    Target,
    checkpoint_from_json,
    manifest_from_json,
    to_json,
)
from csv2kafka.protocols import Job, Lease

SCHEMA = """
CREATE TABLE IF NOT EXISTS data (n INTEGER PRIMARY KEY, key BLOB, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS refused (n INTEGER PRIMARY KEY, key BLOB, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS job (name TEXT PRIMARY KEY, epoch INTEGER, checkpoint TEXT, manifest TEXT);
"""
TABLES = {Target.DATA: "data", Target.DEAD_LETTER: "refused"}
LONGEST_VALUE = 100_000_000  # bytes; SQLite's own limit is ten times that
LOCKED_SECONDS = 1.0
LENGTHS = struct.Struct(">ii")  # of key (-1: none) and value, before each row of a payload

T = TypeVar("T")


def from_url(url: str, config: object) -> TableSink:
    """What the entry point names: ``table://PATH``, with the run's whole configuration."""
    return TableSink(url.removeprefix("table://"))


class TableSink:
    """Rows in table ``data``, refused rows in ``refused``, both in order of ``n``. ``restart`` empties them."""

    def __init__(self, path: str | Path) -> None:
        if not str(path):
            raise ConfigError("--output table://: expected table://PATH")
        self._path = Path(path).absolute()

    @property
    def destination(self) -> str:
        return f"table {self._path}"

    @property
    def settings(self) -> dict[str, str]:
        return {"table": str(self._path)}

    @asynccontextmanager
    async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[_Session]:
        if lease is not None:
            await lease.renew()
        session = _Session(self._path, job)
        try:
            await session.begin()
            yield session
        finally:
            await session.close()


class _Session:
    """The calls of SQLite block, so they run in threads, one after another."""

    resume_from: Checkpoint
    _db: sqlite3.Connection | None = None
    _epoch = 0
    _running: asyncio.Future[Any] | None = None

    def __init__(self, path: Path, job: Job) -> None:
        self.packer = _Packer()
        self._path = path
        self._job = job

    async def begin(self) -> None:
        self.resume_from = await self._threaded(self._begin)

    async def standing(self) -> AsyncIterator[Records]:
        """Nothing: a transaction that was not committed has left nothing."""
        nothing: tuple[Records, ...] = ()
        for records in nothing:
            yield records

    async def write(self, payload: Payload) -> None:
        await self._threaded(lambda: self._write(payload))

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        return await self._threaded(lambda: self._commit(checkpoint))

    async def close(self) -> None:
        """A transaction that is open is rolled back by closing."""
        if self._running is not None:
            await asyncio.wait({self._running})
        if self._db is not None:
            self._db.close()

    async def _threaded(self, call: Callable[[], T]) -> T:
        def explained() -> T:
            with _explained(self._path):
                return call()

        running = self._running = asyncio.ensure_future(asyncio.to_thread(explained))
        return await asyncio.shield(running)  # cancelled, it goes on, and close() waits for it

    def _begin(self) -> Checkpoint:
        job = self._job
        self._db = db = sqlite3.connect(
            self._path, timeout=LOCKED_SECONDS, isolation_level=None, check_same_thread=False
        )
        db.execute("BEGIN IMMEDIATE")
        for statement in filter(str.strip, SCHEMA.split(";")):
            db.execute(statement)
        row = db.execute("SELECT epoch, checkpoint, manifest FROM job WHERE name = ?", (job.name,)).fetchone()
        found = checkpoint_from_json(row[1], job=job.name, where=str(self._path)) if row else None
        if found is not None and not job.restart:
            job.check(found, manifest_from_json(row[2], where=str(self._path)))  # before anything is changed
        if found is None or job.restart:
            for table in TABLES.values():
                db.execute(f"DELETE FROM {table}")
            generation = found.generation + 1 if found else job.start.generation
            found = evolve(job.start, generation=generation, sink=self._state(db))
        self._epoch = row[0] + 1 if row else 1
        db.execute(
            "INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?)",
            (job.name, self._epoch, to_json(found).decode(), to_json(job.manifest).decode()),
        )
        db.execute("COMMIT")
        return found

    def _write(self, payload: Payload) -> None:
        db = self._transaction()
        rows = _rows(payload.body)
        db.executemany(f"INSERT INTO {TABLES[payload.target]} (key, value) VALUES (?, ?)", rows)

    def _commit(self, checkpoint: Checkpoint) -> Checkpoint:
        db = self._transaction()
        done = evolve(checkpoint, sink=self._state(db))
        db.execute("UPDATE job SET checkpoint = ? WHERE name = ?", (to_json(done).decode(), self._job.name))
        db.execute("COMMIT")
        return done

    def _transaction(self) -> sqlite3.Connection:
        """The open transaction, or a new one, if no later session has begun."""
        assert self._db is not None
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
            (epoch,) = self._db.execute("SELECT epoch FROM job WHERE name = ?", (self._job.name,)).fetchone()
            if epoch != self._epoch:
                raise TakenOver(f"{self._path}: another run has taken over this job", hint="leave it to that one")
        return self._db

    def _state(self, db: sqlite3.Connection) -> SinkState:
        counts = {target: db.execute(f"SELECT coalesce(max(n), 0) FROM {table}") for target, table in TABLES.items()}
        offsets = {target.value: int(count.fetchone()[0]) for target, count in counts.items()}
        return SinkState(offsets=offsets, first_offset=1, destination_id=str(self._path))


@frozen(kw_only=True)
class _Packer:
    """Rows one after another, each with its lengths before it."""

    limit: None = None

    def pack(self, records: Records, first: int = 0, last: int | None = None) -> Packed:
        stop = len(records) if last is None else last
        body, too_large = bytearray(), []
        for index, (key, value) in enumerate(records.rows(first, stop), first):
            if len(key or b"") + len(value) > LONGEST_VALUE:
                too_large.append((index, f"{len(value)} bytes, and {LONGEST_VALUE} are allowed"))
            else:
                body += _packed(key, value)
        payloads = (Payload(target=Target.DATA, body=body, first=first, last=stop),) if body else ()
        return Packed(payloads=payloads, too_large=tuple(too_large))

    def pack_dead_letters(self, rows: Sequence[DeadLetter]) -> tuple[Payload, ...]:
        """The reason and place as key, the row's own bytes as value."""
        places = [f"{row.source}: row {row.row}, line {row.line}, byte {row.byte}: {row.reason}" for row in rows]
        body = b"".join(_packed(place.encode(), row.value) for place, row in zip(places, rows, strict=True))
        return (Payload(target=Target.DEAD_LETTER, body=body, first=0, last=len(rows)),) if rows else ()


def _packed(key: bytes | None, value: bytes) -> bytes:
    return LENGTHS.pack(-1 if key is None else len(key), len(value)) + (key or b"") + value


def _rows(body: bytes | bytearray) -> Iterator[tuple[bytes | None, bytes]]:
    at = 0
    while at < len(body):
        key_length, value_length = LENGTHS.unpack_from(body, at)
        middle = at + LENGTHS.size + max(key_length, 0)
        yield (
            None if key_length < 0 else bytes(body[at + LENGTHS.size : middle]),
            bytes(body[middle : middle + value_length]),
        )
        at = middle + value_length


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What SQLite refuses, as the errors that the pipeline knows: try again, or stop and say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise TakenOver(f"{path}: another run is writing to it", hint="wait for it to end") from error
        if code == sqlite3.SQLITE_IOERR:
            raise Doubt(f"{path}: {error}") from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY):
            raise ConfigError(f"--output table://{path}: {error}") from error
        raise Unreachable(f"{path}: {error}", hint="see to the database, and run the same command again") from error
