"""How fast compressed sources are read, and what going on at nine tenths costs: ``python -m benchmarks.resume``.

Files of each kind are made of the same text, read once from beginning to end, and then again from the place that a
checkpoint at nine tenths would have. One process, decoding alone: no rows, no broker. Text is counted in MB of 10^6
bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import bz2
import lzma
import shutil
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import zstandard
from attrs import define, frozen

from benchmarks.data import MIXED_HEADER, mixed_table
from csv2kafka.decoding import decode
from csv2kafka.memory import keep_large_buffers
from csv2kafka.model import Block, ResumePoint

PART_ROWS = 40_000  # the text is this many rows, again and again: far more than any of the codecs looks back
READ_BYTES = 2 << 20
MEMBER_BYTES = 1 << 20  # of text, where there are many members
PLACE = 0.9


class Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


@frozen(kw_only=True)
class Kind:
    """``make``: a compressor of one member. ``many``: a member for each MEMBER_BYTES of text."""

    name: str
    make: Callable[[], Compressor]
    many: bool = False


KINDS = (
    Kind(name="gzip -6, one member", make=lambda: zlib.compressobj(6, wbits=31)),
    Kind(name="gzip -6, members of 1 MiB", make=lambda: zlib.compressobj(6, wbits=31), many=True),
    Kind(name="zstd -3, one frame", make=lambda: zstandard.ZstdCompressor(3).compressobj()),
    Kind(name="zstd -3, frames of 1 MiB", make=lambda: zstandard.ZstdCompressor(3).compressobj(), many=True),
    Kind(name="bzip2 -1", make=lambda: bz2.BZ2Compressor(1)),
    Kind(name="xz -0", make=lambda: lzma.LZMACompressor(preset=0)),
)


@define
class Reading:
    """A file's decoding; ``read`` counts its own bytes."""

    path: Path
    read: int = 0

    async def blocks(self, start: ResumePoint, offset: int) -> AsyncIterator[Block]:
        async with aclosing(
            decode(self._raw(start.offset), encoding="utf-8", start=start, offset=offset, uri=str(self.path))
        ) as blocks:
            async for block in blocks:
                yield block

    async def _raw(self, offset: int) -> AsyncIterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(offset)
            while data := await asyncio.to_thread(file.read, READ_BYTES):
                self.read += len(data)
                yield data


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="of text (1000)")
    parser.add_argument("--work", type=Path, help="where files are made, and deleted again")
    options = parser.parse_args()
    keep_large_buffers()
    directory = Path(tempfile.mkdtemp(prefix="csv2kafka-resume-", dir=options.work))
    size = options.megabytes * 1_000_000
    print("| file | size, MB | text, MB/s | resumed: read, MB | decompressed, MB | s to the first block |")
    print("|---|---|---|---|---|---|")
    try:
        for kind in KINDS:
            path = directory / "file"
            _write(path, kind, size)
            print(
                f"| {kind.name} | {path.stat().st_size / 1e6:.0f} | {asyncio.run(_measured(path, size))} |", flush=True
            )
    finally:
        shutil.rmtree(directory)


async def _measured(path: Path, size: int) -> str:
    began = time.perf_counter()
    at = Block(data=b"", offset=0, resume=ResumePoint())
    async for block in Reading(path).blocks(ResumePoint(), 0):
        if block.offset <= PLACE * size:
            at = block
    speed = size / (time.perf_counter() - began)
    again = Reading(path)
    began = time.perf_counter()
    blocks = again.blocks(at.resume, at.offset)
    first = await anext(blocks)
    seconds = time.perf_counter() - began
    assert first.offset == at.offset
    passed = at.resume.skip + len(first.data)
    return f"{speed / 1e6:.0f} | {again.read / 1e6:.1f} | {passed / 1e6:.1f} | {seconds:.3f}"


def _write(path: Path, kind: Kind, size: int) -> None:
    with path.open("wb") as file:
        compressor = kind.make()
        for part in _text(size):
            file.write(compressor.compress(part))
            if kind.many:
                file.write(compressor.flush())
                compressor = kind.make()
        if not kind.many:
            file.write(compressor.flush())


def _text(size: int) -> Iterator[bytes]:
    """The table in pieces of MEMBER_BYTES, cut off at ``size``."""
    text = ",".join(MIXED_HEADER).encode() + b"\r\n" + mixed_table(PART_ROWS)
    made = 0
    while made < size:
        for at in range(0, len(text), MEMBER_BYTES):
            part = text[at : at + MEMBER_BYTES][: size - made]
            made += len(part)
            if part:
                yield part


if __name__ == "__main__":
    main()
