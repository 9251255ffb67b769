"""Rows to a whole Kafka record batch, with room for what is only known when it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from typing_extensions import Buffer

from csv2kafka.kernel._python.checksum import crc32c
from csv2kafka.kernel._python.columns import slices
from csv2kafka.kernel._python.compression import COMPRESSIONS, compress
from csv2kafka.kernel._python.layout import (
    BODY,
    BODY_AT,
    CRC_AT,
    HEADER_BYTES,
    LENGTH_FROM,
    PREFIX,
    TRANSACTIONAL_BIT,
    Header,
)
from csv2kafka.model import Records

_TABLE = 1 << 16


def pack_batch(records: Records, first: int, last: int, *, compression: str, level: int | None = None) -> bytearray:
    """A batch of the good rows ``first`` to ``last`` (excluded; at least one): base offset 0, leader epoch -1.

    ``compression``: one of ``COMPRESSIONS``. Timestamp, producer, sequence and CRC are for ``stamp``.
    """
    values = slices(records.values, records.value_ends, first, last)
    if records.keys is None or records.key_ends is None:
        keys, null_key = None, b"\x01"
    else:
        keys, null_key = slices(records.keys, records.key_ends, first, last), b""
    # A record is: length, attributes and timestamp delta (two zeros), offset delta, key, value, no headers (zero).
    # What depends on lengths only is made once for each length.
    value_heads = {size: null_key + varint(size) for size in set(map(len, values))}
    offsets = _varints()
    parts: list[bytes] = []
    for delta, value in enumerate(values):
        offset = offsets[delta] if delta < _TABLE else varint(delta)
        head = value_heads[len(value)]
        if keys is None:
            size = 3 + len(offset) + len(head) + len(value)
            parts += offsets[size] if size < _TABLE else varint(size), b"\0\0", offset, head, value, b"\0"
        else:
            key = keys[delta]
            key_head = offsets[len(key)] if len(key) < _TABLE else varint(len(key))
            size = 3 + len(offset) + len(key_head) + len(key) + len(head) + len(value)
            parts += varint(size), b"\0\0", offset, key_head, key, head, value, b"\0"
    return _batch(b"".join(parts), last - first, compression, level)


def pack_records(
    records: Sequence[tuple[bytes | None, bytes | None, Sequence[Header]]],
    *,
    compression: str = "none",
    level: int | None = None,
) -> bytearray:
    """A batch of (key, value, headers), where key, value and a header's value may be null. At least one."""
    parts: list[bytes] = []
    for delta, (key, value, headers) in enumerate(records):
        body = [b"\0\0", varint(delta), _nullable(key), _nullable(value), varint(len(headers))]
        for name, content in headers:
            body += _nullable(name.encode()), _nullable(content)
        record = b"".join(body)
        parts += varint(len(record)), record
    return _batch(b"".join(parts), len(records), compression, level)


def stamp(
    batch: bytearray,
    *,
    producer_id: int,
    epoch: int,
    sequence: int,
    timestamp_ms: int,
    transactional: bool,
    checksum: Callable[[Buffer], int] = crc32c,
) -> None:
    """Fill in who sends the batch, when and as which, in place, and its CRC. May be done again.

    ``sequence``: of the first record. Timestamps of all records are ``timestamp_ms``.
    """
    attributes, last_delta, _, _, _, _, _, count = BODY.unpack_from(batch, BODY_AT)
    attributes = attributes | TRANSACTIONAL_BIT if transactional else attributes & ~TRANSACTIONAL_BIT
    BODY.pack_into(
        batch, BODY_AT, attributes, last_delta, timestamp_ms, timestamp_ms, producer_id, epoch, sequence, count
    )
    with memoryview(batch) as view, view[BODY_AT:] as covered:
        batch[CRC_AT:BODY_AT] = checksum(covered).to_bytes(4, "big")


def _batch(body: bytes, count: int, compression: str, level: int | None) -> bytearray:
    packed = compress(body, compression, level)
    batch = bytearray(HEADER_BYTES + len(packed))
    PREFIX.pack_into(batch, 0, 0, len(batch) - LENGTH_FROM, -1, 2, 0)
    BODY.pack_into(batch, BODY_AT, COMPRESSIONS.index(compression), count - 1, 0, 0, -1, -1, -1, count)
    batch[HEADER_BYTES:] = packed
    return batch


def _nullable(data: bytes | None) -> bytes:
    return b"\x01" if data is None else varint(len(data)) + data


def varint(value: int) -> bytes:
    """A zigzag varint."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


@lru_cache(maxsize=1)
def _varints() -> list[bytes]:
    """The varints of 0 to 65535, made when first needed."""
    return [varint(value) for value in range(_TABLE)]
