"""The rows of a batch behind those that are saved already."""

from __future__ import annotations

import pytest

from csv2kafka.kafka.reconcile import _behind
from csv2kafka.kernel import pack_records, stamp, unpack_batch

VALUES = [b"one", b"", b"three", b"4", b"five" * 9]


@pytest.mark.parametrize("keys", [[None] * 5, [b"k1", b"", b"k", b"key 4", b"k5"]], ids=["without keys", "with keys"])
@pytest.mark.parametrize("skipped", range(1, 6))
def test_the_rest_of_a_batch_is_its_rows_behind(keys: list[bytes | None], skipped: int) -> None:
    rows = list(zip(keys, VALUES, strict=True))
    batch = pack_records([(key, value, []) for key, value in rows])
    stamp(batch, producer_id=7, epoch=0, sequence=0, timestamp_ms=0, transactional=False)
    assert list(_behind(unpack_batch(bytes(batch)).records, skipped).rows()) == rows[skipped:]
