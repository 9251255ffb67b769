"""The way from a source to encoded rows, in order: read ahead, decode, frame, encode in threads.

Shared by the pipeline, verify, preview and check, which differ only in what they do with each chunk's rows.

    prefetch task          feeder task                     worker threads         whoever iterates
    source.read ─▶ decode ─▶ bounded queue ─▶ Framer.feed ─▶ work(chunk), several ─▶ results, in order

``encoded``: how a source is read, and a chunk's rows with their places; ``one_object``: the tasks and their bounds.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeVar

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.errors import DataError
from csv2kafka.model import Chunk, Position, Records, SourceObject
from csv2kafka.reading.encoded import (
    Encoded,
    Reading,
    bytes_before,
    close_source,
    reading_from,
    total_bytes,
)
from csv2kafka.reading.one_object import ObjectRows, Work

__all__ = [
    "Encoded",
    "Reading",
    "as_they_are",
    "bytes_before",
    "close_source",
    "read_rows",
    "reading_from",
    "total_bytes",
]

T = TypeVar("T")

MOST_WORKERS = 4  # more would only wait: for their turn, or for the sink


async def read_rows(
    reading: Reading,
    objects: Sequence[SourceObject],
    start: Position,
    header: tuple[str, ...],
    work: Work[T],
    size: ChunkSize | None = None,
) -> AsyncGenerator[Encoded[T], None]:
    """Encode everything from ``start`` to the end of the last object.

    ``header``: the job's column names where ``start`` is not its very beginning. ``work`` runs in a thread on
    each chunk's records, and gives what is wanted of them and what it made; it may be called for a chunk that is
    then thrown away. ``size``: of chunks.
    Raises DataError where headers differ or framing cannot go on, after all rows before that place were given.
    """
    position = start
    passed = sum(obj.size or 0 for obj in objects[: start.object_index])
    size = size or ChunkSize()
    workers = ThreadPoolExecutor(min(_usable_cpus(), MOST_WORKERS), thread_name_prefix="csv2kafka-encode")
    try:
        for index in range(start.object_index, len(objects)):
            obj = objects[index]
            if index > start.object_index:
                position = Position(object_index=index, uri=obj.uri, version=obj.version, rows=position.rows)
            # In the middle of an object; without names before its first record: then they are that record's.
            known = (header or None) if position.offset > 0 else None
            rows = ObjectRows(
                reading=reading, obj=obj, index=index, passed=passed, work=work, size=size, workers=workers
            )
            async with aclosing(rows.run(position, known)) as encoded:
                async for item in encoded:
                    if item.chunk.header and item.chunk.header != header:  # an object of 0 bytes has none
                        header = _agreed(header, item.chunk.header, objects, index)
                    position = item.end()
                    yield item
            passed += obj.size or 0
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def as_they_are(chunk: Chunk, records: Records) -> tuple[Records, None]:
    """Work for ``read_rows`` where the records themselves are wanted."""
    return records, None


def _usable_cpus() -> int:
    """Those this process may use: a container or ``taskset`` gives fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _agreed(
    known: tuple[str, ...], found: tuple[str, ...], objects: Sequence[SourceObject], index: int
) -> tuple[str, ...]:
    if not known:
        return found
    column = next((i for i, pair in enumerate(zip(known, found, strict=False)) if pair[0] != pair[1]), None)
    if column is None:
        what = f"expected {len(known)} columns, found {len(found)}"
    else:
        what = f"column {column + 1}: expected {known[column]!r}, found {found[column]!r}"
    first = f" of {objects[0].uri}" if index else " the job began with"
    raise DataError(
        f"{objects[index].uri}: its header differs from that{first}: {what}",
        hint="all objects of a job have the same columns; load this one as a job of its own",
    )
