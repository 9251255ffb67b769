"""Both kernels on the same input: everything they say has to be equal."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, cast
from unittest import mock

import pytest

from csv2kafka import kernel as chosen
from csv2kafka.errors import StateContradiction
from csv2kafka.framing import Framer
from csv2kafka.kafka import packer
from csv2kafka.kernel import _python
from csv2kafka.kernel._python.compression import decompress
from csv2kafka.model import Block, Dialect, Packed, Records, ResumePoint

try:
    from csv2kafka.kernel import _native
except ImportError:
    native: ModuleType | None = None
else:
    native = _native

REQUIRED = any(os.environ.get(name, "") not in ("", "0", "false") for name in ("CI", "CSV2KAFKA_REQUIRE_NATIVE"))


def kernel_of(name: str) -> ModuleType:
    """The implementation. Where the native one was not built the test is skipped; in CI it fails."""
    if name == "python":
        return _python
    if native is None and REQUIRED:
        pytest.fail("the native kernel was not built, and CI is set", pytrace=False)
    if native is None:
        pytest.skip("the native kernel was not built: no Rust")
    return native


def in_its_marks(data: bytes, dialect: Dialect) -> bytes:
    """The text with the dialect's marks where it has the usual ones: ``, " \\ #``."""
    usual = zip(b',"\\#', (dialect.delimiter, dialect.quote, dialect.escape, dialect.comment), strict=True)
    marks = {old: ord(new) for old, new in usual if new is not None}
    return bytes(marks.get(byte, byte) for byte in data)


def compare_boundaries(data: bytes, dialect: Dialect, end: int | None, *, final: bool) -> None:
    quote = ord(dialect.quote) if dialect.quote else None
    middle = len(data) // 2
    _same(lambda kernel: kernel.find_boundary((data,), quote, end))
    _same(lambda kernel: kernel.find_boundary((data[:middle], b"", data[middle:]), quote, end))
    for make in (bytes, bytearray):
        _same(partial(_exact_boundary, make(data), dialect, end, final))


def _exact_boundary(data: bytes | bytearray, dialect: Dialect, end: int | None, final: bool, kernel: ModuleType) -> int:
    return cast(int, kernel.find_boundary_exact(data, dialect, end, final=final))


def compare_framing(data: bytes, dialect: Dialect, sizes: Sequence[int], *, chunk_bytes: int, max_record: int) -> None:
    """An object whose blocks have these sizes, again and again: the same chunks."""
    blocks: list[Block] = []
    while (at := sum(len(block.data) for block in blocks)) < len(data) or not blocks:
        size = sizes[len(blocks) % len(sizes)]
        blocks.append(Block(data=data[at : at + size], offset=at, resume=ResumePoint(offset=at)))
    for exact in (False, True):
        make = partial(Framer, dialect, 0, header=("a",), max_record=max_record, chunk_bytes=chunk_bytes, exact=exact)
        _same(lambda kernel, make=make: _framed(kernel, make(), blocks))  # type: ignore[misc]


def _framed(kernel: ModuleType, framer: Framer, blocks: Sequence[Block]) -> object:
    with mock.patch.multiple(
        chosen, find_boundary=kernel.find_boundary, find_boundary_exact=kernel.find_boundary_exact
    ):
        chunks = [chunk for block in blocks for chunk in framer.feed(block)] + framer.finish()
    return [(c.offset, c.data, c.last, c.marks, c.broken and c.broken.reason) for c in chunks]


def compare_encoding(
    data: bytes, dialect: Dialect, header: tuple[str, ...], keys: tuple[int, ...], *, last: bool
) -> tuple[Records, Records]:
    """The records as JSON and raw, as the native kernel has them: rows that it holds itself."""
    json = _same(
        lambda kernel: kernel.encode_json(data, dialect=dialect, header=header, keys=keys, last=last), columns_of
    )
    raw = _same(
        lambda kernel: kernel.encode_raw(data, dialect=dialect, columns=len(header), keys=keys, last=last), columns_of
    )
    return json, raw


def plain(records: Records) -> Records:
    """The same rows as bytes and columns, whoever holds them."""
    keys, key_ends = records.keys, records.key_ends
    return Records(values=records.values, value_ends=records.value_ends, keys=keys, key_ends=key_ends)


def compare_batches(records: Records, first: int, last: int, codec: str, level: int | None = None) -> None:
    """Packed by either, unpacked by both; what is not compressed is equal byte for byte."""
    for rows in (records, plain(records)):
        _same(partial(_digest, rows, first, last))
        _same(partial(_uncompressed, rows, first, last))
        if first != last:
            _compare_packed(rows, first, last, codec, level)


def compare_comparing(a: Records, a_first: int, b: Records, b_first: int, count: int) -> None:
    """Held or not, and by either."""
    for one in (a, plain(a)):
        for other in (b, plain(b)):
            _same(partial(_equal_rows, one, a_first, other, b_first, count))


def _digest(records: Records, first: int, last: int, kernel: ModuleType) -> object:
    return kernel.digest(records, first, last)


def _uncompressed(records: Records, first: int, last: int, kernel: ModuleType) -> object:
    return kernel.pack_batch(records, first, last, compression="none")


def _equal_rows(a: Records, a_first: int, b: Records, b_first: int, count: int, kernel: ModuleType) -> object:
    return kernel.equal_rows(a, a_first, b, b_first, count)


def _compare_packed(records: Records, first: int, last: int, codec: str, level: int | None) -> None:
    batches = [kernel.pack_batch(records, first, last, compression=codec, level=level) for kernel in _both()]
    head = _python.HEADER_BYTES
    assert batches[0][12:head] == batches[1][12:head]
    bodies = [decompress(bytes(batch[head:]), codec) for batch in batches]
    assert bodies[0] == bodies[1]
    for batch in batches:
        compare_unpacking(stamped(batch))


def compare_packing(records: Records, codec: str, *, limit: int, uncompressed_bytes: int) -> None:
    """By the packer, into batches of at most ``limit`` bytes: each row once, in order, or named as too large. How
    many rows a batch has depends on how well the kernel's library compresses."""
    results = [_packed(kernel, records, codec, limit, uncompressed_bytes) for kernel in _both()]
    for packed in results:
        place = 0
        left_out = dict(packed.too_large)
        for payload in packed.payloads:
            while place < payload.first:
                del left_out[place]
                place += 1
            assert payload.first == place < payload.last
            assert len(payload.body) <= limit
            rows = list(records.rows(payload.first, payload.last))
            for kernel in _both():
                batch = kernel.unpack_batch(stamped(bytearray(payload.body)))
                assert list(batch.records.rows()) == rows
            place = payload.last
        assert sorted(left_out) == list(range(place, len(records)))
    if codec == "none":
        said = [[(bytes(p.body), p.first, p.last) for p in packed.payloads] for packed in results]
        assert said[0] == said[1]
        assert results[0].too_large == results[1].too_large


def _packed(kernel: ModuleType, records: Records, codec: str, limit: int, uncompressed_bytes: int) -> Packed:
    with mock.patch.multiple(packer, pack_batch=kernel.pack_batch, UNCOMPRESSED_BYTES=uncompressed_bytes):
        return packer.KafkaPacker(limit=limit, dead_letter_limit=limit, compression=codec).pack(records)


def unpack_damaged(batch: bytes) -> None:
    """Compressed data that is damaged: whatever the native kernel's libraries notice of it, it says so in its own
    words, or gives as many rows as the header says."""
    kernel = kernel_of("native")
    try:
        unpacked = kernel.unpack_batch(batch)
    except StateContradiction:
        return
    assert len(unpacked.records) == max(0, kernel.batch_header(batch).record_count)


def compare_unpacking(batch: bytes) -> None:
    """Of any bytes, a batch or not; and its rows are compared and packed again."""
    _same(lambda kernel: _unpacked(kernel, batch))
    try:
        ours, others = [kernel.unpack_batch(batch).records for kernel in _both()]
    except StateContradiction:
        return
    assert kernel_of("native").equal_rows(ours, 0, others, 0, len(others)) == len(others)
    for first in range(min(2, len(others) + 1)):
        _same(partial(_uncompressed, others, first, len(others)))


def stamped(batch: bytearray) -> bytes:
    """The batch with a right CRC."""
    _python.stamp(batch, producer_id=1, epoch=2, sequence=3, timestamp_ms=4, transactional=True)
    return bytes(batch)


def columns_of(records: Records) -> dict[str, Any]:
    return {
        "values": bytes(records.values),
        "value_ends": list(records.value_ends),
        "keys": None if records.keys is None else bytes(records.keys),
        "key_ends": None if records.key_ends is None else list(records.key_ends),
        "size": records.size,
        "row_ends": list(records.row_ends),
        "row_lines": list(records.row_lines),
        "bad": [(row.index, row.start, row.end, row.line, row.reason) for row in records.bad],
        "place": (records.end, records.lines, records.unfinished),
    }


def _unpacked(kernel: ModuleType, data: bytes) -> object:
    try:
        batch = kernel.unpack_batch(data)
    except StateContradiction as error:
        said = str(error)
        # Each codec's library has its own words for what is wrong.
        return said.partition(": ")[0] if "cannot be decompressed" in said else said
    facts = {name: getattr(batch, name) for name in batch.__slots__ if name not in ("records", "__weakref__")}
    return facts | {"offset_deltas": list(batch.offset_deltas), "records": columns_of(batch.records)}


def _both() -> tuple[ModuleType, ModuleType]:
    return _python, kernel_of("native")


def _same(work: Callable[[ModuleType], Any], seen: Callable[[Any], object] = lambda result: result) -> Any:
    """Do it with both; gives the native one's result."""
    python, rust = (work(kernel) for kernel in _both())
    assert seen(rust) == seen(python)
    return rust
