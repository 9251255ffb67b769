"""What is seen of a run on standard error: a bar, lines, JSON, or nothing.

events ──▶ Tally (what they add up to) ──▶ one of four displays
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, Self

from csv2kafka.cli.progress.words import Words
from csv2kafka.errors import Csv2KafkaError
from csv2kafka.model import Event
from csv2kafka.model.report import Report

TICK_SECONDS = 1.0


class Display(Protocol):
    """Told of events from the loop, of the passing of time once a second, and of the outcome."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def on_event(self, event: Event) -> None: ...

    def tick(self) -> None: ...

    def stopping(self) -> None: ...

    def finished(self, report: Report) -> None: ...

    def failed(self, error: Csv2KafkaError, *, debug: bool) -> None: ...


def display(kind: str, words: Words) -> Display:
    """The display of that name; ``auto`` is rich on a terminal, else plain."""
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    if kind == "rich":
        from csv2kafka.cli.progress.bar import BarDisplay

        return BarDisplay(clock=time.monotonic, words=words)
    if kind == "json":
        from csv2kafka.cli.progress.lines import JsonDisplay

        return JsonDisplay(clock=time.monotonic, words=words)
    from csv2kafka.cli.progress.lines import PlainDisplay, QuietDisplay

    lines = PlainDisplay if kind == "plain" else QuietDisplay
    return lines(clock=time.monotonic, words=words)


class Ticked(Protocol):
    """What does something every so often."""

    def tick(self) -> None: ...


@asynccontextmanager
async def ticking(*those: Ticked) -> AsyncIterator[None]:
    """They hear of each second, whatever else happens or not."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for each in those:
                each.tick()

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
