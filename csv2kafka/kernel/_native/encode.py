"""A chunk of whole records to columns of values and keys."""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING

from csv2kafka.kernel import _rust
from csv2kafka.kernel._native.columns import numbers
from csv2kafka.kernel._native.held import records_of
from csv2kafka.kernel._native.marks import marks_of
from csv2kafka.kernel._python import encode as reference
from csv2kafka.model import Dialect, Records, RefusedRow

if TYPE_CHECKING:
    from csv2kafka.kernel._rust import Encoded


def encode_json(
    data: bytes, *, dialect: Dialect, header: tuple[str, ...], keys: tuple[int, ...] = (), last: bool = False
) -> Records:
    """See the reference's."""
    return _records(
        data, _rust.encode_json(data, marks_of(dialect), repr(dialect.delimiter), _names(header), keys, last)
    )


def encode_raw(
    data: bytes, *, dialect: Dialect, columns: int, keys: tuple[int, ...] = (), last: bool = False, text: bool = False
) -> Records:
    """See the reference's, which does what is odd."""
    if text and not reference.is_utf8(data):
        return reference.encode_raw(data, dialect=dialect, columns=columns, keys=keys, last=last, text=True)
    return _records(data, _rust.encode_raw(data, marks_of(dialect), repr(dialect.delimiter), columns, keys, last))


@lru_cache(maxsize=16)
def _names(header: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(quoted(name).encode() for name in header)


def _records(data: bytes, encoded: Encoded) -> Records:
    rows, row_ends, row_lines, bad, end, lines = encoded
    return records_of(
        rows,
        row_ends=numbers(row_ends),
        row_lines=numbers(row_lines),
        bad=tuple(
            RefusedRow(index=index, start=start, end=row_end, line=line, reason=reason)
            for index, start, row_end, line, reason in bad
        ),
        end=end,
        lines=lines,
        unfinished=end != len(data),
    )
