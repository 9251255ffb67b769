"""Kafka's record batch, format 2 (KIP-98), as both packing and unpacking see it.

base offset i64 | length i32 | leader epoch i32 | magic i8 | CRC u32 |                        bytes 0–20
attributes i16 | last offset delta i32 | base timestamp i64 | max timestamp i64 |             from byte 21
producer id i64 | producer epoch i16 | base sequence i32 | record count i32 | records …       on: under the CRC

record: length | attributes i8 | timestamp delta | offset delta | key length, key |
        value length, value | header count, headers                 lengths are zigzag varints, -1 is null
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attrs import field, frozen
from typing_extensions import Buffer

from csv2kafka.model import Records

PREFIX = struct.Struct(">qiibI")
BODY = struct.Struct(">hiqqqhii")
CRC_AT = 17
BODY_AT = PREFIX.size
HEADER_BYTES = PREFIX.size + BODY.size
LENGTH_FROM = 12  # the length counts the bytes behind itself

COMPRESSION_BITS = 0x07
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20

_HEADER = struct.Struct(PREFIX.format + BODY.format.lstrip(">"))

Header = tuple[str, bytes | None]


class BatchHeader(NamedTuple):
    """The numbers before a batch's records, as they stand there. ``length``: of what is behind it, in bytes.

    Timestamps in ms. A producer id of -1 means none.
    """

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Of the whole batch, in bytes."""
        return LENGTH_FROM + self.length

    @property
    def last_offset(self) -> int:
        """The offset of the batch's last place, whether or not a record still stands there."""
        return self.base_offset + self.last_offset_delta

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL_BIT)


def batch_header(data: Buffer, at: int = 0) -> BatchHeader:
    """The header of the batch that begins there; nothing of it is checked. struct.error if it is not whole."""
    return BatchHeader(*_HEADER.unpack_from(data, at))


@frozen(eq=False, kw_only=True)
class Batch:
    """A record batch, as columns. Rows are counted from 0.

    ``offset_deltas``: each row's offset less the header's ``base_offset``; compaction leaves gaps, so the last row
    may stand before ``last_offset_delta``. ``null_keys``/``null_values``: rows where it is null rather than empty;
    where no row has a key, ``records.keys`` is None and ``null_keys`` empty. ``headers``: of the rows that have any.
    """

    header: BatchHeader
    compression: str
    records: Records
    offset_deltas: Sequence[int]
    null_keys: frozenset[int] = frozenset()
    null_values: frozenset[int] = frozenset()
    headers: Mapping[int, tuple[Header, ...]] = field(factory=dict)
