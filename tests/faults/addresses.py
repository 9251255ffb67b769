"""Puts other addresses into Metadata and FindCoordinator answers, of every version; the rest stays as it is."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable

StandIn = Callable[[str, int], Awaitable[tuple[str, int]]]


async def rewritten(api: str, version: int, frame: bytes, stand_in: StandIn) -> bytes:
    """The answer, from its correlation id on, with each broker's address exchanged by ``stand_in``."""
    if api == "Metadata":
        return await _metadata(version, frame, stand_in)
    if api == "FindCoordinator":
        return await _coordinator(version, frame, stand_in)
    return frame


async def _metadata(version: int, frame: bytes, stand_in: StandIn) -> bytes:
    walk = _Walk(frame, compact=version >= 9)
    walk.copy(4)  # correlation id
    walk.copy_tags()
    if version >= 3:
        walk.copy(4)  # throttle time
    for _ in range(walk.copy_count()):
        walk.copy(4)  # node id
        await walk.exchange_address(stand_in)
        if version >= 1:
            walk.copy_text()  # rack
        walk.copy_tags()
    return walk.finished()


async def _coordinator(version: int, frame: bytes, stand_in: StandIn) -> bytes:
    walk = _Walk(frame, compact=version >= 3)
    walk.copy(4)
    walk.copy_tags()
    if version >= 1:
        walk.copy(4)
    if version >= 4:
        for _ in range(walk.copy_count()):
            walk.copy_text()  # key
            walk.copy(4)  # node id
            await walk.exchange_address(stand_in)
            walk.copy(2)  # error
            walk.copy_text()
            walk.copy_tags()
    else:
        walk.copy(2)
        if version >= 1:
            walk.copy_text()
        walk.copy(4)
        await walk.exchange_address(stand_in)
    return walk.finished()


class _Walk:
    """Goes through a message from its beginning and copies as it goes."""

    def __init__(self, frame: bytes, *, compact: bool) -> None:
        self._frame = frame
        self._compact = compact
        self._at = 0
        self._out = bytearray()

    def copy(self, size: int) -> None:
        self._out += self._frame[self._at : self._at + size]
        self._at += size

    def copy_tags(self) -> None:
        if self._compact:
            start = self._at
            for _ in range(self._varint()):
                self._varint()
                self._at += self._varint()
            self._copied(start)

    def copy_count(self) -> int:
        start = self._at
        count = self._varint() - 1 if self._compact else self._number(">i")
        self._copied(start)
        return count

    def copy_text(self) -> None:
        start = self._at
        self._text()
        self._copied(start)

    async def exchange_address(self, stand_in: StandIn) -> None:
        host, port = self._text(), self._number(">i")
        if host:
            host, port = await stand_in(host, port)
        text = host.encode()
        self._out += bytes([len(text) + 1]) if self._compact else struct.pack(">h", len(text))  # hosts are short
        self._out += text + struct.pack(">i", port)

    def finished(self) -> bytes:
        return bytes(self._out + self._frame[self._at :])

    def _copied(self, start: int) -> None:
        self._out += self._frame[start : self._at]

    def _text(self) -> str:
        size = self._varint() - 1 if self._compact else self._number(">h")
        start = self._at
        self._at += max(0, size)
        return self._frame[start : self._at].decode()

    def _number(self, kind: str) -> int:
        (value,) = struct.unpack_from(kind, self._frame, self._at)
        self._at += struct.calcsize(kind)
        return int(value)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._frame[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
