"""A Kafka record batch to columns, whoever wrote it."""

from __future__ import annotations

from array import array
from itertools import accumulate

from attrs import field, frozen
from typing_extensions import Buffer

from csv2kafka.kernel._python.checksum import crc32c
from csv2kafka.kernel._python.compression import decompress
from csv2kafka.kernel._python.envelope import checked_header, compression_of, malformed, whole_batch
from csv2kafka.kernel._python.layout import HEADER_BYTES, Batch, Header
from csv2kafka.model import Records

_TOO_LARGE_BITS = 70


def unpack_batch(data: Buffer) -> Batch:
    """One whole batch of format 2. StateContradiction if it is another, its CRC is wrong, or it makes no sense."""
    raw = data if isinstance(data, bytes) else bytes(memoryview(data))
    header = checked_header(raw, crc32c)
    try:
        body = decompress(raw[HEADER_BYTES:], compression_of(header)) if header.record_count else b""
        rows = _rows(body, header.record_count)
    except (IndexError, ValueError, OverflowError) as error:
        raise malformed(header) from error
    return whole_batch(
        header,
        records=rows.records(),
        deltas=rows.deltas,
        null_keys=rows.null_keys,
        null_values=rows.null_values,
        headers=rows.headers,
    )


@frozen
class _Rows:
    deltas: array[int] = field(factory=lambda: array("I"))
    keys: list[bytes] = field(factory=list)
    values: list[bytes] = field(factory=list)
    null_keys: list[int] = field(factory=list)
    null_values: list[int] = field(factory=list)
    headers: dict[int, tuple[Header, ...]] = field(factory=dict)

    def records(self) -> Records:
        keyed = len(self.null_keys) < len(self.values)
        return Records(
            values=b"".join(self.values),
            value_ends=array("I", accumulate(map(len, self.values))),
            keys=b"".join(self.keys) if keyed else None,
            key_ends=array("I", accumulate(map(len, self.keys))) if keyed else None,
        )


def _rows(body: bytes, count: int) -> _Rows:
    """Raises IndexError, ValueError or OverflowError when the bytes are not ``count`` records."""
    rows = _Rows()
    pos = 0
    for row in range(count):
        length, pos = _varint(body, pos)
        end = pos + length
        pos += 1  # attributes: none are defined
        _, pos = _varint(body, pos)  # timestamp delta
        delta, pos = _varint(body, pos)
        key, pos = _nullable(body, pos)
        value, pos = _nullable(body, pos)
        if body[pos]:
            headers, pos = _headers(body, pos)
            rows.headers[row] = headers
        else:
            pos += 1
        if pos != end:
            raise ValueError("a record's length and content differ")
        if key is None:
            rows.null_keys.append(row)
        if value is None:
            rows.null_values.append(row)
        rows.deltas.append(delta)
        rows.keys.append(key or b"")
        rows.values.append(value or b"")
    if pos != len(body):
        raise ValueError("bytes behind the last record")
    return rows


def _headers(body: bytes, pos: int) -> tuple[tuple[Header, ...], int]:
    count, pos = _varint(body, pos)
    headers: list[Header] = []
    for _ in range(count):
        name, pos = _nullable(body, pos)
        value, pos = _nullable(body, pos)
        headers.append(((name or b"").decode(errors="surrogateescape"), value))
    return tuple(headers), pos


def _nullable(body: bytes, pos: int) -> tuple[bytes | None, int]:
    length, pos = _varint(body, pos)
    if length < 0:
        return None, pos
    # Where this is behind the body's end, the record does not end where it says.
    return body[pos : pos + length], pos + length


def _varint(body: bytes, pos: int) -> tuple[int, int]:
    """A zigzag varint at ``pos``, and where it ends. One that no length or delta can be is as good as any other: its
    bits are not kept, of which there could be a batch full."""
    byte = body[pos]
    pos += 1
    rest = byte & 0x7F
    shift = 7
    while byte & 0x80:
        byte = body[pos]
        pos += 1
        rest |= (byte & 0x7F) << min(shift, _TOO_LARGE_BITS)
        shift += 7
    return (rest >> 1) ^ -(rest & 1), pos
