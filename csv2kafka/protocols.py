"""The whole plug-in surface: what a Source, an Encoder, a Sink and a CheckpointStore must do.

A plug-in needs only this module, ``model``, ``errors`` and ``testing``; passing the conformance suite of
``csv2kafka.testing`` is the definition of done. Each docstring says who calls what when.

Errors: raise those of ``csv2kafka.errors``. A ``retryable`` one makes the pipeline close the session, wait and
open a new one; any other ends the run with everything before it committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, runtime_checkable

from attrs import field, frozen

from csv2kafka.model import (
    Checkpoint,
    Chunk,
    Completion,
    DeadLetter,
    JobStatus,
    Manifest,
    Packed,
    Payload,
    Records,
    SourceObject,
)


@frozen(kw_only=True, eq=False)
class Job:
    """What a sink is told of the run that opens it.

    ``restart``: forget the checkpoint, once per run id; the pipeline clears it after the first session that
    opened. ``start``: the row-0 checkpoint of this run, to begin with where there is none (or ``restart``).
    ``check(checkpoint, manifest)``: holds a checkpoint, and the manifest kept beside it (None: none is kept),
    against this run's settings and sources; raises SettingsChanged or SourceChanged naming what differs. A
    sink that keeps checkpoints of its own calls it before it changes anything anywhere.
    """

    name: str
    run_id: str
    start: Checkpoint
    manifest: Manifest
    check: Callable[[Checkpoint, Manifest | None], None]
    restart: bool = False
    on_foreign: Literal["stop", "resend"] = field(default="stop")


@runtime_checkable
class Source(Protocol):
    """Objects in order, as if they were one, and their bytes.

    ``uri``: what was asked for, absolute, for the job's name; the same from run to run, whatever is found there.

    A source may have ``async close()``: give back connections; called when the run ends. And ``async
    finish(objects, after)``: what ``--after`` asks for, once every row is visible; done again by a later run if this
    one was cut short, also with some of the objects gone. And ``names(uri)``: whether that object, which may be gone,
    is one of those that were asked for; a complete job is complete for those alone.
    """

    @property
    def uri(self) -> str: ...

    def objects(self) -> AsyncIterator[SourceObject]:
        """All objects in reading order, each pinned. Called once per run, before anything else.

        Raises ConfigError for what does not exist or cannot be read.
        """
        ...

    def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        """The object's own bytes from ``offset`` on (at its size: nothing), in blocks of 4 MiB at most.

        Larger blocks take memory that nothing bounds; ones below 1 MiB are slow. Called once per object in each
        session, and left at any block (closed, if it is an async generator) when the session ends.
        Raises SourceChanged if it is no longer the version in ``obj``, at the latest when reading ends.
        """
        ...

    async def confirm(self, obj: SourceObject) -> None:
        """SourceChanged if the object is no longer that version. Asked before each commit."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """CSV rows to keys and values. Pure; called in worker threads, several at once.

    ``settings``: what of its settings shapes the output (``format``, ``key``, …), by name. An encoder that parses
    the CSV itself may have a ``dialect``; the pipeline then takes it, and refuses another one.
    """

    @property
    def settings(self) -> dict[str, str]: ...

    def encode(self, chunk: Chunk) -> Records:
        """The chunk's rows. A row that cannot be encoded goes to ``bad``; it never raises for a row.

        ConfigError or DataError where the chunk's header cannot be used; the pipeline adds whose it is.
        """
        ...


@runtime_checkable
class Packer(Protocol):
    """Records to the sink's wire form. Pure; called in worker threads, several at once.

    ``limit``: bytes of the largest payload of rows, which the pipeline then tries to fill; None if there is none.
    """

    @property
    def limit(self) -> int | None: ...

    def pack(self, records: Records, first: int = 0, last: int | None = None) -> Packed:
        """Payloads for the good rows ``first`` to ``last`` (excluded), each within the sink's size limit."""
        ...

    def pack_dead_letters(self, rows: Sequence[DeadLetter]) -> tuple[Payload, ...]:
        """Payloads for refused rows. One that is too large goes without its value, but with its place."""
        ...


@runtime_checkable
class Lease(Protocol):
    """One live run per job. ``epoch`` rises with each taking; ``store_id`` is the store's."""

    @property
    def epoch(self) -> int: ...

    @property
    def store_id(self) -> str: ...

    async def renew(self) -> None:
        """A heartbeat, written only if this lease still holds; StaleLease if another epoch has begun.

        The pipeline calls it every ``HEARTBEAT_SECONDS``, a sink just before it shuts out older writers.
        """
        ...


@runtime_checkable
class SinkSession(Protocol):
    """A sink opened for one stretch of work: no other writer of this job can get anything in any more.

    ``resume_from``: the checkpoint that counts. ``packer``: for this session's destination. A session whose ``commit``
    makes the checkpoint durable together with the rows may have ``keeps_checkpoint = True``: the store's copy is then
    no part of the guarantee, and a store that is away for a while does not hold up rows.
    """

    @property
    def resume_from(self) -> Checkpoint: ...

    @property
    def packer(self) -> Packer: ...

    def standing(self) -> AsyncIterator[Records]:
        """What stands behind ``resume_from`` already; the pipeline does not send equal rows again.

        Asked for once, and read to its end, or (under ``on_foreign=resend``) to the first row that differs, before
        any data is written; dead letters may be written amid it. Empty where the sink's commit is atomic.
        A commit can fall amid it: the checkpoint's place in the sink is then behind the rows it counts, not behind
        all that stand.
        """
        ...

    async def write(self, payload: Payload) -> None:
        """Accept the payload, in order. Waits while the sink is full; does not wait until it is durable."""
        ...

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        """On return everything written before is durable, and the checkpoint, if the sink keeps one.

        Gives the checkpoint with the sink's own state (``sink``) in it. The last commit, which says complete,
        follows the commit of the last rows and has none.
        """
        ...


@runtime_checkable
class Sink(Protocol):
    """Where rows go. One instance serves one job.

    A sink into local files may have ``files``: their paths, none of which may be a file of the source. A sink may have
    ``preflight(job, stored, forecast)``, an async iterator of ``Finding`` (``model/findings.py``): what a run would
    find there. It leaves nothing behind and shuts nobody out.
    """

    @property
    def destination(self) -> str:
        """What it is, for people and for the job's name: ``kafka topic orders partition 0``."""
        ...

    @property
    def settings(self) -> dict[str, str]:
        """What of the sink's settings shapes the output or must not change between runs of a job."""
        ...

    def open(
        self, job: Job, stored: Checkpoint | None, lease: Lease | None
    ) -> AbstractAsyncContextManager[SinkSession]:
        """Shut out older writers of this job, find the checkpoint that counts.

        ``stored``: the store's checkpoint, or this run's last, where the store did not hear of it. ``lease``: renew
        it just before older writers are shut out; None from a store that has none. Leaving the context drops what
        is not committed, within a few seconds even when the server is away.
        """
        ...


HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 15.0


@runtime_checkable
class CheckpointStore(Protocol):
    """Leases, progress and completed jobs. ``id`` was made with the store and never changes.

    A store whose first call makes something may have ``async made() -> bool``: whether that was done, asked without
    doing it. One that has to be made first may have ``async create() -> list[str]``, safe to be repeated, which says
    what it found or made (``csv2kafka init``).
    """

    @property
    def id(self) -> str:
        """Known once a method of the store has returned."""
        ...

    def lease(self, job: str, owner: str) -> AbstractAsyncContextManager[Lease | None]:
        """Take the job's lease; give it back on leaving. None from a store that has no leases (``kafka://``).

        Found held, the newcomer watches it for LEASE_SECONDS: its heartbeat moves → LeaseHeld naming the
        holder and since when; it stands still → taken over with the next epoch. Judged by the change seen,
        never by comparing clocks.
        """
        ...

    async def load(self, job: str) -> Checkpoint | None:
        """The last checkpoint saved, None if there is none."""
        ...

    async def load_manifest(self, job: str) -> Manifest | None:
        """The manifest saved with the job."""
        ...

    async def save(self, lease: Lease, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        """Durable on return. ``manifest`` is given with a run's first checkpoint. StaleLease if the lease is lost."""
        ...

    def jobs(self) -> AsyncIterator[JobStatus]:
        """All jobs, by name."""
        ...

    async def delete(self, job: str) -> None:
        """Forget the job; LeaseHeld while a run has it."""
        ...

    async def close(self) -> None:
        """Give back connections and files."""
        ...
