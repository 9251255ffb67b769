"""Record batches that lie: of counts, lengths and codecs, with a CRC that fits. Both kernels refuse them, or agree.

A batch may become 256 MiB, whoever wrote it, and no more memory is taken for what a header says than that.
"""

from __future__ import annotations

import random
import struct
import zlib
from io import BytesIO

import cramjam
import zstandard
from lz4 import frame as lz4_frame

from csv2kafka.errors import Csv2KafkaError, Doubt, StateContradiction
from csv2kafka.kafka.fetched import split
from csv2kafka.kafka.port import TopicPartition
from csv2kafka.kernel import _python
from csv2kafka.kernel._python.compression import COMPRESSIONS
from tests import twins
from tests.hostile.spoil import NUMBERS, spoiled

SOURCE = TopicPartition("orders", 0)
COUNT_AT, ATTRIBUTES_AT = 57, 21


def whole(codec: str, body: bytes, count: int) -> bytes:
    """A batch with a CRC and a length that fit, whatever is in it."""
    head = struct.pack(">qiibI", 3, 0, 0, 2, 0) + struct.pack(
        ">hiqqqhii", COMPRESSIONS.index(codec), max(0, count - 1) % 2**31, 0, 0, 7, 1, 0, _signed(count)
    )
    return stamped(head + body)


def stamped(batch: bytes) -> bytes:
    made = bytearray(batch)
    made[8:12] = struct.pack(">i", len(made) - 12)
    made[17:21] = struct.pack(">I", _python.crc32c(made[21:]))
    return bytes(made)


def _signed(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31


def body_of(draw: random.Random) -> tuple[bytes, int]:
    """Records, mostly right."""
    rows = draw.randint(0, 6)
    body = b""
    for row in range(rows):
        record = b"\0\0" + _varint(row)
        for part in (draw.choice([None, b"", b"k" * draw.randint(1, 80)]), draw.choice([None, b"v" * 5, b"w" * 300])):
            record += _varint(-1) if part is None else _varint(len(part)) + part
        headers = [(b"h", b"x"), (b"n", None)][: draw.choice([0, 0, 1, 2])]
        record += _varint(len(headers))
        for name, value in headers:
            record += _varint(len(name)) + name + (_varint(-1) if value is None else _varint(len(value)) + value)
        body += _varint(len(record)) + record
    return body, rows


def _varint(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    made = bytearray()
    while rest > 0x7F:
        made.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*made, rest])


def packed(codec: str, body: bytes) -> bytes:
    if codec == "gzip":
        return zlib.compress(body, wbits=31)
    if codec == "snappy":
        return bytes(cramjam.snappy.compress_raw(body))
    if codec == "lz4":
        made: bytes = lz4_frame.compress(body, block_linked=False)
        return made
    return zstandard.ZstdCompressor().compress(body) if codec == "zstd" else body


def bomb(codec: str, size: int) -> bytes:
    """A batch that becomes ``size`` zero bytes, and is small."""
    return whole(codec, packed(codec, bytes(size)), 1)


def try_one(seed: int) -> str:
    """A batch made wrong somewhere, behind a CRC that fits: the kernels agree on it."""
    draw = random.Random(seed)
    codec = draw.choice(COMPRESSIONS)
    body, count = body_of(draw)
    kind = draw.randrange(5)
    if kind == 0:
        body = spoiled(draw, body)
    if kind == 1:
        count = draw.choice([*NUMBERS, -1, -5, count + 1, max(0, count - 1)])
    content = packed(codec, body)
    if kind == 2 and codec != "none":
        content = spoiled(draw, content)
    batch = whole(codec, content, count)
    if kind == 3:
        made = bytearray(batch)
        made[draw.randrange(21, _python.HEADER_BYTES)] = draw.randrange(256)
        batch = stamped(bytes(made))
    if kind == 4:
        batch = spoiled(draw, batch)
    return unpack(batch, same=kind != 2)


def unpack(batch: bytes, *, same: bool = True) -> str:
    """What both kernels say of it. ``same``: they have to agree on whether they take it (of damaged compressed data the
    libraries differ in what they notice)."""
    told = []
    for kernel in [_python, *([twins.native] if twins.native else [])]:
        try:
            found = kernel.unpack_batch(batch)
        except StateContradiction:
            told.append("refused")
        else:
            rows = list(found.records.rows())
            assert len(rows) == len(found.offset_deltas) == max(0, found.header.record_count), found.header
            told.append(f"{len(rows)} rows")
    if same:
        assert len(set(told)) == 1, told
    try:
        for one in split(batch, SOURCE):
            assert memoryview(one.data).nbytes <= len(batch)
    except (Doubt, StateContradiction):
        pass
    return told[0] if told[0] == "refused" else "taken"


def streams(draw: random.Random) -> bytes:
    """A fetched log: some batches one after another, made wrong."""
    out = BytesIO()
    for _ in range(draw.randint(1, 4)):
        body, count = body_of(draw)
        codec = draw.choice(COMPRESSIONS)
        out.write(whole(codec, packed(codec, body), count))
    return spoiled(draw, out.getvalue())


def try_stream(seed: int) -> str:
    """What is fetched is taken batch by batch, or an error of ours; none is taken whose CRC does not fit."""
    data = streams(random.Random(seed))
    try:
        batches = split(data, SOURCE)
    except Csv2KafkaError as error:
        return type(error).__name__
    at = 0
    for one in batches:
        raw = bytes(one.data)
        assert data[at : at + len(raw)] == raw
        assert struct.unpack_from(">I", raw, 17)[0] == _python.crc32c(raw[21:])
        at += len(raw)
    return "taken"
