"""Rows to a whole Kafka record batch."""

from __future__ import annotations

from functools import partial

from csv2kafka.kernel import _rust
from csv2kafka.kernel._native.held import rows_of
from csv2kafka.kernel._python import COMPRESSIONS
from csv2kafka.kernel._python import pack as reference
from csv2kafka.model import Records

stamp = partial(reference.stamp, checksum=_rust.crc32c)
"""See the reference's."""

_CODES = {name: code for code, name in enumerate(COMPRESSIONS)}


def pack_batch(records: Records, first: int, last: int, *, compression: str, level: int | None = None) -> bytearray:
    """See the reference's."""
    return _rust.pack_batch(rows_of(records), first, last, _CODES[compression], level)
