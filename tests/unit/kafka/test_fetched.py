"""Fetched bytes to batches: whole ones, checked, the aborted ones marked."""

from __future__ import annotations

import struct

import crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv2kafka.errors import Doubt, StateContradiction
from csv2kafka.kafka.fetched import mark_aborted, split
from csv2kafka.kafka.port import FetchedBatch, Producer, TopicPartition
from tests.record_batches import batch

SOURCE = TopicPartition("orders", 0)
FIRST, SECOND = Producer(producer_id=1, epoch=0), Producer(producer_id=2, epoch=7)
ABORT, COMMIT = 0, 1


def at(offset: int, data: bytes) -> bytes:
    """As the log holds it: the base offset is not under the CRC."""
    return struct.pack(">q", offset) + data[8:]


def marker(offset: int, producer: Producer, kind: int) -> bytes:
    """A control batch: one record with a key of version and kind, and a value."""
    record = b"\0\0\0" + bytes([8]) + struct.pack(">hh", 0, kind) + bytes([12]) + bytes(6) + b"\0"
    body = struct.pack(">hiqqqhii", 0x30, 0, 0, 0, producer.producer_id, producer.epoch, -1, 1)
    body += bytes([2 * len(record)]) + record
    return struct.pack(">qiibI", offset, len(body) + 9, 0, 2, crc32c.crc32c(body)) + body


def data(offset: int, producer: Producer, count: int = 1) -> bytes:
    return at(offset, batch([b"v"] * count, producer, transactional=True))


LOG = b"".join(
    [
        data(0, FIRST, 2),
        data(2, SECOND),
        data(3, FIRST),
        marker(4, FIRST, ABORT),
        data(5, FIRST),
        at(6, batch([b"plain"])),
        marker(7, SECOND, COMMIT),
        marker(8, FIRST, COMMIT),
    ]
)


def test_headers_are_read() -> None:
    batches = split(LOG, SOURCE)
    assert [(one.base_offset, one.last_offset, one.producer_id, one.producer_epoch) for one in batches] == [
        (0, 1, 1, 0),
        (2, 2, 2, 7),
        (3, 3, 1, 0),
        (4, 4, 1, 0),
        (5, 5, 1, 0),
        (6, 6, -1, -1),
        (7, 7, 2, 7),
        (8, 8, 1, 0),
    ]
    assert [one.is_control for one in batches] == [False, False, False, True, False, False, True, True]
    assert [one.is_transactional for one in batches] == [True] * 5 + [False] + [True] * 2
    assert b"".join(bytes(one.data) for one in batches) == LOG


@given(cut=st.integers(0, len(LOG)))
def test_a_batch_that_is_cut_off_is_left_out(cut: int) -> None:
    whole = split(LOG, SOURCE)
    ends = [sum(len(bytes(one.data)) for one in whole[: count + 1]) for count in range(len(whole))]
    expected = [one.base_offset for one, end in zip(whole, ends, strict=True) if end <= cut]
    if cut and not expected:
        with pytest.raises(Doubt, match="no record batch is whole"):
            split(LOG[:cut], SOURCE)
    else:
        assert [one.base_offset for one in split(LOG[:cut], SOURCE)] == expected


def test_a_damaged_batch_is_a_doubt() -> None:
    damaged = bytearray(data(17, FIRST))
    damaged[-1] ^= 1
    with pytest.raises(Doubt, match=r"orders-0: the record batch at offset 17 is damaged"):
        split(damaged, SOURCE)


@pytest.mark.parametrize("length", [-1, 0, 8, 48])
def test_a_length_that_cannot_be_is_a_doubt(length: int) -> None:
    nonsense = bytearray(data(17, FIRST))
    nonsense[8:12] = struct.pack(">i", length)
    with pytest.raises(Doubt):
        split(nonsense, SOURCE)


def test_an_old_message_format_is_refused() -> None:
    old = bytearray(data(17, FIRST))
    old[16] = 1
    with pytest.raises(StateContradiction, match="message format 1, expected 2"):
        split(old, SOURCE)


def aborted(log: bytes, transactions: list[tuple[int, int]]) -> list[int]:
    return [one.base_offset for one in mark_aborted(split(log, SOURCE), transactions) if one.aborted]


def test_a_transaction_is_aborted_from_its_first_offset_to_its_marker() -> None:
    assert aborted(LOG, [(FIRST.producer_id, 0)]) == [0, 3]
    assert aborted(LOG, []) == []


def test_reading_may_begin_in_the_middle_of_an_aborted_transaction() -> None:
    assert aborted(LOG[len(data(0, FIRST, 2)) :], [(FIRST.producer_id, 0)]) == [3]


def test_two_transactions_of_one_producer_are_told_apart() -> None:
    log = data(0, FIRST) + marker(1, FIRST, ABORT) + data(2, FIRST) + marker(3, FIRST, COMMIT)
    log += data(4, FIRST) + marker(5, FIRST, ABORT)
    assert aborted(log, [(FIRST.producer_id, 4), (FIRST.producer_id, 0)]) == [0, 4]


def test_data_without_transaction_is_never_aborted() -> None:
    log = at(0, batch([b"idempotent"], FIRST)) + data(1, FIRST)
    assert aborted(log, [(FIRST.producer_id, 0)]) == [1]


def test_a_markers_own_batch_is_not_aborted() -> None:
    marked: list[FetchedBatch] = mark_aborted(split(LOG, SOURCE), [(FIRST.producer_id, 0)])
    assert not any(one.aborted for one in marked if one.is_control)
