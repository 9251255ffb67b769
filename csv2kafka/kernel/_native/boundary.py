"""Where the last whole record of a stretch of bytes ends."""

from __future__ import annotations

from csv2kafka.kernel import _rust
from csv2kafka.kernel._native.marks import marks_of
from csv2kafka.model import Dialect

find_boundary = _rust.find_boundary


def find_boundary_exact(
    data: bytes | bytearray, dialect: Dialect, end: int | None = None, *, final: bool = False
) -> int:
    """See the reference's."""
    return _rust.find_boundary_exact(data, marks_of(dialect), end, final)
