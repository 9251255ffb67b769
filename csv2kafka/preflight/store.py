"""The checkpoint store: can it be read, what does it say of the job, and does a live run hold the job's lease."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from attrs import frozen

from csv2kafka import registry
from csv2kafka.config import RunConfig
from csv2kafka.errors import ConfigError, Csv2KafkaError, LeaseHeld
from csv2kafka.model import Checkpoint, JobStatus, Manifest
from csv2kafka.model.findings import Finding
from csv2kafka.model.report import local_time
from csv2kafka.preflight.bounds import bounded, closing
from csv2kafka.protocols import LEASE_SECONDS, CheckpointStore

STORE, LEASE = "checkpoint store", "lease"
LOOK_SECONDS = 0.5  # between two looks at a lease that is held
NO_LEASE = "kafka:"


@frozen(kw_only=True)
class Stored:
    """What the store has of the job. ``failed``: it could not be asked."""

    checkpoint: Checkpoint | None = None
    manifest: Manifest | None = None
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        return any(finding.status == "fail" and finding.name == STORE for finding in self.findings)


async def look_at_store(config: RunConfig, job: str, *, lease_seconds: float = LEASE_SECONDS) -> Stored:
    """Never makes a store. ``lease_seconds``: how long a lease that is held is watched, whether its run lives."""
    try:
        file = registry.store_file(config)
        if file is not None and not file.exists():
            return Stored(findings=(_new_file(file, config.checkpoints), Finding.passed(LEASE, "free")))
        store = registry.build_store(config)
    except Csv2KafkaError as error:
        return Stored(findings=(Finding.failed(STORE, error),))
    try:
        made = getattr(store, "made", None)
        if made is not None and not await bounded(made(), config.checkpoints):
            new = Finding.passed(STORE, f"{config.checkpoints}: is new; a run makes what it needs there")
            return Stored(findings=(new, Finding.passed(LEASE, "free")))
        checkpoint = await bounded(store.load(job), config.checkpoints)
        manifest = None if checkpoint is None else await bounded(store.load_manifest(job), config.checkpoints)
        read = Finding.passed(STORE, f"{config.checkpoints if file is None else file}: can be read")
        lease = await _lease(store, config.checkpoints, job, lease_seconds)
        return Stored(checkpoint=checkpoint, manifest=manifest, findings=(read, lease))
    except Csv2KafkaError as error:
        return Stored(findings=(Finding.failed(STORE, error),))
    finally:
        await store.close()


def _new_file(file: Path, url: str) -> Finding:
    """A SQLite file that the run would make; for ``memory://`` its directories, too."""
    there = next(parent for parent in file.parents if parent.exists())
    if there != file.parent and url != registry.DEFAULT_STORE:
        return Finding.failed(STORE, ConfigError(f"--checkpoints: there is no directory {file.parent}", hint="make it"))
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding.failed(
            STORE, ConfigError(f"--checkpoints: {there} may not be written to", hint="choose another place")
        )
    return Finding.passed(STORE, f"{file}: is not there yet; a run makes it")


async def _lease(store: CheckpointStore, url: str, job: str, lease_seconds: float) -> Finding:
    """As a newcomer judges it: by the change of its heartbeat, never by comparing clocks."""
    if url.startswith(NO_LEASE):
        return Finding.passed(LEASE, "kafka:// has none: a run takes the job over from any other")
    loop = asyncio.get_running_loop()
    try:
        first = seen = await bounded(_status(store, job), url)
        until = loop.time() + lease_seconds
        while first is not None and first.owner is not None and not first.gone and loop.time() < until:
            await asyncio.sleep(min(LOOK_SECONDS, until - loop.time()))
            seen = await bounded(_status(store, job), url)
            if seen is None or seen.owner is None:
                break
            if (seen.lease_epoch, seen.heartbeat) != (first.lease_epoch, first.heartbeat):
                return Finding.failed(LEASE, _held(job, seen))
    except Csv2KafkaError as error:
        return Finding.not_checked(LEASE, f"who holds it is not known: {error.message}")
    if seen is None or seen.owner is None:
        return Finding.passed(LEASE, "free")
    if seen.gone:
        return Finding.passed(LEASE, f"free: {seen.owner} had it, and that process has ended")
    return Finding.warned(
        LEASE,
        f"{seen.owner} has it{_heard(seen)}, and was silent for {lease_seconds:g} s",
        "a run takes it over; see that the other is really gone",
    )


async def _status(store: CheckpointStore, job: str) -> JobStatus | None:
    async with closing(store.jobs()) as statuses:
        async for status in statuses:
            if status.checkpoint.job == job:
                return status
    return None


def _held(job: str, status: JobStatus) -> LeaseHeld:
    return LeaseHeld(
        f"job {job!r}: another run has it: {status.owner} (epoch {status.lease_epoch}){_heard(status)}",
        hint="wait for it to end, or stop it; or give this run another --job name",
    )


def _heard(status: JobStatus) -> str:
    return f", last heard {local_time(status.heartbeat)}" if status.heartbeat else ""
