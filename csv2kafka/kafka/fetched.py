"""From the bytes a broker gives to record batches: whole ones only, checked, and aborted ones marked (KIP-98).

Records stay compressed; only the header of a batch is looked at.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence

import crc32c
from attrs import evolve
from typing_extensions import Buffer

from csv2kafka.errors import Doubt, StateContradiction
from csv2kafka.kafka.port import FetchedBatch, TopicPartition

# base offset, length behind it, leader epoch, magic, CRC, attributes, last offset delta,
# first and last timestamp, producer id and epoch, base sequence, number of records
_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_END = 12
_CRC_END = 21
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_MAGIC = 2


def split(records: Buffer, source: TopicPartition) -> list[FetchedBatch]:
    """The whole batches in it; the broker cuts the last one where its limit ends.

    Doubt if one is damaged or not even one is whole, StateContradiction at a message format older than v2.
    """
    data = memoryview(records).cast("B")
    batches = list(_whole(data, source))
    if data and not batches:
        raise Doubt(f"{source}: the broker sent {len(data)} bytes in which no record batch is whole")
    return batches


def _whole(data: memoryview, source: TopicPartition) -> Iterator[FetchedBatch]:
    at = 0
    while at + _HEADER.size <= len(data):
        (base, length, _, magic, crc, attributes, last_delta, _, _, producer_id, epoch, _, _) = _HEADER.unpack_from(
            data, at
        )
        if magic != _MAGIC:
            raise StateContradiction(
                f"{source}: offset {base} has message format {magic}, expected {_MAGIC}",
                hint="the topic holds records of a Kafka before 0.11; use a topic without them",
            )
        end = at + _LENGTH_END + length
        if end > len(data):
            return
        if end < at + _HEADER.size or crc32c.crc32c(data[at + _CRC_END : end]) != crc:
            raise Doubt(f"{source}: the record batch at offset {base} is damaged: its CRC does not fit")
        yield FetchedBatch(
            base_offset=base,
            last_offset=base + last_delta,
            producer_id=producer_id,
            producer_epoch=epoch,
            is_control=bool(attributes & _CONTROL),
            is_transactional=bool(attributes & _TRANSACTIONAL),
            aborted=False,
            data=data[at:end],
        )
        at = end


def mark_aborted(batches: Sequence[FetchedBatch], aborted: Sequence[tuple[int, int]]) -> list[FetchedBatch]:
    """With ``aborted`` set on the data of aborted transactions: (producer id, first offset), as the broker names
    them for these batches. One lasts from its first offset to its producer's next marker, which is the abort's."""
    waiting = deque(sorted(aborted, key=lambda entry: entry[1]))
    aborting: set[int] = set()
    marked = []
    for batch in batches:
        while waiting and waiting[0][1] <= batch.last_offset:
            aborting.add(waiting.popleft()[0])
        if batch.is_control:
            aborting.discard(batch.producer_id)
        elif batch.is_transactional and batch.producer_id in aborting:
            batch = evolve(batch, aborted=True)
        marked.append(batch)
    return marked
