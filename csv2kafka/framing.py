"""Cuts an object's text into chunks of whole records: the only scan that must go in order.

Counting quotes is fast and right for well-formed files, and the encoder checks it (``Records.unfinished``). The
exact machine is used where counting finds no boundary, for dialects whose escapes or comments break the count,
at an object's end, and throughout with ``exact=True``, which is how one goes on behind a wrong count.
Pure: no files, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from csv2kafka import kernel
from csv2kafka.errors import DataError
from csv2kafka.model import DEFAULT_MAX_RECORD, Block, Broken, Chunk, Dialect, ResumePoint

CHUNK_BYTES = 1 << 20

_EAGER_BYTES = 64 << 10  # a record up to this long is searched for anew with every block


class Framer:
    """Fed with the blocks of one object, in order, gives its chunks.

    Keeps at most ``max_record`` bytes or a chunk, and a block.

    ``header``: the column names, when the first block is not the object's start (or they are known). None: they
    are taken from the first record (``has_header``), or from ``columns``; where there are neither, they are
    ``column0``, ``column1`` and so on. ``columns`` replaces the names in the file.
    ``max_record``: bytes of the longest record, line end included. ``chunk_bytes``: about how long chunks are, or
    what says so from the header, asked again and again.
    ``uri`` names the object in errors.
    """

    def __init__(
        self,
        dialect: Dialect,
        object_index: int,
        *,
        header: tuple[str, ...] | None = None,
        columns: tuple[str, ...] | None = None,
        has_header: bool = True,
        max_record: int = DEFAULT_MAX_RECORD,
        chunk_bytes: int | Callable[[tuple[str, ...]], int] = CHUNK_BYTES,
        exact: bool = False,
        uri: str = "",
    ) -> None:
        self._dialect = dialect
        self._object_index = object_index
        self._columns = columns
        self._has_header = has_header
        self._header = columns if header is None and not has_header else header
        self._max_record = max_record
        self._chunk_bytes = chunk_bytes
        self._counting = not (exact or dialect.escape or dialect.comment)
        self._quote = ord(dialect.quote) if dialect.quote else None
        self._where = f"{uri}: " if uri else ""
        self._text = _Text()
        self._offset = 0  # decoded offset of the text's first byte
        self._marks: list[tuple[int, ResumePoint]] = []
        self._lines_before = 0
        self._in_vain = 0  # bytes of the text that were searched and have no boundary
        self._over = False

    def feed(self, block: Block, *, more: bool = False) -> list[Chunk]:
        """The chunks that can be cut now. ``more``: what is less than a chunk waits for the next block, or ``flush``.

        DataError if the header is at fault.
        """
        if self._over:
            return []
        if not self._marks:
            self._offset = block.offset
        self._marks.append((block.offset, block.resume))
        self._text.add(block.data)
        return list(self._cut(final=False, more=more))

    def flush(self) -> list[Chunk]:
        """What waited."""
        return list(self._cut(final=False))

    def finish(self) -> list[Chunk]:
        """The object has ended: its last chunks. The last has ``last`` set, or ``broken``; it may be empty."""
        return list(self._cut(final=True))

    def _cut(self, *, final: bool, more: bool = False) -> Iterator[Chunk]:
        if self._header is None and not self._over:
            self._header = self._take_header(final)
            if self._header is None:
                return
        while not self._over:
            size = self._text.size
            if not final and size < max(self._worth_searching(), self._wanted() if more else 0):
                return
            window = self._window(size)
            at_end = final and window == size
            boundary = self._boundary(window, final=at_end)
            if at_end:
                yield self._last_chunk(boundary)
            elif boundary:
                self._in_vain = 0
                yield self._chunk(boundary)
            elif window == self._max_record and size > window:
                yield self._broken_chunk(0, _too_long(self._max_record))
            else:
                self._in_vain = window

    def _worth_searching(self) -> int:
        """Bytes the text should have; twice those searched already, so that a long record costs two scans."""
        return self._in_vain + 1 if self._in_vain < _EAGER_BYTES else min(2 * self._in_vain, self._max_record + 1)

    def _window(self, size: int) -> int:
        """How much of the text to look at: about a chunk, more if that was in vain, never more than a record."""
        return min(max(self._wanted(), 2 * self._in_vain), size, self._max_record)

    def _wanted(self) -> int:
        return self._chunk_bytes if isinstance(self._chunk_bytes, int) else self._chunk_bytes(self._header or ())

    def _boundary(self, window: int, *, final: bool) -> int:
        boundary = 0
        if self._counting and not final:
            boundary = kernel.find_boundary(self._text.pieces, self._quote, window)
        return boundary or kernel.find_boundary_exact(self._text.whole(), self._dialect, window, final=final)

    def _chunk(self, length: int, *, last: bool = False, broken: Broken | None = None) -> Chunk:
        """Cut the first ``length`` bytes off the text."""
        assert self._header is not None
        offset, end = self._offset, self._offset + length
        marks = tuple(mark for mark in self._marks if mark[0] < end) or tuple(self._marks[:1]) or _NO_MARKS
        lines_before, self._lines_before = self._lines_before, 0
        return Chunk(
            data=self._take(length),
            object_index=self._object_index,
            offset=offset,
            header=self._header,
            last=last,
            marks=marks,
            lines_before=lines_before,
            broken=broken,
        )

    def _take(self, length: int) -> bytes:
        """The first ``length`` bytes of the text, which are passed."""
        self._offset += length
        while len(self._marks) > 1 and self._marks[1][0] <= self._offset:
            del self._marks[0]
        return self._text.take(length)

    def _last_chunk(self, boundary: int) -> Chunk:
        if boundary < self._text.size:
            return self._broken_chunk(boundary, _never_closed())
        self._over = True
        return self._chunk(boundary, last=True)

    def _broken_chunk(self, boundary: int, broken: Broken) -> Chunk:
        self._over = True
        chunk = self._chunk(boundary, broken=broken)
        self._text = _Text()
        return chunk

    def _take_header(self, final: bool) -> tuple[str, ...] | None:
        """The column names once the first record is whole; None before. Drops what they were taken from."""
        size = self._text.size
        if not final and size < self._worth_searching():
            return None
        text = self._text.whole()
        found = kernel.first_record(text, self._dialect, last=final)
        # Behind a CR at the very end the LF that belongs to it may follow.
        if found and not final and found.end == size and text.endswith(b"\r"):
            found = None
        if found is None and size > self._max_record:
            size = self._pass_what_is_no_record()
        if found is None and not final and size <= self._max_record:
            self._in_vain = size
            return None
        self._in_vain = 0
        if found is None and final and self._boundary(size, final=True) == size:
            return self._columns or ()  # nothing is there, or blank lines and comments only
        if found is None or found.end - found.start > self._max_record:
            return self._no_header(final and size <= self._max_record)
        header = self._names(found)
        if self._has_header:
            self._lines_before += found.lines
            self._take(found.end)
        return header

    def _pass_what_is_no_record(self) -> int:
        """Drop blank lines and comments in front of the first record, which is not whole; what is left then."""
        text = self._text.whole()
        passed = self._take(kernel.find_boundary_exact(text, self._dialect, len(text), final=False))
        self._lines_before += passed.count(b"\n") + passed.count(b"\r") - passed.count(b"\r\n")
        return self._text.size

    def _no_header(self, ended: bool) -> tuple[str, ...]:
        """The first record is broken: without a header that is the first row's matter, found again by the search."""
        if not self._has_header:
            return ()
        broken = _never_closed() if ended else _too_long(self._max_record)
        raise DataError(f"{self._where}header: {broken.reason}", hint=broken.hint)

    def _names(self, record: kernel.FirstRecord) -> tuple[str, ...]:
        if not self._has_header:
            return tuple(f"column{number}" for number in range(len(record.fields)))
        if self._columns is not None:
            if len(self._columns) != len(record.fields):
                raise DataError(
                    f"{self._where}expected {len(self._columns)} columns (--columns), the header has"
                    f" {len(record.fields)}",
                    hint="give a name for each column; --columns names columns, it does not select them",
                )
            return self._columns
        if record.problem:
            raise DataError(f"{self._where}header: {record.problem}", hint=_HEADER_HINT)
        try:
            return tuple(name.decode() for name in record.fields)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise DataError(f"{self._where}header: not valid UTF-8 (byte 0x{byte:02x})", hint=_HEADER_HINT) from error


class _Text:
    """Text as it came, in pieces: a chunk is copied once, when it is cut."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        if piece:
            self.pieces.append(piece)
            self.size += len(piece)

    def whole(self) -> bytes:
        """All of it in one piece, which it then is."""
        if len(self.pieces) != 1:
            self.pieces = [b"".join(self.pieces)]
        return self.pieces[0]

    def take(self, length: int) -> bytes:
        """The first ``length`` bytes, which are dropped."""
        taken: list[bytes | memoryview] = []
        missing, self.size = length, self.size - length
        while missing:
            piece = self.pieces.pop(0)
            if len(piece) > missing:
                taken.append(memoryview(piece)[:missing])
                self.pieces.insert(0, piece[missing:])
            else:
                taken.append(piece)
            missing -= min(len(piece), missing)
        return b"".join(taken)


_NO_MARKS = ((0, ResumePoint()),)
_HEADER_HINT = "mend the first line, name the file's --encoding, or give names of your own with --columns"


def _too_long(limit: int) -> Broken:
    return Broken(
        reason=f"the record is longer than {limit} bytes",
        hint="a quote that is never closed makes one endless record; if it is truly that long, raise --max-record",
    )


def _never_closed() -> Broken:
    return Broken(
        reason="a quote is opened and never closed",
        hint="close it in the source, or choose --quote; --quote '' takes quotes as data",
    )
