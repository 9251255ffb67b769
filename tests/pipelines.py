"""Pipelines over the fakes of ``csv2kafka.testing``: the same job again and again, as new processes would run it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from attrs import define, field

from csv2kafka.model import Checkpoint, Event
from csv2kafka.model.report import Report
from csv2kafka.pipeline import Pipeline
from csv2kafka.protocols import Job, Lease, SinkSession, Source
from csv2kafka.testing import FakeSource, MemorySink, MemoryStore

E = TypeVar("E")
URI = "rows.csv"


def csv_text(rows: int, first: int = 0) -> bytes:
    """``id,name`` and that many rows."""
    return b"id,name\n" + b"".join(b"%d,name %d\n" % (row, row) for row in range(first, first + rows))


def values(rows: int, first: int = 0) -> list[bytes]:
    """What ``csv_text`` becomes."""
    return [b'{"id":"%d","name":"name %d"}' % (row, row) for row in range(first, first + rows)]


def source_of(text: bytes, **options: Any) -> FakeSource:
    """One object."""
    return FakeSource({URI: text}, **options)


@define
class Place:
    """A job's surroundings, which outlive its runs. ``events``: of all runs, in order."""

    source: Source
    sink: MemorySink = field(factory=MemorySink)
    store: MemoryStore = field(factory=MemoryStore)
    events: list[Event] = field(factory=list)

    def pipeline(self, **options: Any) -> Pipeline:
        """A new run of the job."""
        return Pipeline(
            options.pop("source", self.source),
            options.pop("sink", self.sink),
            options.pop("store", self.store),
            **{"job": "job", "on_event": self.events.append, **options},
        )

    async def run(self, **options: Any) -> Report:
        return await self.pipeline(**options).run()

    @property
    def values(self) -> list[bytes]:
        return [value for _, value in self.sink.rows]

    def told(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@define
class Wrapped:
    """A MemorySink whose sessions are what ``wrap`` makes of them."""

    inner: MemorySink
    wrap: Callable[[SinkSession], SinkSession]

    @property
    def destination(self) -> str:
        return self.inner.destination

    @property
    def settings(self) -> dict[str, str]:
        return self.inner.settings

    @asynccontextmanager
    async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[SinkSession]:
        async with self.inner.open(job, stored, lease) as session:
            yield self.wrap(session)


async def until(done: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.001)
