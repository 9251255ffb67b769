"""What moves between the stages: bytes in MiB, and columns of rows. Never one Python object per row.

    SourceObject ──bytes──▶ Block ──▶ Chunk ──▶ Records ──▶ Payload

Offsets named *decoded* count bytes of an object's text after decompression and conversion to UTF-8; for a
plain UTF-8 file they are the file's own offsets, BOM included. Buffers are ``bytes``-like.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from attrs import evolve, field, frozen
from typing_extensions import Buffer

from csv2kafka.model.state import Position, ResumePoint

DEFAULT_MAX_RECORD = 16 << 20  # bytes of the longest record, unless told otherwise


@frozen(kw_only=True)
class Dialect:
    """How the CSV is written (RFC 4180 by default). Each character is one ASCII byte.

    ``quote=None`` switches quoting off. With ``escape`` the byte after it stands for itself, inside quotes
    and outside, as in Python's ``csv``; doubled quotes still mean one quote. A line that begins (at a record's
    start) with ``comment`` is skipped.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    comment: str | None = None


@frozen(kw_only=True)
class SourceObject:
    """One file or object of a source, pinned to the version it had when the job began.

    ``size`` in bytes, None when unknown. ``version`` is compared as it stands (ETag, VersionId, or
    ``size=…,mtime=…,fingerprint=…``). ``replayable`` is False for what can be read only once (standard input).
    """

    uri: str
    size: int | None
    version: str
    replayable: bool = True


@frozen(eq=False, kw_only=True)
class Block:
    """A stretch of an object's decoded text, as decoding gives it: 1–4 MiB, cut anywhere.

    ``offset``: decoded offset of ``data[0]``. ``resume``: where reading can begin again to give ``data[0]``.
    ``read``: of a compressed object, its own bytes that it took to get this far.
    """

    data: bytes
    offset: int
    resume: ResumePoint
    read: int = 0


@frozen(eq=False, kw_only=True)
class Broken:
    """Framing cannot go on: a quote never closed, or a record longer than the limit."""

    reason: str
    hint: str


@frozen(eq=False, kw_only=True)
class Chunk:
    """Whole records of one object, to be encoded on their own.

    ``offset``: decoded offset of ``data[0]``, a record's start. ``header``: the object's column names.
    ``last``: nothing of this object follows, so a record without line end is whole. ``marks``: (decoded
    offset, ResumePoint) of each block the data came from, rising, the first at or before ``offset``.
    ``lines_before``: lines between the chunk before (or the object's start) and this one that are in neither:
    the header's. ``broken``: framing stopped at this chunk's *end* (``offset + len(data)``); nothing follows.
    ``converted``: from another encoding than UTF-8; what is not valid in it stands for bytes that could not be decoded.
    """

    data: bytes
    object_index: int
    offset: int
    header: tuple[str, ...]
    last: bool
    marks: tuple[tuple[int, ResumePoint], ...]
    lines_before: int = 0
    broken: Broken | None = None
    converted: bool = False

    def resume_at(self, offset: int) -> ResumePoint:
        """Where reading can begin again to give the byte at the decoded ``offset`` (within this chunk)."""
        at = bisect_right(self.marks, offset, key=lambda mark: mark[0]) - 1
        start, point = self.marks[at]
        return point.forward(offset - start)


@frozen(eq=False, kw_only=True)
class RefusedRow:
    """A row the encoder or packer refused, by its place in the chunk.

    ``index``: good rows of the chunk before it. ``start``/``end``: its first byte, and the end of its content
    without line end, in the chunk's data. ``line``: lines of the chunk before the row's first.
    """

    index: int
    start: int
    end: int
    line: int
    reason: str


RECORD_OVERHEAD = 12  # bytes of a record in a batch beside key and value; a few more where one is long


class HeldRows(ABC):
    """Values and keys that a kernel keeps in a form of its own, so that they need not be copied to be worked on."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of values and keys together."""

    @abstractmethod
    def values(self) -> Buffer:
        """As ``Records`` has them."""

    @abstractmethod
    def keys(self) -> Buffer | None:
        """As ``Records`` has them."""


@frozen(eq=False, kw_only=True)
class Records:
    """Encoded rows as columns: one buffer of values with the end of each, and the same for keys.

    ``*_ends``, ``row_ends`` and ``row_lines`` index to ints, one for each good row, and support the buffer
    protocol as native uint32 (``array('I')`` or a memoryview cast to ``'I'``). ``keys`` and ``key_ends`` are
    None when the records have no keys.
    What holds the rows may be given as ``values`` instead of them, without ``keys``; then both are made of it when
    they are asked for, which costs a copy.
    ``row_ends``: where the row ended in the chunk's data, line end included. ``row_lines``: lines of the chunk
    passed at that end. ``bad``: refused rows, in order. ``end``/``lines``: where the last whole record (or
    blank line, or comment) ended, and the lines passed there; ``unfinished`` is True if that is not the end of
    the chunk's data: the chunk was cut inside a record.
    ``row_ends``/``row_lines`` are empty for records that were read back from a sink.
    """

    _values: Buffer | HeldRows
    value_ends: Sequence[int]
    _keys: Buffer | None = None
    key_ends: Sequence[int] | None = None
    row_ends: Sequence[int] = ()
    row_lines: Sequence[int] = ()
    bad: tuple[RefusedRow, ...] = ()
    end: int = 0
    lines: int = 0
    unfinished: bool = False

    def __len__(self) -> int:
        return len(self.value_ends)

    @property
    def values(self) -> Buffer:
        return self._values.values() if isinstance(self._values, HeldRows) else self._values

    @property
    def keys(self) -> Buffer | None:
        return self._values.keys() if isinstance(self._values, HeldRows) else self._keys

    @property
    def held(self) -> HeldRows | None:
        """What holds the rows, for the kernel that made it."""
        return self._values if isinstance(self._values, HeldRows) else None

    @property
    def size(self) -> int:
        """Bytes of values and keys together, as far as they are held."""
        if isinstance(self._values, HeldRows):
            return self._values.size
        return memoryview(self._values).nbytes + (0 if self._keys is None else memoryview(self._keys).nbytes)

    def places(self) -> Records:
        """The same without values and keys: for what only asks where rows ended."""
        return evolve(self, values=b"", keys=None)

    def rows(self, first: int = 0, last: int | None = None) -> Iterator[tuple[bytes | None, bytes]]:
        """(key, value) of the good rows ``first`` to ``last`` (excluded), one at a time: the slow way."""
        values, keys = memoryview(self.values), None if self.key_ends is None else memoryview(self.keys or b"")
        stop = len(self) if last is None else last
        value_start = self.value_ends[first - 1] if first else 0
        key_start = self.key_ends[first - 1] if first and self.key_ends is not None else 0
        for row in range(first, stop):
            value_end = self.value_ends[row]
            key = None
            if keys is not None and self.key_ends is not None:
                key_end = self.key_ends[row]
                key = bytes(keys[key_start:key_end])
                key_start = key_end
            yield key, bytes(values[value_start:value_end])
            value_start = value_end


class Target(enum.Enum):
    """Where a payload goes."""

    DATA = "data"
    DEAD_LETTER = "dead-letter"


@frozen(eq=False, kw_only=True)
class Payload:
    """Rows in the sink's own wire form, ready to be written whole.

    ``first``/``last``: the good rows of the packed Records it holds (last excluded); for dead letters, of the
    refused rows given. ``after``: the position behind it, once the pipeline has put it in order; None where a
    commit is not possible, because what belongs with it comes next.
    """

    target: Target
    body: bytes | bytearray
    first: int
    last: int
    after: Position | None = None


@frozen(eq=False, kw_only=True)
class DeadLetter:
    """A refused row on its way to the dead-letter target, with its place in the source (row, line from 1)."""

    value: bytes
    source: str
    row: int
    line: int
    byte: int
    reason: str


@frozen(eq=False, kw_only=True)
class Packed:
    """What a packer made of Records: payloads in row order, and the rows that fit in none of any size."""

    payloads: tuple[Payload, ...]
    too_large: tuple[tuple[int, str], ...] = field(default=())  # (good-row index, reason)
