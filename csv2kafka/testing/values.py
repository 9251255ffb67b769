"""Values to feed a plug-in with: Records from rows, a Chunk from text, a Job."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate

from csv2kafka.model import Checkpoint, Chunk, Manifest, Position, Records, ResumePoint
from csv2kafka.protocols import Job

Row = tuple[bytes | None, bytes]
"""Key (None: no key) and value."""


def records(rows: Iterable[Row]) -> Records:
    """The rows as columns. Either all have keys, or none."""
    rows = list(rows)
    keys = [key for key, _ in rows if key is not None]
    assert len(keys) in (0, len(rows)), "a key for each row or for none"
    return Records(
        values=b"".join(value for _, value in rows),
        value_ends=array("I", accumulate(len(value) for _, value in rows)),
        keys=b"".join(keys) if keys else None,
        key_ends=array("I", accumulate(map(len, keys))) if keys else None,
    )


def chunk(data: bytes, header: tuple[str, ...], *, offset: int = 0, last: bool = True) -> Chunk:
    """A chunk of the first object, plain UTF-8, ``offset`` bytes into it."""
    return Chunk(
        data=data,
        object_index=0,
        offset=offset,
        header=header,
        last=last,
        marks=((offset, ResumePoint(offset=offset)),),
    )


def example_job(name: str = "example", *, run_id: str = "run-1", restart: bool = False) -> Job:
    """A job over one object, whose settings and sources agree with everything."""
    manifest = Manifest(objects=(("example.csv", 100, "version-1"),))
    start = Checkpoint(
        job=name,
        run_id=run_id,
        position=Position(uri="example.csv", version="version-1"),
        header=("a", "b"),
        manifest_digest=manifest.digest,
    )
    return Job(
        name=name,
        run_id=run_id,
        start=start,
        manifest=manifest,
        check=lambda checkpoint, kept: None,
        restart=restart,
    )
