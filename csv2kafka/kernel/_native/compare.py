"""Are two stretches of Records the same rows?"""

from __future__ import annotations

from csv2kafka.kernel import _rust
from csv2kafka.kernel._native.held import rows_of
from csv2kafka.model import Records


def equal_rows(a: Records, a_first: int, b: Records, b_first: int, count: int) -> int:
    """See the reference's."""
    return _rust.equal_rows(rows_of(a), a_first, rows_of(b), b_first, count)
