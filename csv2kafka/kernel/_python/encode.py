"""A chunk of whole records to columns of values and keys.

The fast way is Python's own ``csv.reader`` over the chunk as Latin-1, so that one character is one byte and
lengths are byte lengths; JSON's escapes are all ASCII, so the bytes of UTF-8 pass through it untouched. It is
taken only where it accepts all rows, but for their number of fields; anything else (malformed rows, invalid UTF-8,
comments, a field over ``csv.field_size_limit``, a chunk cut inside a record) is read by the exact machine.
"""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from json.encoder import encode_basestring as quoted
from operator import itemgetter
from typing import Any

from attrs import field, frozen

from csv2kafka.kernel._python.rows import count_lines, scan
from csv2kafka.model import Dialect, Records, RefusedRow


def encode_json(
    data: bytes, *, dialect: Dialect, header: tuple[str, ...], keys: tuple[int, ...] = (), last: bool = False
) -> Records:
    """Each row as a JSON object, byte for byte ``json.dumps(row, ensure_ascii=False, separators=(",", ":"))``.

    ``keys``: the columns (from 0) that make the record's key; none: no keys. ``last``: nothing of the object
    follows, so a record without line end is whole.
    """
    fast = _json_fast(data, dialect, header, keys, last) if header else None  # a blank line would be a row of 0 fields
    return _json_exact(data, dialect, header, keys, last) if fast is None else fast


def encode_raw(
    data: bytes, *, dialect: Dialect, columns: int, keys: tuple[int, ...] = (), last: bool = False, text: bool = False
) -> Records:
    """Each row's own bytes without line end. Bytes need not be UTF-8, but for ``text``; fields must still be
    ``columns`` many."""
    odd = not columns or (text and not is_utf8(data))
    fast = None if odd else _raw_fast(data, dialect, columns, keys, last)
    return _raw_exact(data, dialect, columns, keys, last, text=text) if fast is None else fast


def _json_fast(
    data: bytes, dialect: Dialect, header: tuple[str, ...], keys: tuple[int, ...], last: bool
) -> Records | None:
    if not _may_be_fast(data, dialect, last) or not is_utf8(data):
        return None
    lines = _lines(data)
    reader = _reader(lines, dialect)
    pieces = _json_pieces(header)
    pick = _key_of(keys)
    width = len(header)
    out = _Fast()
    add, passed, join = out.values.append, out.row_lines.append, "".join
    line = 0
    try:
        for row in reader:
            before, line = line, reader.line_num
            if len(row) == width:
                pieces[1::2] = map(quoted, row)
                add(join(pieces))
                passed(line)
                if pick:
                    out.keys.append(pick(row))
            elif row:
                out.refuse(before, line, _wrong_count(len(row), width))
    except csv.Error:
        return None
    return out.records(lines, keyed=bool(keys))


def _raw_fast(data: bytes, dialect: Dialect, columns: int, keys: tuple[int, ...], last: bool) -> Records | None:
    if not _may_be_fast(data, dialect, last):
        return None
    plain = not keys and all(c is None or c.encode() not in data for c in (dialect.quote, dialect.escape))
    records = _raw_plain(data, dialect, columns) if plain else None
    return _raw_quoted(data, dialect, columns, keys) if records is None else records


def _raw_plain(data: bytes, dialect: Dialect, columns: int) -> Records | None:
    """Without quotes and escapes a line is a row, and the number of delimiters tells that of its fields."""
    rows = data.splitlines()
    delimiter = dialect.delimiter.encode()
    if b"" in rows or {row.count(delimiter) for row in rows} - {columns - 1}:
        return None
    return Records(
        values=b"".join(rows),
        value_ends=_ends(rows),
        row_ends=_ends(data.splitlines(keepends=True)),
        row_lines=array("I", range(1, len(rows) + 1)),
        end=len(data),
        lines=len(rows),
    )


def _raw_quoted(data: bytes, dialect: Dialect, columns: int, keys: tuple[int, ...]) -> Records | None:
    lines = _lines(data)
    reader = _reader(lines, dialect)
    pick = _key_of(keys)
    out = _Fast()
    line = 0
    try:
        for row in reader:
            before, line = line, reader.line_num
            if len(row) == columns:
                out.values.append("".join(lines[before : line - 1]) + lines[line - 1].rstrip("\r\n"))
                out.row_lines.append(line)
                if pick:
                    out.keys.append(pick(row))
            elif row:
                out.refuse(before, line, _wrong_count(len(row), columns))
    except csv.Error:
        return None
    return out.records(lines, keyed=bool(keys))


@frozen
class _Fast:
    """What the fast way has collected, as Latin-1 text. ``bad``: (good rows before, first line, line after, why)."""

    values: list[str] = field(factory=list)
    keys: list[str] = field(factory=list)
    row_lines: list[int] = field(factory=list)
    bad: list[tuple[int, int, int, str]] = field(factory=list)

    def refuse(self, before: int, line: int, reason: str) -> None:
        self.bad.append((len(self.values), before, line, reason))

    def records(self, lines: list[str], *, keyed: bool) -> Records:
        line_ends = list(accumulate(map(len, lines), initial=0))
        return Records(
            values="".join(self.values).encode("latin-1"),
            value_ends=_ends(self.values),
            keys="".join(self.keys).encode("latin-1") if keyed else None,
            key_ends=_ends(self.keys) if keyed else None,
            row_ends=array("I", map(line_ends.__getitem__, self.row_lines)),
            row_lines=array("I", self.row_lines),
            bad=tuple(
                RefusedRow(
                    index=index,
                    start=line_ends[before],
                    end=line_ends[line - 1] + len(lines[line - 1].rstrip("\r\n")),
                    line=before,
                    reason=reason,
                )
                for index, before, line, reason in self.bad
            ),
            end=line_ends[-1],
            lines=len(lines),
        )


def _json_exact(data: bytes, dialect: Dialect, header: tuple[str, ...], keys: tuple[int, ...], last: bool) -> Records:
    pieces = _json_pieces(header)

    def value_of(content: bytes, fields: list[str]) -> bytes:
        pieces[1::2] = map(quoted, fields)
        return "".join(pieces).encode("latin-1")

    return _exact(data, dialect, len(header), keys, last, value_of, text=True)


def _raw_exact(
    data: bytes, dialect: Dialect, columns: int, keys: tuple[int, ...], last: bool, *, text: bool = False
) -> Records:
    return _exact(data, dialect, columns, keys, last, lambda content, fields: content, text=text)


def _exact(
    data: bytes,
    dialect: Dialect,
    columns: int,
    keys: tuple[int, ...],
    last: bool,
    value_of: Callable[[bytes, list[str]], bytes],
    *,
    text: bool,
) -> Records:
    """Every row by the exact machine; ``text``: its bytes must be UTF-8."""
    pick = _key_of(keys)
    out = _Columns()
    end = lines = 0
    for row in scan(data, dialect, last=last):
        line, lines, end = lines, lines + count_lines(data, row.start, row.end), row.end
        if row.fields is None:
            continue
        content = data[row.start : row.content_end]
        reason = row.problem or _wrong_count(len(row.fields), columns) or (_not_utf8(content) if text else "")
        if reason:
            place = RefusedRow(index=len(out.values), start=row.start, end=row.content_end, line=line, reason=reason)
            out.bad.append(place)
            continue
        fields = [value.decode("latin-1") for value in row.fields]
        out.values.append(value_of(content, fields))
        out.row_ends.append(row.end)
        out.row_lines.append(lines)
        if pick:
            out.keys.append(pick(fields).encode("latin-1"))
    return Records(
        values=b"".join(out.values),
        value_ends=_ends(out.values),
        keys=b"".join(out.keys) if keys else None,
        key_ends=_ends(out.keys) if keys else None,
        row_ends=out.row_ends,
        row_lines=out.row_lines,
        bad=tuple(out.bad),
        end=end,
        lines=lines,
        unfinished=end != len(data),
    )


@frozen
class _Columns:
    values: list[bytes] = field(factory=list)
    keys: list[bytes] = field(factory=list)
    row_ends: array[int] = field(factory=lambda: array("I"))
    row_lines: array[int] = field(factory=lambda: array("I"))
    bad: list[RefusedRow] = field(factory=list)


def _wrong_count(found: int, expected: int) -> str:
    if found == expected:
        return ""
    return f"too {'few' if found < expected else 'many'} fields: expected {expected}, found {found}"


def _not_utf8(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"not valid UTF-8: byte 0x{content[error.start]:02x} at byte {error.start} of the row"
    return ""


def is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or data.decode() is not None
    except UnicodeDecodeError:
        return False


def _may_be_fast(data: bytes, dialect: Dialect, last: bool) -> bool:
    """Not when data may end inside a record, or has comments, which Python's csv does not know."""
    if not last and data and data[-1] not in b"\r\n":
        return False
    if dialect.escape and dialect.escape.encode() + b"\r\n" in data:
        return False  # the CR is content and the LF alone ends the row, but both are one line end to _lines
    return dialect.comment is None or not _comment_line(dialect.comment).search(data)


@lru_cache(maxsize=64)
def _comment_line(comment: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|[\r\n])" + re.escape(comment.encode()))


def _lines(data: bytes) -> list[str]:
    """Split behind LF, CRLF and lone CR only; ``str.splitlines`` knows more line ends than CSV does."""
    return list(io.StringIO(data.decode("latin-1"), newline=""))


def _reader(lines: list[str], dialect: Dialect) -> Any:
    return csv.reader(
        lines,
        strict=True,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
    )


def _json_pieces(header: tuple[str, ...]) -> list[str]:
    """What stands before, between and behind the values of a row, with a free place for each value."""
    pieces = [""] * (2 * len(header) + 1)
    for column, name in enumerate(header):
        pieces[2 * column] = ("," if column else "{") + quoted(name.encode().decode("latin-1")) + ":"
    pieces[-1] = "}"
    return pieces


def _key_of(keys: tuple[int, ...]) -> Callable[[list[str]], str] | None:
    """A row's key: the one column's value, or several as a JSON array of strings."""
    if not keys:
        return None
    pick = itemgetter(*keys)
    if len(keys) == 1:
        return pick
    return lambda row: "[" + ",".join(map(quoted, pick(row))) + "]"


def _ends(parts: Sequence[str] | Sequence[bytes]) -> array[int]:
    return array("I", accumulate(map(len, parts)))
