"""The exact machine: one record after the other, each field in full, whatever the bytes are.

It takes what Python's ``csv.reader`` takes, and goes on as its non-strict mode does behind a mistake, so that
every file has one reading: see docs/csv.md. Slow and debuggable; ``encode`` uses it where the fast way gives up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from attrs import frozen

from csv2kafka.kernel._python.boundary import Data, byte
from csv2kafka.model import Dialect

_LINE_END = re.compile(rb"\r\n?|\n")


class Row(NamedTuple):
    """A record, or a blank line or comment (``fields`` is None). ``problem``: why it is malformed, or empty."""

    start: int
    content_end: int
    end: int
    fields: list[bytes] | None
    problem: str


@frozen(kw_only=True)
class FirstRecord:
    """The first record of some data. ``lines``: passed at its end, those of blank lines and comments included."""

    fields: tuple[bytes, ...]
    start: int
    end: int
    lines: int
    problem: str


def scan(data: Data, dialect: Dialect, *, last: bool) -> Iterator[Row]:
    """All whole records of ``data``, which begins at a record's start.

    It ends early where data is cut inside a record. ``last``: nothing follows, so a record without line end is
    whole; one inside quotes never is. A CR at the end of data ends a record.
    """
    grammar = _grammar(dialect)
    pos, size = 0, len(data)
    while pos < size:
        row = _read_row(data, pos, grammar)
        if row is None or (row.content_end == row.end and not last):
            return
        yield row
        pos = row.end


def first_record(data: Data, dialect: Dialect, *, last: bool) -> FirstRecord | None:
    """The first record behind blank lines and comments; None if there is no whole one."""
    for row in scan(data, dialect, last=last):
        if row.fields is not None:
            lines = count_lines(data, 0, row.end)
            return FirstRecord(fields=tuple(row.fields), start=row.start, end=row.end, lines=lines, problem=row.problem)
    return None


def count_lines(data: Data, start: int, end: int) -> int:
    """Lines in ``data[start:end]`` that end with LF, CRLF or CR, and one more for a rest without line end."""
    crs = data.count(b"\r", start, end)
    pairs = data.count(b"\r\n", start, end) if crs else 0
    rest = end > start and data[end - 1] not in b"\r\n"
    return data.count(b"\n", start, end) + crs - pairs + rest


def _read_row(data: Data, start: int, grammar: _Grammar) -> Row | None:
    """The record at ``start``; None when data ends inside quotes."""
    if data[start] == grammar.comment:
        return _skipped(data, start)
    if data[start] in b"\r\n":
        return _skipped(data, start)
    fields: list[bytes] = []
    problem = ""
    pos = start
    while True:
        parts: list[bytes] = []
        if data[pos : pos + 1] == grammar.quote:
            pos = _quoted(data, pos + 1, grammar, parts)
            if pos < 0:
                return None
            stray = data[pos : pos + 1]
            if stray and stray not in grammar.ends_field:
                problem = problem or (
                    f"character after the closing quote: expected {grammar.delimiter.decode()!r} or a line end,"
                    f" found {_shown(stray[0])} at byte {pos - start} of the row, in field {len(fields) + 1}"
                )
                parts.append(bytes(stray))
                pos += 1
        pos, dangling = _unquoted(data, pos, grammar, parts)
        if dangling:
            problem = problem or f"escape character with nothing after it, in field {len(fields) + 1}"
        fields.append(b"".join(parts))
        if data[pos : pos + 1] == grammar.delimiter:
            pos += 1
            continue
        end = _LINE_END.match(data, pos)
        return Row(start, pos, end.end() if end else pos, fields, problem)


def _skipped(data: Data, start: int) -> Row:
    found = _LINE_END.search(data, start)
    if found:
        return Row(start, found.start(), found.end(), None, "")
    return Row(start, len(data), len(data), None, "")


def _quoted(data: Data, pos: int, grammar: _Grammar, parts: list[bytes]) -> int:
    """Collect a quoted field's content from ``pos`` on; behind its closing quote, -1 when there is none.

    Nothing is kept for each doubled quote: a field may be made of millions."""
    for found in grammar.inside.finditer(data, pos):
        if found.lastgroup == "closing":
            parts.append(_meant(bytes(data[pos : found.start()]), grammar))
            return found.end()
    return -1


def _meant(content: bytes, grammar: _Grammar) -> bytes:
    """What stands between two quotes, without what only shields it."""
    assert grammar.quote is not None
    if grammar.escape and grammar.escape in content:
        return grammar.shielded.sub(rb"\1\2", content)
    return content.replace(2 * grammar.quote, grammar.quote)


def _unquoted(data: Data, pos: int, grammar: _Grammar, parts: list[bytes]) -> tuple[int, bool]:
    """Collect unquoted content; where it ended, and whether an escape was the last byte of data."""
    while True:
        stretch = grammar.outside.match(data, pos)
        assert stretch is not None
        parts.append(stretch.group())
        pos = stretch.end()
        if not grammar.escape or data[pos : pos + 1] != grammar.escape:
            return pos, False
        if pos + 1 == len(data):
            return pos + 1, True
        parts.append(bytes(data[pos + 1 : pos + 2]))
        pos += 2


def _shown(value: int) -> str:
    return repr(chr(value)) if 0x20 <= value < 0x7F else f"0x{value:02x}"


@frozen(kw_only=True)
class _Grammar:
    """The dialect as bytes. ``inside``: what shields a byte, or closes the quotes. ``shielded``: only the former.
    ``outside``: the longest stretch of plain content out of quotes."""

    delimiter: bytes
    quote: bytes | None
    escape: bytes | None
    comment: int
    ends_field: bytes
    inside: re.Pattern[bytes]
    shielded: re.Pattern[bytes]
    outside: re.Pattern[bytes]


@lru_cache(maxsize=64)
def _grammar(dialect: Dialect) -> _Grammar:
    escape, quote = re.escape(dialect.escape or ""), re.escape(dialect.quote or "")
    shields = f"{quote}({quote})|" + (f"{escape}([\\x00-\\xff])" if escape else "(?!)()")
    delimiter = dialect.delimiter.encode()
    return _Grammar(
        delimiter=delimiter,
        quote=dialect.quote.encode() if dialect.quote else None,
        escape=dialect.escape.encode() if dialect.escape else None,
        comment=byte(dialect.comment),
        ends_field=delimiter + b"\r\n",
        inside=re.compile(f"{shields}|(?P<closing>{quote})".encode() if dialect.quote else b"(?!)"),
        shielded=re.compile(shields.encode() if dialect.quote else b"(?!)"),
        outside=re.compile(f"[^{re.escape(dialect.delimiter)}{escape}\r\n]*".encode()),
    )
