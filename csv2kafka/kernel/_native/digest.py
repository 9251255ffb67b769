"""A hash of rows that combines."""

from __future__ import annotations

from csv2kafka.kernel import _rust
from csv2kafka.kernel._native.held import rows_of
from csv2kafka.model import Records


def digest(records: Records, first: int = 0, last: int | None = None) -> int:
    """See the reference's."""
    stop = len(records) if last is None else last
    return _rust.digest(rows_of(records), first, stop)
