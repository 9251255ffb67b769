"""From the bytes a broker gives to record batches: whole ones only, checked, and aborted ones marked (KIP-98).

Records stay compressed; only the header of a batch is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from attrs import evolve
from typing_extensions import Buffer

from csv2kafka.errors import Doubt, StateContradiction
from csv2kafka.kafka.port import FetchedBatch, TopicPartition
from csv2kafka.kernel import BODY_AT, HEADER_BYTES, batch_header, crc32c

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
    while at + HEADER_BYTES <= len(data):
        header = batch_header(data, at)
        base = header.base_offset
        if header.magic != _MAGIC:
            raise StateContradiction(
                f"{source}: offset {base} has message format {header.magic}, expected {_MAGIC}",
                hint="the topic holds records of a Kafka before 0.11; use a topic without them",
            )
        end = at + header.size
        if end > len(data):
            return
        if header.size < HEADER_BYTES or crc32c(data[at + BODY_AT : end]) != header.crc:
            raise Doubt(f"{source}: the record batch at offset {base} is damaged: its CRC does not fit")
        yield FetchedBatch(
            base_offset=base,
            last_offset=header.last_offset,
            producer_id=header.producer_id,
            producer_epoch=header.producer_epoch,
            is_control=header.is_control,
            is_transactional=header.is_transactional,
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
