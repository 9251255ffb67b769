"""An object's own bytes to blocks of text: decompressed, if it is compressed, and converted to UTF-8."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from attrs import evolve

from csv2kafka.decoding.compression import Start, beginning, codec_of, resume_at, start_of, undecided
from csv2kafka.decoding.members import Damaged
from csv2kafka.decoding.text import PIECE_BYTES, TextDecoder
from csv2kafka.errors import DataError, StateContradiction
from csv2kafka.model import Block, ResumePoint

PASSED_QUIETLY_BYTES = 64 << 20  # decompressed again on resuming, without a word: a fraction of a second

_log = logging.getLogger(__name__)


async def decode(
    raw: AsyncIterator[bytes], *, encoding: str, start: ResumePoint, offset: int, uri: str = ""
) -> AsyncGenerator[Block, None]:
    """The object's text from ``start`` on, whose decoded offset is ``offset``. ``raw`` begins at ``start.offset``.

    Whether it is compressed its first bytes tell, or ``start``. Closes ``raw`` when it ends or is closed. DataError
    where a codec cannot mark what it cannot decode, and where compressed data is damaged or cut off; all before
    that place has been given then.
    """
    try:
        head = b""
        compressed = start_of(start, uri)
        if compressed:
            _tell_of_passing(compressed, uri)
        elif start == ResumePoint():
            head = await _head(raw)
            codec = codec_of(head, uri)
            compressed = beginning(codec) if codec else None
        async with aclosing(_chained(head, raw)) as pieces:
            with _resuming(start, uri):
                if compressed:
                    blocks = _Expanding(encoding, compressed, offset=offset, uri=uri).blocks(pieces)
                else:
                    blocks = _as_they_are(pieces, TextDecoder(encoding, start=start, offset=offset, uri=uri))
            async with aclosing(blocks):
                async for block in blocks:
                    yield block
    finally:
        if isinstance(raw, AsyncGenerator):
            await raw.aclose()


@contextmanager
def _resuming(start: ResumePoint, uri: str) -> Iterator[None]:
    """StateContradiction where the state is not one that this object's decoder has given."""
    try:
        yield
    except (ValueError, KeyError, TypeError, OverflowError, zlib.error) as error:
        if start.state is None:
            raise
        raise StateContradiction(
            f"{uri}: the checkpoint's resume point is not of this decoder: {start.state[:80]}",
            hint="use the csv2kafka that wrote it, or --restart to begin at row 0",
        ) from error


async def _head(raw: AsyncIterator[bytes]) -> bytes:
    """As much as it takes to tell what it is."""
    head = b""
    async for data in raw:
        head += data
        if not undecided(head):
            break
    return head


async def _chained(head: bytes, raw: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if head:
        yield head
    async for data in raw:
        yield data


async def _as_they_are(pieces: AsyncIterator[bytes], decoder: TextDecoder) -> AsyncGenerator[Block, None]:
    async for data in pieces:
        if decoder.untouched:
            for block in decoder.feed(data):
                yield block
            continue
        for at in range(0, len(data), PIECE_BYTES):
            for block in await asyncio.to_thread(decoder.feed, data[at : at + PIECE_BYTES]):
                yield block
    for block in decoder.finish():
        yield block


class _Expanding:
    """Two layers: bytes decompressed in pieces, and those to text. Each piece is a thread's work."""

    def __init__(self, encoding: str, start: Start, *, offset: int, uri: str) -> None:
        self._expander = start.codec.expander()(start.point, start.extra)
        self._decoder = TextDecoder(encoding, start=start.text, offset=offset, uri=uri)
        self._drop = start.drop
        self._uri = uri

    async def blocks(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[Block, None]:
        async for data in pieces:
            self._expander.feed(data)
            while not self._expander.hungry:
                for block in await asyncio.to_thread(self._step):
                    yield block
        try:
            self._expander.finish()
        except Damaged as damage:
            raise self._error(damage) from None
        for block in self._decoder.finish():
            yield self._placed(block)

    def _step(self) -> list[Block]:
        try:
            piece = self._expander.expand()
        except Damaged as damage:
            raise self._error(damage) from damage.__cause__
        dropped = min(self._drop, len(piece))
        self._drop -= dropped
        return [self._placed(block) for block in self._decoder.feed(piece[dropped:])]

    def _placed(self, block: Block) -> Block:
        """Its text's place in decompressed bytes becomes one in the object's own."""
        point = self._expander.point(block.resume.offset)
        return evolve(block, resume=resume_at(point, block.resume), read=self._expander.offset)

    def _error(self, damage: Damaged) -> DataError:
        place = f"near byte {damage.offset} (behind {self._expander.made} decompressed bytes)"
        return DataError(
            f"{self._uri}: {place}: {damage.reason}",
            hint="it is damaged, or was cut off when it was written or copied: put it there again, whole",
        )


def _tell_of_passing(start: Start, uri: str) -> None:
    if start.passing > PASSED_QUIETLY_BYTES:
        _log.warning(
            "%s: %s cannot be taken up just anywhere: reading it from byte %d on, %d decompressed bytes to pass",
            *(uri, start.codec.name, start.point.offset, start.passing),
        )
