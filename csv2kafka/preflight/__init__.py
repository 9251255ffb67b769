"""What a run needs, looked at before it: source, checkpoint store, sink, first rows. No row is sent.

    pinned objects ─▶ store: checkpoint, lease ─▶ sink.preflight ─▶ first rows ─▶ clock

Findings come in the order in which a run would meet the same things, so that the first that fails has the run's exit
code. Nothing is made or taken anywhere, and every wait has a bound.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator

from csv2kafka import registry
from csv2kafka.checks import check_checkpoint, check_not_written
from csv2kafka.config import RunConfig
from csv2kafka.errors import Csv2KafkaError
from csv2kafka.model import Checkpoint, Manifest, Position, SourceObject
from csv2kafka.model.findings import Finding, Forecast, way_on
from csv2kafka.preflight.bounds import bounded, closing
from csv2kafka.preflight.clock import clock_finding
from csv2kafka.preflight.source import SOURCE, first_rows, source_finding
from csv2kafka.preflight.store import Stored, look_at_store
from csv2kafka.protocols import Job
from csv2kafka.reading import close_source, reading_from

JOB = "job"


class Preflight:
    """One look at all that a run of ``config`` needs. ConfigError where its parts cannot be put together.

    ``job``: its name. ``forecast``: what the first rows tell of all, once the findings have come.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._reading = reading_from(config)
        self._sink = registry.build_sink(config)
        self._run_id = uuid.uuid4().hex
        uri = self._reading.source.uri
        self.job = config.job or registry.job_name(uri, self._sink.destination, run_id=self._run_id)
        self.forecast = Forecast()

    async def findings(self) -> AsyncGenerator[Finding, None]:
        """One for each thing, as soon as it is known."""
        try:
            async with closing(self._findings()) as findings:
                async for finding in findings:
                    yield finding
        finally:
            await close_source(self._reading.source)

    async def _findings(self) -> AsyncIterator[Finding]:
        config, gone = self._config, None
        objects: tuple[SourceObject, ...] = ()
        try:
            objects = await self._pinned()
        except Csv2KafkaError as error:
            gone = error
        else:
            yield source_finding(objects)  # before the store, whose lease may be watched for a while
        stored = await look_at_store(config, self.job)
        job = self._job(objects, stored, gone)
        if gone is not None:
            yield self._source_gone(gone, stored)
        for finding in stored.findings:
            yield finding
        yield self._way_on(job, stored)
        told: list[Finding] = []
        if objects:
            self.forecast, told = await first_rows(self._reading, objects, config)
        look = getattr(self._sink, "preflight", None)
        if look is None:
            yield Finding.not_checked("sink", f"{self._sink.destination}: nothing is known of it before a run opens it")
        else:
            async with closing(look(job, stored.checkpoint, self.forecast)) as findings:
                async for finding in findings:
                    yield finding
        for finding in told:
            yield finding
        if config.after is not None:
            wanted = f"{config.after}: whether that is allowed is known only by doing it"
            yield Finding.not_checked("--after", wanted)
        yield await clock_finding(config)

    async def _pinned(self) -> tuple[SourceObject, ...]:
        source = self._reading.source

        async def every() -> tuple[SourceObject, ...]:
            return tuple([obj async for obj in source.objects()])

        objects = await bounded(every(), f"SOURCE {source.uri}")
        await asyncio.to_thread(check_not_written, objects, getattr(self._sink, "files", ()))
        return objects

    def _source_gone(self, gone: Csv2KafkaError, stored: Stored) -> Finding:
        if stored.checkpoint is not None and stored.checkpoint.complete and not self._config.restart:
            return Finding.warned(SOURCE, gone.message, "the job is complete: a run says so, and ends")
        return Finding.failed(SOURCE, gone)

    def _job(self, objects: tuple[SourceObject, ...], stored: Stored, gone: Csv2KafkaError | None) -> Job:
        """As a run tells a sink of itself. A source that is gone is taken to be what the job began with."""
        manifest = Manifest(objects=tuple((obj.uri, obj.size, obj.version) for obj in objects))
        if gone is not None:
            manifest = stored.manifest or manifest
        settings = {**self._sink.settings, **self._reading.settings}

        def check(checkpoint: Checkpoint, began: Manifest | None) -> None:
            found = manifest if gone is None else began or manifest
            check_checkpoint(checkpoint, began, settings=settings, found=found)

        first = objects[0] if objects else None
        start = Checkpoint(
            job=self.job,
            run_id=self._run_id,
            position=Position(uri=first.uri, version=first.version) if first else Position(),
            settings=settings,
            manifest_digest=manifest.digest,
        )
        return Job(
            name=self.job,
            run_id=self._run_id,
            start=start,
            manifest=manifest,
            check=check,
            restart=self._config.restart,
            on_foreign=self._config.on_foreign,
        )

    def _way_on(self, job: Job, stored: Stored) -> Finding:
        """What a run would do with the store's checkpoint."""
        if stored.failed:
            return Finding.not_checked(JOB, f"{job.name}: its checkpoint could not be read")
        try:
            if stored.checkpoint is not None and not job.restart:
                job.check(stored.checkpoint, stored.manifest)
        except Csv2KafkaError as error:
            return Finding.failed(JOB, error)
        return Finding.passed(JOB, f"{job.name}: {way_on(stored.checkpoint, restart=job.restart)}")
