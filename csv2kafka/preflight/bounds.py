"""A bound for each thing that is asked, and for how long what answers stays open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from csv2kafka.errors import Doubt

ANSWER_SECONDS = 30.0

T = TypeVar("T")


async def bounded(work: Awaitable[T], what: str, seconds: float = ANSWER_SECONDS) -> T:
    """The result; Doubt if it does not come in time. ``what``: begins the message."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise Doubt(f"{what}: no answer in {seconds:g} s") from error


@asynccontextmanager
async def closing(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Closes what may be left before its end, if it is a generator: a protocol says only that it can be iterated."""
    try:
        yield items
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
