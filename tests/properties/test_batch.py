"""Record batches: what is packed is unpacked, in every codec; aiokafka's decoder and encoder agree."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from csv2kafka import kernel
from csv2kafka.errors import StateContradiction
from csv2kafka.model import Records
from csv2kafka.model.state import ContentHash

pytestmark = pytest.mark.usefixtures("each_kernel")

codecs = st.sampled_from(kernel.COMPRESSIONS)
contents = st.binary(max_size=20) | st.sampled_from([b"", b"x" * 60, b"x" * 64, b"x" * 8200, b"ab" * 40_000])
rows = st.lists(contents, min_size=1, max_size=80)
nullable = st.none() | contents
headers = st.lists(st.tuples(st.text(max_size=5), nullable), max_size=3).map(tuple)
foreign = st.lists(st.tuples(nullable, nullable, headers), min_size=1, max_size=12)


def column(parts: Sequence[bytes]) -> tuple[bytes, array[int]]:
    return b"".join(parts), array("I", accumulate(map(len, parts)))


def records_of(values: Sequence[bytes], keys: Sequence[bytes] | None) -> Records:
    packed_values, value_ends = column(values)
    if keys is None:
        return Records(values=packed_values, value_ends=value_ends)
    packed_keys, key_ends = column(keys)
    return Records(values=packed_values, value_ends=value_ends, keys=packed_keys, key_ends=key_ends)


def stamped(batch: bytearray, *, transactional: bool = False) -> bytes:
    kernel.stamp(
        batch,
        producer_id=4711,
        epoch=3,
        sequence=2147483640,
        timestamp_ms=1_700_000_000_123,
        transactional=transactional,
    )
    return bytes(batch)


@given(rows, st.booleans(), codecs, st.booleans(), st.data())
def test_a_batch_of_rows_comes_back(
    values: list[bytes], keyed: bool, codec: str, transactional: bool, draw: st.DataObject
) -> None:
    keys = [value[::-1] for value in values] if keyed else None
    records = records_of(values, keys)
    first = draw.draw(st.integers(0, len(values) - 1))
    last = draw.draw(st.integers(first + 1, len(values)))
    data = stamped(kernel.pack_batch(records, first, last, compression=codec), transactional=transactional)
    batch = kernel.unpack_batch(data)
    assert list(batch.records.rows()) == list(records.rows(first, last))
    assert list(batch.offset_deltas) == list(range(last - first))
    header = batch.header
    assert (header.base_offset, header.last_offset, batch.compression) == (0, last - first - 1, codec)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4711, 3, 2147483640)
    assert header.first_timestamp == header.max_timestamp == 1_700_000_000_123
    assert (header.is_transactional, header.is_control) == (transactional, False)
    assert not batch.null_keys
    assert not batch.null_values
    independent = DefaultRecordBatch(data)
    assert independent.validate_crc()
    assert independent.is_transactional == transactional
    theirs = [(record.key, record.value, record.offset, record.timestamp, record.headers) for record in independent]
    assert theirs == [
        (key, value, offset, 1_700_000_000_123, []) for offset, (key, value) in enumerate(records.rows(first, last))
    ]


@given(foreign, codecs)
def test_records_with_nulls_and_headers_come_back(
    given_records: list[tuple[bytes | None, bytes | None, tuple[kernel.Header, ...]]], codec: str
) -> None:
    data = stamped(kernel.pack_records(given_records, compression=codec))
    assert contents_of(kernel.unpack_batch(data)) == given_records
    theirs = [(record.key, record.value, tuple(record.headers)) for record in DefaultRecordBatch(data)]
    assert theirs == given_records


@given(foreign, st.sampled_from([0, 1, 3]))
def test_a_batch_of_another_client_unpacks(
    given_records: list[tuple[bytes | None, bytes | None, tuple[kernel.Header, ...]]], codec: int
) -> None:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for number, (key, value, names) in enumerate(given_records):
        builder.append(number, timestamp=1000 + number, key=key, value=value, headers=list(names))
    batch = kernel.unpack_batch(bytes(builder.build()))
    assert contents_of(batch) == given_records
    assert (batch.header.producer_id, batch.header.first_timestamp) == (-1, 1000)
    assert batch.header.max_timestamp == 999 + len(given_records)


@given(rows, codecs, st.data())
def test_a_batch_with_one_byte_changed_is_refused(values: list[bytes], codec: str, draw: st.DataObject) -> None:
    data = bytearray(stamped(kernel.pack_batch(records_of(values, None), 0, len(values), compression=codec)))
    at = draw.draw(st.integers(16, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(StateContradiction):
        kernel.unpack_batch(data)


@given(st.binary(max_size=80), st.integers(0, 7), st.integers(-1, 5))
def test_a_batch_of_garbage_is_refused(body: bytes, code: int, count: int) -> None:
    """With a right CRC, as from a client gone wrong: an error of ours, never another."""
    batch = kernel.pack_records([(None, b"", ())])[: kernel.HEADER_BYTES] + body
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    data = stamped(batch)
    batch = bytearray(data)
    batch[22] = code
    batch[57:61] = count.to_bytes(4, "big", signed=True)
    kernel.stamp(batch, producer_id=1, epoch=1, sequence=1, timestamp_ms=1, transactional=False)
    try:
        unpacked = kernel.unpack_batch(batch)
    except StateContradiction:
        return
    assert len(unpacked.records) == max(count, 0)


@given(rows, st.booleans(), st.data())
def test_the_content_hash_does_not_depend_on_cuts(values: list[bytes], keyed: bool, draw: st.DataObject) -> None:
    records = records_of(values, [value[::-1] for value in values] if keyed else None)
    whole = ContentHash().extend(kernel.digest(records), len(values))
    cut = draw.draw(st.integers(0, len(values)))
    first = ContentHash().extend(kernel.digest(records, 0, cut), cut)
    assert first.extend(kernel.digest(records, cut), len(values) - cut) == whole


def contents_of(
    batch: kernel.Batch,
) -> list[tuple[bytes | None, bytes | None, tuple[kernel.Header, ...]]]:
    return [
        (
            None if row in batch.null_keys else key,
            None if row in batch.null_values else value,
            tuple(batch.headers.get(row, ())),
        )
        for row, (key, value) in enumerate(batch.records.rows())
    ]
