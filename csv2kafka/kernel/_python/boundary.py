"""Where the last whole record of a stretch of bytes ends.

``find_boundary`` counts quotes: fast, and right for well-formed files. A quote inside an unquoted field breaks
the count, so its answer is a guess that the encoder checks. ``find_boundary_exact`` runs the true state machine.
Both begin at a record's start. A CR at the very end is no boundary, since the LF that belongs to it may follow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from attrs import frozen

from csv2kafka.model import Dialect

CR, LF = 0x0D, 0x0A
Data = bytes | bytearray


def find_boundary(pieces: Sequence[bytes], quote: int | None, end: int | None = None) -> int:
    """End of the last line end in the first ``end`` bytes that has an even number of quotes before it; 0: there is
    none.

    ``pieces``: of the text, one behind the other. ``quote``: the quote's byte, None when quoting is off. Bytes at and
    behind ``end`` are only looked at to see whether a CR there is half of a CRLF.
    """
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    stop = len(data) if end is None else end
    boundary = _last_line_end(data, stop)
    if quote is None or not boundary:
        return boundary
    odd = data.count(quote, 0, boundary) & 1
    while odd:
        opening = data.rfind(quote, 0, boundary)
        earlier = _last_line_end(data, opening)
        if not earlier:
            return 0
        odd ^= data.count(quote, earlier, boundary) & 1
        boundary = earlier
    return boundary


def _last_line_end(data: Data, stop: int) -> int:
    """End of the last LF, CRLF or lone CR that ends at or before ``stop``."""
    after = data.rfind(LF, 0, stop) + 1
    cr = data.rfind(CR, after, stop)
    if cr < 0:
        return after
    if cr + 1 < stop:
        return cr + 1
    if cr + 1 < len(data) and data[cr + 1] != LF:
        return cr + 1
    return max(after, data.rfind(CR, after, cr) + 1)


def find_boundary_exact(data: Data, dialect: Dialect, end: int | None = None, *, final: bool = False) -> int:
    """End of the last true record (or blank line, or comment) in ``data[:end]``; 0: there is none.

    ``final``: nothing follows ``data``, so what has no line end is whole too, unless it is inside quotes.
    """
    events = _events(dialect)
    size = len(data)
    stop = size if end is None else end
    boundary = pos = 0
    while pos < stop:
        if data[pos] == events.comment:
            found = events.line_end.search(data, pos, stop)
        else:
            if data[pos] == events.quote:
                closed = _after_quotes(data, pos + 1, stop, events)
                if closed < 0:
                    return boundary
                pos = closed
            found = events.outside.search(data, pos, stop)
            while found and found.lastgroup != "line_end":
                if found.lastgroup == "escaped":
                    pos = found.end()
                else:
                    pos = _after_quotes(data, found.end(), stop, events)
                    if pos < 0:
                        return boundary
                found = events.outside.search(data, pos, stop)
        if not found:
            return stop if final and stop == size else boundary
        pos = found.end()
        if pos == stop and data[pos - 1] == CR and (not final if stop == size else data[pos] == LF):
            return boundary
        boundary = pos
    return boundary


def _after_quotes(data: Data, pos: int, stop: int, events: _Events) -> int:
    """Behind the closing quote of the field whose content begins at ``pos``; -1 when it is not closed."""
    for found in events.inside.finditer(data, pos, stop):
        if found.lastgroup == "closing":
            after = found.end()
            # What follows a closing quote is never an escape, as in Python's csv.
            return after + 1 if after < stop and data[after] == events.escape else after
    return -1


@frozen(kw_only=True)
class _Events:
    """What can happen outside and inside quotes. Bytes are -1 where the dialect has none."""

    quote: int
    escape: int
    comment: int
    line_end: re.Pattern[bytes]
    outside: re.Pattern[bytes]
    inside: re.Pattern[bytes]


@lru_cache(maxsize=64)
def _events(dialect: Dialect) -> _Events:
    delimiter = re.escape(dialect.delimiter).encode()
    outside = [rb"(?P<line_end>\r\n?|\n)"]
    inside = [rb"(?!)"]
    if dialect.quote:
        quote = re.escape(dialect.quote).encode()
        outside.append(rb"(?P<opening>%b%b)" % (delimiter, quote))
        inside = [rb"%b%b|(?P<closing>%b)" % (quote, quote, quote)]
    if dialect.escape:
        escape = re.escape(dialect.escape).encode()
        outside.insert(0, rb"(?P<escaped>%b[\x00-\xff])" % escape)
        inside.insert(0, rb"%b[\x00-\xff]" % escape)
    return _Events(
        quote=byte(dialect.quote),
        escape=byte(dialect.escape),
        comment=byte(dialect.comment),
        line_end=re.compile(rb"\r\n?|\n"),
        outside=re.compile(b"|".join(outside)),
        inside=re.compile(b"|".join(inside)),
    )


def byte(character: str | None) -> int:
    """The character's one byte, -1 for None: equal to no byte."""
    return -1 if character is None else ord(character)
