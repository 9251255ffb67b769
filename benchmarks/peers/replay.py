"""The ceiling: batches are built beforehand by csv2kafka itself, and then only sent, as a run would send them.

``replay.py SOURCE SERVERS TOPIC REPORT BROKER_PID [COMPRESSION]``: the report gets the seconds from the first write
to the last commit's answer, and the CPU seconds of this process and of the broker meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from attrs import define, evolve, field

from csv2kafka import Pipeline, registry
from csv2kafka.config import RunConfig
from csv2kafka.model import Checkpoint, Completion, Manifest, Payload, Records
from csv2kafka.protocols import Job, Lease, Packer, SinkSession
from csv2kafka.testing import MemoryStore


@define(eq=False, kw_only=True)
class Collected:
    """A sink, and its session, that keep the payloads that are made for another session."""

    packer: Packer
    resume_from: Checkpoint
    payloads: list[Payload] = field(factory=list)
    destination: str = "memory"
    settings: dict[str, str] = field(factory=dict)

    @asynccontextmanager
    async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[SinkSession]:
        self.resume_from = job.start
        yield self

    async def standing(self) -> AsyncIterator[Records]:
        return
        yield

    async def write(self, payload: Payload) -> None:
        self.payloads.append(payload)

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        return checkpoint


async def build(parts: registry.Parts, session: SinkSession) -> list[Payload]:
    """All payloads of the source, in order, as a run makes them for this session."""
    sink = Collected(packer=session.packer, resume_from=session.resume_from)
    await Pipeline(parts.source, sink, MemoryStore(), encoder=parts.encoder, dialect=parts.dialect).run()
    return sink.payloads


async def send(session: SinkSession, payloads: list[Payload], interval: float) -> None:
    """Each in turn, a commit each interval, and the last."""
    checkpoint, committed = session.resume_from, time.monotonic()
    for payload in payloads:
        await session.write(payload)
        checkpoint = evolve(checkpoint, position=payload.after or checkpoint.position)
        if time.monotonic() - committed >= interval:
            checkpoint, committed = await session.commit(checkpoint), time.monotonic()
    await session.commit(checkpoint)


async def replay(source: str, servers: str, topic: str, broker_pid: str, *compression: str) -> dict[str, float]:
    """What the report says."""
    chosen: dict[str, Any] = {"compression": compression[0]} if compression else {}
    config = RunConfig(sources=(source,), bootstrap_servers=servers, topic=topic, **chosen)
    parts, broker = registry.build(config), psutil.Process(int(broker_pid))
    start = Checkpoint(job=topic, run_id=uuid.uuid4().hex)
    job = Job(name=start.job, run_id=start.run_id, start=start, manifest=Manifest(), check=lambda *_: None)
    async with parts.sink.open(job, None, None) as session:
        payloads = await build(parts, session)
        cpu, broker_cpu, began = os.times(), broker.cpu_times(), time.perf_counter()
        await send(session, payloads, config.checkpoint_interval)
        seconds, used, broker_used = time.perf_counter() - began, os.times(), broker.cpu_times()
    return {
        "seconds": seconds,
        "cpu_seconds": used.user + used.system - cpu.user - cpu.system,
        "broker_cpu_seconds": broker_used.user + broker_used.system - broker_cpu.user - broker_cpu.system,
    }


def main() -> None:
    source, servers, topic, report, *more = sys.argv[1:]
    told = asyncio.run(replay(source, servers, topic, *more))
    Path(report).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
