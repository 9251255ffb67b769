"""Raw deflate, which gzip is made of, as a stream with bounded output."""

from __future__ import annotations

import zlib
from typing import Literal

Stop = Literal["more", "boundary", "end", "damage"]


def crc32(data: bytes, crc: int = 0) -> int:
    """CRC-32, gzip's check sum, of ``data`` behind what gave ``crc``."""
    return zlib.crc32(data, crc)


class Inflater:
    """A raw deflate stream. ``window``: what stands before its first byte, 32 KiB of it at most."""

    def __init__(self, window: bytes | None = None) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS, zdict=window or b"")
        self._damaged = False

    def inflate(self, data: bytes, start: int, limit: int, to_boundary: bool = False) -> tuple[bytes, int, Stop]:
        """At most ``limit`` bytes, how many of ``data`` from ``start`` on were used, and why it stopped.

        ``more``: the data is used up or the limit reached; ``end``: of the stream; ``damage``: what is behind the
        bytes given is not deflate. ``boundary``: between two of the stream's blocks, with ``to_boundary``; this
        implementation, whose zlib does not tell, knows none.
        """
        rest = data[start:]
        if self._damaged:
            return b"", 0, "damage"
        before = self._stream.copy()
        try:
            made = self._stream.decompress(rest, limit)
        except zlib.error:
            self._stream, self._damaged = before, True
            made = self._up_to_damage(rest, limit)
            return made, len(rest) - len(self._stream.unconsumed_tail), "damage"
        left = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return made, len(rest) - len(left), "end" if self._stream.eof else "more"

    def _up_to_damage(self, rest: bytes, limit: int) -> bytes:
        """The same again byte by byte, since an error takes with it what was made before."""
        made = bytearray()
        try:
            while len(made) < limit:
                made += self._stream.decompress(rest, 1)
                rest = self._stream.unconsumed_tail
        except zlib.error:
            pass
        return bytes(made)
