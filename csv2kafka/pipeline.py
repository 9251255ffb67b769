"""One job, from a source into a sink: the only module that knows all the stages.

    lease ─▶ ┌─ open a session ─▶ ask where to go on ─▶ Transfer ─┐─▶ Report
             └──────── wait, growing ◀── any doubt ◀─────────────┘

A crash, a lost broker, a fenced producer and a restart on another machine all take this one way (ARCHITECTURE.md).
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from attrs import evolve

from csv2kafka import registry
from csv2kafka.checks import check_checkpoint, check_not_written, check_options
from csv2kafka.errors import ConfigError, Csv2KafkaError, Unreachable
from csv2kafka.holding import Holding
from csv2kafka.memory import peak_bytes
from csv2kafka.model import (
    DEFAULT_MAX_RECORD,
    Checkpoint,
    Committed,
    Dialect,
    Event,
    Manifest,
    Position,
    Progressed,
    RowRefused,
    SessionOpened,
    SourceObject,
    Started,
)
from csv2kafka.model.report import BAD_ROWS_NAMED, Report
from csv2kafka.patience import Patience
from csv2kafka.protocols import CheckpointStore, Encoder, Job, Sink, Source
from csv2kafka.reading import Reading, bytes_before, close_source, total_bytes
from csv2kafka.transfer import OnBadRow, Transfer

if TYPE_CHECKING:
    from csv2kafka.config import RunConfig

STOP_SECONDS = 7.0  # to commit what is on the way when asked to stop
CLOSE_SECONDS = 2.0  # then, to let go of everything
LOST_SECONDS = 5.0  # after the lease is lost, for the session to end; it takes 2 s at most where all is well

T = TypeVar("T")


class Pipeline:
    """A job, and one run of it.

    source, sink, checkpoints: where rows come from, go to, and where leases and progress are kept (default: a
    SQLite database in the user's state directory).
    encoder: rows to keys and values (default: JSON objects without a key).
    dialect (default: the encoder's), encoding, has_header, columns, max_record: how the source is read;
    ``columns`` gives names, ``max_record`` is in bytes.
    job: its name (default: made from source and destination). The same name goes on where it stopped.
    checkpoint_interval (seconds), checkpoint_rows: commit at the first of the two.
    on_bad_row: ``fail``, ``skip`` or ``dead-letter``. restart: forget the checkpoint, begin at row 0.
    on_foreign: at-least-once only: ``stop`` or ``resend`` where others' records stand in the way.
    after: what becomes of the source's objects once every row is visible, for a source that can do it (S3Source:
    ``tag``, ``tag:KEY=VALUE``, ``move:s3://BUCKET/PREFIX/``, ``delete``).
    connect_timeout (seconds): give up if nothing ever answered. give_up_after (seconds, None: never): give up
    when what was lost does not come back.
    on_event: told of progress, from the loop; must not block.
    draw (0 to 1): shortens pauses; replaced in tests.

    Raises ConfigError with all problems at once. Several pipelines can run in one loop.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        checkpoints: CheckpointStore | None = None,
        *,
        encoder: Encoder | None = None,
        dialect: Dialect | None = None,
        encoding: str = "utf-8",
        has_header: bool = True,
        columns: Sequence[str] | None = None,
        max_record: int = DEFAULT_MAX_RECORD,
        job: str | None = None,
        checkpoint_interval: float = 1.0,
        checkpoint_rows: int | None = None,
        on_bad_row: OnBadRow = "fail",
        restart: bool = False,
        on_foreign: Literal["stop", "resend"] = "stop",
        after: str | None = None,
        connect_timeout: float = 60.0,
        give_up_after: float | None = None,
        on_event: Callable[[Event], None] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        encoder_dialect: Dialect | None = getattr(encoder, "dialect", None)
        dialect = dialect or encoder_dialect or Dialect()
        encoder = encoder or registry.default_encoder(dialect)
        check_options(
            dialect=dialect,
            encoder_dialect=encoder_dialect,
            encoding=encoding,
            max_record=max_record,
            checkpoint_interval=checkpoint_interval,
            checkpoint_rows=checkpoint_rows,
            connect_timeout=connect_timeout,
            give_up_after=give_up_after,
            on_bad_row=on_bad_row,
            on_foreign=on_foreign,
        )
        if after is not None and not hasattr(source, "finish"):
            raise ConfigError(
                f"after: expected a source whose objects can be tagged, moved or deleted, found {source.uri}"
            )
        self._reading = Reading(
            source=source,
            encoder=encoder,
            dialect=dialect,
            encoding=encoding,
            has_header=has_header,
            columns=tuple(columns) if columns is not None else None,
            max_record=max_record,
        )
        self._sink = sink
        self._store = checkpoints or registry.default_store()
        self._owns_store = checkpoints is None
        self._checkpoint_interval = checkpoint_interval
        self._checkpoint_rows = checkpoint_rows
        self._on_bad_row: OnBadRow = on_bad_row
        self._restart = restart
        self._on_foreign: Literal["stop", "resend"] = on_foreign
        self._after = after
        self._on_event = on_event
        self.run_id = uuid.uuid4().hex
        self._owner = f"run {self.run_id[:8]} (process {os.getpid()} on {platform.node()})"
        self.job = job or registry.job_name(source.uri, sink.destination, run_id=self.run_id)
        self._stop = asyncio.Event()
        self._patience = Patience(
            connect_timeout=connect_timeout,
            give_up_after=give_up_after,
            stop=self._stop,
            tell=self._emit,
            draw=draw,
        )
        self._objects: tuple[SourceObject, ...] = ()
        self._manifest = Manifest()
        self._gone: ConfigError | None = None
        self._started_at: float | None = None
        self._reading_begun = False
        self._refused_up_to = 0
        self.report = Report(
            checkpoint=Checkpoint(job=self.job, run_id=self.run_id),
            manifest=self._manifest,
            destination=sink.destination,
        )

    @classmethod
    def from_config(
        cls,
        config: RunConfig,
        *,
        transform: Callable[[Encoder], Encoder] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Self:
        """The pipeline that command and deploy wrappers run. ``transform``: makes an encoder of one's own out of the
        configuration's. Raises ConfigError."""
        parts = registry.build(config)
        pipeline = cls(
            parts.source,
            parts.sink,
            parts.checkpoints,
            encoder=transform(parts.encoder) if transform else parts.encoder,
            dialect=parts.dialect,
            encoding=config.encoding,
            has_header=config.header,
            columns=config.columns,
            max_record=config.max_record,
            job=config.job,
            checkpoint_interval=config.checkpoint_interval,
            checkpoint_rows=config.checkpoint_rows,
            on_bad_row=config.on_bad_row,
            restart=config.restart,
            on_foreign=config.on_foreign,
            after=config.after,
            connect_timeout=config.connect_timeout,
            give_up_after=config.give_up_after,
            on_event=on_event,
        )
        pipeline._owns_store = True
        return pipeline

    async def run(self) -> Report:
        """Do the job, or what is left of it. Once for each Pipeline.

        Cancelling the task commits what is on the way, lets go of everything within ten seconds and raises
        CancelledError; ``report`` says how far it came.
        Raises the errors of ``csv2kafka.errors`` that are not retryable; everything before is committed.
        """
        if self._started_at is not None:
            raise RuntimeError("run() was called before: a new Pipeline of the same job goes on where this one ended")
        self._started_at = asyncio.get_running_loop().time()
        work = asyncio.create_task(self._run())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stop.set()
            await asyncio.wait({work}, timeout=STOP_SECONDS)
            raise
        finally:
            work.cancel()
            await asyncio.wait({work}, timeout=CLOSE_SECONDS)
            if work.done() and not work.cancelled():
                work.exception()

    async def _run(self) -> Report:
        self._patience.begin()
        try:
            await self._insist(self._pin_objects)
            async with AsyncExitStack() as held:
                lease = await self._insist(lambda: held.enter_async_context(self._store.lease(self.job, self._owner)))
                stored = await self._insist(self._stored)
                self._patience.begin()
                if lease is None:
                    return await self._to_the_end(None, stored)
                holding = Holding(lease=lease, store=self._store, emit=self._emit)
                return await self._while_held(holding, stored)
        finally:
            await close_source(self._reading.source)
            if self._owns_store:
                await self._store.close()

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, asked for again while there is only doubt."""
        while True:
            try:
                return await ask()
            except Csv2KafkaError as error:
                await self._pause(error)

    async def _stored(self) -> Checkpoint | None:
        stored = await self._store.load(self.job)
        if stored is not None and not self._restart:
            self._check(stored, await self._store.load_manifest(self.job))
        return stored

    async def _pin_objects(self) -> None:
        """Fix the manifest. That of a job that is complete holds also when its source is gone."""
        try:
            self._objects = tuple([obj async for obj in self._reading.source.objects()])
        except ConfigError as error:
            stored = None if self._restart else await self._store.load(self.job)
            if stored is None or not stored.complete:
                raise
            manifest = await self._store.load_manifest(self.job) or Manifest()
            names = getattr(self._reading.source, "names", None)
            if names is not None and not all(names(uri) for uri, _, _ in manifest.objects):
                raise  # the job is complete, but of something else
            self._gone = error
            self._know(manifest)
            return
        await asyncio.to_thread(check_not_written, self._objects, getattr(self._sink, "files", ()))
        self._know(Manifest(objects=tuple((o.uri, o.size, o.version) for o in self._objects)))
        total = total_bytes(self._objects)
        self._emit(Started(job=self.job, run_id=self.run_id, objects=len(self._objects), total_bytes=total))

    def _know(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.report = evolve(self.report, manifest=manifest)

    async def _while_held(self, holding: Holding, stored: Checkpoint | None) -> Report:
        """The work, for as long as the lease is ours."""
        work = asyncio.create_task(self._to_the_end(holding, stored))
        heart = asyncio.create_task(holding.keep())
        try:
            await asyncio.wait({work, heart}, return_when=asyncio.FIRST_COMPLETED)
            if heart.done() and not work.done():
                work.cancel()
                await asyncio.wait({work}, timeout=LOST_SECONDS)
                heart.result()  # StaleLease
            return await work
        finally:
            await _ended(work, heart)
            await holding.close()

    async def _to_the_end(self, holding: Holding | None, stored: Checkpoint | None) -> Report:
        report = await self._sessions(holding, stored)
        if self._after is not None:
            await self._insist(self._finish_objects)
        return report

    async def _finish_objects(self) -> None:
        """What ``after`` asks for. Also when the job was complete already: the run before may have been cut short."""
        await self._reading.source.finish(self._objects, self._after)  # type: ignore[attr-defined]

    async def _sessions(self, holding: Holding | None, stored: Checkpoint | None) -> Report:
        """Sessions, one after another, until one reaches the end."""
        job = self._job()
        lease = None if holding is None else holding.lease
        while True:
            try:
                async with self._sink.open(job, stored, lease) as session:
                    self._patience.answered()
                    job = evolve(job, restart=False)
                    start = session.resume_from
                    self._opened(start)
                    stored = start  # also where the store does not answer: a sink that began anew is not what it was
                    if holding is not None:
                        # Of a complete job some objects may be gone: the list of all of them stays.
                        whole = self._manifest.digest == start.manifest_digest
                        await holding.settle(start, self._manifest if whole else None)
                    if start.complete:  # by this run, if the answer to its last commit was lost
                        return self._finished(start, already=start.run_id != self.run_id)
                    if self._gone is not None:  # complete for the store; another run has begun again since
                        raise self._gone
                    self._reading_begun = True
                    transfer = Transfer(
                        session=session,
                        holding=holding,
                        job=job,
                        reading=self._reading,
                        objects=self._objects,
                        checkpoint_interval=self._checkpoint_interval,
                        checkpoint_rows=self._checkpoint_rows,
                        on_bad_row=self._on_bad_row,
                        stop=self._stop,
                        emit=self._emit,
                        now=_utc_now,
                    )
                    try:
                        await transfer.run()
                    finally:
                        stored = transfer.checkpoint
                return self._finished(stored)
            except Csv2KafkaError as error:
                await self._pause(error)

    def _job(self) -> Job:
        first = self._objects[0] if self._objects else None
        start = Checkpoint(
            job=self.job,
            run_id=self.run_id,
            position=Position(uri=first.uri, version=first.version) if first else Position(),
            settings=self._settings,
            manifest_digest=self._manifest.digest,
            at=_utc_now(),
        )
        return Job(
            name=self.job,
            run_id=self.run_id,
            start=start,
            manifest=self._manifest,
            check=self._check,
            restart=self._restart,
            on_foreign=self._on_foreign,
        )

    @property
    def _settings(self) -> dict[str, str]:
        """All that shapes the output; a job cannot go on with others."""
        return {**self._sink.settings, **self._reading.settings}

    def _check(self, checkpoint: Checkpoint, manifest: Manifest | None) -> None:
        check_checkpoint(checkpoint, manifest, settings=self._settings, found=self._manifest)

    async def _pause(self, error: Csv2KafkaError) -> None:
        """Wait before the next session; or raise, for what cannot pass or has lasted too long."""
        rows = self.report.checkpoint.counts.rows
        if error.retryable and self._reading_begun and not all(obj.replayable for obj in self._objects):
            raise Unreachable(
                f"{error.message}\nstandard input cannot be read again: {rows:,} rows are committed",
                hint="begin again from a file or object, or feed the whole input again under a new --job name",
            ) from error
        await self._patience.pause(error, rows=rows)

    def _opened(self, start: Checkpoint) -> None:
        report = self.report
        resumed = report.resumed_from_row if report.sessions else start.counts.rows
        self.report = evolve(report, sessions=report.sessions + 1, resumed_from_row=resumed, checkpoint=start)
        passed = bytes_before(self._objects, start.position)
        self._emit(SessionOpened(number=self.report.sessions, checkpoint=start, source_bytes=passed))

    def _progressed(self, checkpoint: Checkpoint) -> None:
        rows = checkpoint.counts.rows - self.report.resumed_from_row
        self.report = evolve(
            self.report,
            checkpoint=checkpoint,
            rows_this_run=rows,
            seconds=asyncio.get_running_loop().time() - (self._started_at or 0.0),
            peak_memory_bytes=peak_bytes(),
        )

    def _finished(self, checkpoint: Checkpoint, *, already: bool = False) -> Report:
        self._progressed(checkpoint)
        if already:
            self.report = evolve(
                self.report, already_complete=True, rows_this_run=0, resumed_from_row=checkpoint.counts.rows
            )
        return self.report

    def _emit(self, event: Event) -> None:
        if isinstance(event, Committed):
            self._patience.committed()
            self._progressed(event.checkpoint)
        elif isinstance(event, SessionOpened):
            self._patience.opened()
        elif isinstance(event, Progressed):
            self._patience.rows_come()
        elif isinstance(event, RowRefused):
            if event.row.row <= self._refused_up_to:
                return  # an earlier session that could not commit it has told of it
            self._refused_up_to = event.row.row
            if len(self.report.bad_rows) < BAD_ROWS_NAMED:
                self.report = evolve(self.report, bad_rows=(*self.report.bad_rows, event.row))
        if self._on_event is not None:
            self._on_event(event)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """End them, and wait for that: what does not let itself be ended is left behind."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=LOST_SECONDS)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # say that it was seen


def _utc_now() -> datetime:
    return datetime.now(UTC)
