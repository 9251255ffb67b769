"""Both kernels on the same input: everything they say has to be equal."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from csv2kafka.errors import StateContradiction
from csv2kafka.kernel import _python
from csv2kafka.kernel._python.compression import decompress
from csv2kafka.model import Dialect, Records

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


def compare_boundaries(data: bytes, dialect: Dialect, end: int | None, *, final: bool) -> None:
    quote = ord(dialect.quote) if dialect.quote else None
    for make in (bytes, bytearray):
        given = make(data)
        _same(partial(_boundaries, given, dialect, quote, end, final))


def _boundaries(
    data: bytes | bytearray, dialect: Dialect, quote: int | None, end: int | None, final: bool, kernel: ModuleType
) -> tuple[int, int]:
    return kernel.find_boundary(data, quote, end), kernel.find_boundary_exact(data, dialect, end, final=final)


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
