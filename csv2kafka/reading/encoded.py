"""How a source is read, and what comes of it: a chunk's rows, each with its place in the source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import Factory, evolve, frozen

from csv2kafka import registry
from csv2kafka.config import ReadConfig
from csv2kafka.model import DEFAULT_MAX_RECORD, Chunk, Dialect, Position, Records, SourceObject
from csv2kafka.protocols import Encoder, Source

T = TypeVar("T")

_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n|\Z)")


@frozen(kw_only=True, eq=False)
class Reading:
    """How a source is read. ``columns`` gives names; ``max_record`` in bytes."""

    source: Source
    encoder: Encoder
    dialect: Dialect = Factory(Dialect)
    encoding: str = "utf-8"
    has_header: bool = True
    columns: tuple[str, ...] | None = None
    max_record: int = DEFAULT_MAX_RECORD

    @property
    def settings(self) -> dict[str, str]:
        """All of it that shapes the output, by name."""
        return {
            **self.encoder.settings,
            "delimiter": self.dialect.delimiter,
            "quote": self.dialect.quote or "",
            "escape": self.dialect.escape or "",
            "comment": self.dialect.comment or "",
            "encoding": self.encoding,
            "header": str(self.has_header).lower(),
            "columns": ",".join(self.columns or ()),
        }


def reading_from(config: ReadConfig) -> Reading:
    """The reading that a configuration asks for. Raises ConfigError."""
    return Reading(
        source=registry.build_source(config),
        encoder=registry.build_encoder(config),
        dialect=registry.build_dialect(config),
        encoding=config.encoding,
        has_header=config.header,
        columns=config.columns,
        max_record=config.max_record,
    )


async def close_source(source: Source) -> None:
    """Give back what the source holds, if it holds anything."""
    close = getattr(source, "close", None)
    if close is not None:
        await close()


def total_bytes(objects: Sequence[SourceObject]) -> int | None:
    """The own bytes of all objects; None if the size of one is not known."""
    sizes = [obj.size for obj in objects]
    return None if None in sizes else sum(size or 0 for size in sizes)


def bytes_before(objects: Sequence[SourceObject], position: Position) -> int:
    """Of all objects' own bytes, those before the position; where one is compressed, before where it is resumed."""
    return sum(obj.size or 0 for obj in objects[: position.object_index]) + position.resume.offset


@frozen(kw_only=True, eq=False)
class Encoded(Generic[T]):
    """A chunk's rows, in order. ``before``: the position of the chunk's first byte. ``extra``: what ``work`` made.
    ``passed``: the own bytes of all objects before this one; ``read``: of this one, if it is compressed."""

    obj: SourceObject
    chunk: Chunk
    records: Records
    extra: T
    before: Position
    passed: int
    read: int = 0

    def after(self, good: int) -> Position:
        """The position behind the good row ``good - 1`` and before any refused row that follows it."""
        if good == 0:
            return self.before
        records = self.records
        bad = sum(1 for row in records.bad if row.index < good)
        return self._at(records.row_ends[good - 1], records.row_lines[good - 1], good + bad)

    def end(self) -> Position:
        """The position behind the chunk."""
        return self._at(self.records.end, self.records.lines, len(self.records) + len(self.records.bad))

    def source_bytes(self) -> int:
        """Of all objects' own bytes, those before the chunk's end."""
        if self.chunk.last and not self.records.unfinished and self.obj.size is not None:
            return self.passed + self.obj.size
        return self.passed + max(self.end().resume.offset, self.read)

    def _at(self, offset: int, lines: int, rows: int) -> Position:
        decoded = self.chunk.offset + offset
        return evolve(
            self.before,
            offset=decoded,
            resume=self.chunk.resume_at(decoded),
            rows=self.before.rows + rows,
            line=self.before.line + lines,
        )

    def place_of(self, good: int, comment: str | None) -> tuple[int, int]:
        """(byte in the chunk's data, lines before it) where a good row begins; blank lines and comments passed."""
        data, mark = self.chunk.data, (comment or "").encode()
        bad_ends = [row.end for row in self.records.bad if row.index <= good]
        start = max([self.records.row_ends[good - 1] if good else 0, *bad_ends[-1:]])
        while data[start : start + 1] in (b"\r", b"\n") or (mark and data.startswith(mark, start)):
            skipped = _LINE.match(data, start)
            start = skipped.end() if skipped else len(data)
        return start, lines_in(data[:start])


def lines_in(text: bytes) -> int:
    """Line ends in the text: LF, CRLF or a lone CR, each one."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
