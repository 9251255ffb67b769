"""A hash of rows that combines: see ``ContentHash`` in model/state.py."""

from __future__ import annotations

from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from csv2kafka.kernel._python.columns import slices
from csv2kafka.model import Records
from csv2kafka.model.state import DIGEST_MASK, DIGEST_MULTIPLIER


def digest(records: Records, first: int = 0, last: int | None = None) -> int:
    """The hash of the good rows ``first`` to ``last`` (excluded), for ``ContentHash.extend``."""
    stop = len(records) if last is None else last
    rows = slices(records.values, records.value_ends, first, stop)
    if records.keys is None or records.key_ends is None:
        hashes = map(xxh3_128_intdigest, rows)
    else:
        keys = slices(records.keys, records.key_ends, first, stop)
        hashes = map(xxh3_128_intdigest, rows, map(xxh3_64_intdigest, keys))
    value = 0
    for row_hash in hashes:
        value = (value * DIGEST_MULTIPLIER + row_hash) & DIGEST_MASK
    return value
