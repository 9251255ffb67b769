"""Compressed objects for tests, and the decoding of them with everything small."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import zstandard

from csv2kafka.decoding import decode
from csv2kafka.decoding import gzip as gzip_stage
from csv2kafka.model import Block, ResumePoint

CODECS = ("gzip", "zstd", "bzip2", "xz")
ENDINGS = {"gzip": ".gz", "zstd": ".zst", "bzip2": ".bz2", "xz": ".xz"}


def member(codec: str, data: bytes) -> bytes:
    """One member, with a check sum."""
    if codec == "gzip":
        return gzip.compress(data, mtime=0)
    if codec == "zstd":
        return zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return bz2.compress(data) if codec == "bzip2" else lzma.compress(data)


def many_blocks(data: bytes, *, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY, flush: int = 0) -> bytes:
    """A gzip member of blocks of some hundred bytes; ``flush`` (a zlib mode) puts empty blocks between parts."""
    stream = zlib.compressobj(level, zlib.DEFLATED, 31, 1, strategy)
    parts = [data[at : at + 700] for at in range(0, len(data), 700)] if flush else [data]
    body = b"".join(stream.compress(part) + (stream.flush(flush) if flush else b"") for part in parts)
    return body + stream.flush()


@contextmanager
def small_points(*, point_bytes: int = 500, proof_bytes: int = 400) -> Iterator[None]:
    """Places to resume at within a member lie close together."""
    with mock.patch.multiple(gzip_stage, POINT_BYTES=point_bytes, PROOF_BYTES=proof_bytes):
        yield


async def pieces(data: bytes, sizes: Sequence[int]) -> AsyncIterator[bytes]:
    """The data in pieces of these sizes, again and again."""
    at, turn = 0, 0
    while at < len(data):
        yield data[at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


async def decoded(
    data: bytes,
    sizes: Sequence[int] = (1 << 20,),
    *,
    start: ResumePoint | None = None,
    offset: int = 0,
    encoding: str = "utf-8",
    uri: str = "a.csv",
    into: list[Block] | None = None,
) -> list[Block]:
    """The blocks; in ``into`` also those before an error."""
    start = start or ResumePoint()
    blocks = [] if into is None else into
    async for block in decode(
        pieces(data[start.offset :], sizes), encoding=encoding, start=start, offset=offset, uri=uri
    ):
        blocks.append(block)
    return blocks


def text_of(blocks: Sequence[Block]) -> bytes:
    return b"".join(block.data for block in blocks)
