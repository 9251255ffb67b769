"""Compressed bytes to decompressed ones, a bounded piece at a time. Pure: bytes in, bytes out.

An object is one member or several, one after another (gzip calls them members, zstd frames, the others streams).
Each can be begun anew, so where one begins is a place to resume at. Behind a member zero bytes are passed, as on
tapes and in block devices; anything else that is no member is an error, so that nothing is lost in silence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

from csv2kafka.decoding.compression import Codec, Point, point_of

PIECE_BYTES = 1 << 20  # decompressed at once, however little they were before
PADDING_BYTES = 64 << 10  # passed at once


class Damaged(Exception):
    """The data is not what it should be; ``offset``: where in the object's own bytes."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Expander(ABC):
    """Fed with an object's own bytes in order, gives the decompressed ones.

    ``point``: where the first byte fed stands, with what its codec kept of it, ``extra``. ``made``: decompressed bytes
    so far, all before ``point`` included.
    """

    codec: Codec

    def __init__(self, point: Point, extra: Mapping[str, Any]) -> None:
        self._points = deque([point])
        self.made = point.made
        self.hungry = True  # nothing more can be made of what was fed
        self._data = b""
        self._used = 0  # of the data
        self._behind = point.offset  # own bytes before the data
        self._within = False  # a member
        self._began_at = self._behind
        self._members = 0
        self._zeros = 0
        self._fault: Damaged | None = None
        self._piece_from = self.made

    @property
    def offset(self) -> int:
        """The object's own bytes that are used."""
        return self._behind + self._used

    def feed(self, data: bytes) -> None:
        """More of the object's bytes, once it is ``hungry``."""
        self._behind += self._used
        self._data, self._used = self._data[self._used :] + data, 0
        self.hungry = False

    def expand(self, limit: int = PIECE_BYTES) -> bytes:
        """The next ``limit`` bytes, or fewer: then it is ``hungry``, or the next call raises Damaged."""
        if self._fault:
            raise self._fault
        self._piece_from = self.made
        parts: list[bytes] = []
        size = 0
        try:
            while size < limit:
                if not self._within and not self._begin():
                    self.hungry = True
                    break
                part = self._inside(limit - size)
                if part:
                    parts.append(part)
                    size += len(part)
                    self.made += len(part)
                elif self._within:
                    self.hungry = True
                    break
        except Damaged as fault:
            self._fault = fault
            if not parts:
                raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def finish(self) -> None:
        """The object has ended. Damaged if that is in the middle of a member."""
        if self._within or self._used < len(self._data):
            where = self._began_at if self._within else self.offset
            raise Damaged(
                f"expected the rest of the {self.codec.unit} that begins at byte {where}, found the object's end",
                self._behind + len(self._data),
            )
        self._check_padding()

    def point(self, made: int) -> Point:
        """The last place to resume at that has ``made`` decompressed bytes or fewer before it. ``made`` only grows."""
        while len(self._points) > 1 and self._points[1].made <= made:
            self._points.popleft()
        return self._points[0]

    def _note(self, made: int, offset: int, extra: Mapping[str, Any] | None = None) -> None:
        """A place to resume at: the last of each piece is enough, beside the one where the piece begins."""
        last = self._points[-1].made
        if len(self._points) > 1 and (last > self._piece_from or last == made):
            self._points.pop()
        self._points.append(point_of(self.codec.name, offset=offset, made=made, extra=extra))

    def _begin(self) -> bool:
        """Go on to the next member; False if it is not there yet."""
        self._pass_padding()
        head = self._data[self._used : self._used + self.codec.magic_bytes]
        if not self.codec.magic.match(head):
            if len(head) == self.codec.magic_bytes:
                raise self._no_member(head)
            return False
        self._check_padding()
        if self._members:
            self._note(self.made, self.offset)
        self._within, self._began_at = True, self.offset
        self._members += 1
        self._zeros = 0
        self._enter()
        return True

    def _pass_padding(self) -> None:
        while self._members and self._data[self._used : self._used + 1] == b"\0":
            rest = self._data[self._used : self._used + PADDING_BYTES]
            zeros = len(rest) - len(rest.lstrip(b"\0"))
            self._used += zeros
            self._zeros += zeros

    def _check_padding(self) -> None:
        unit = self.codec.padding
        if self._zeros % unit:
            raise Damaged(f"expected a multiple of {unit} zero bytes as padding, found {self._zeros}", self.offset)

    def _no_member(self, head: bytes) -> Damaged:
        return Damaged(f"expected another {self.codec.unit} or the object's end, found {head.hex(' ')} …", self.offset)

    @abstractmethod
    def _enter(self) -> None:
        """A member begins at ``_used``."""

    @abstractmethod
    def _inside(self, limit: int) -> bytes:
        """At most ``limit`` bytes of the member; none if more data is needed, or with its end, which clears
        ``_within``."""
