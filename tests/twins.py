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
    """The reference's records, as JSON and raw."""
    json = _same(
        lambda kernel: kernel.encode_json(data, dialect=dialect, header=header, keys=keys, last=last), columns_of
    )
    raw = _same(
        lambda kernel: kernel.encode_raw(data, dialect=dialect, columns=len(header), keys=keys, last=last), columns_of
    )
    return json, raw


def compare_batches(records: Records, first: int, last: int, codec: str, level: int | None = None) -> None:
    """Packed by either, unpacked by both; what is not compressed is equal byte for byte."""
    _same(lambda kernel: kernel.digest(records, first, last))
    _same(lambda kernel: kernel.pack_batch(records, first, last, compression="none"))
    if first == last:
        return
    batches = [kernel.pack_batch(records, first, last, compression=codec, level=level) for kernel in _both()]
    head = _python.HEADER_BYTES
    assert batches[0][12:head] == batches[1][12:head]
    bodies = [decompress(bytes(batch[head:]), codec) for batch in batches]
    assert bodies[0] == bodies[1]
    for batch in batches:
        compare_unpacking(stamped(batch))


def compare_unpacking(batch: bytes) -> None:
    """Of any bytes, a batch or not."""
    _same(lambda kernel: _unpacked(kernel, batch))


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
    """Do it with both; gives the reference's result."""
    python, rust = (work(kernel) for kernel in _both())
    assert seen(rust) == seen(python)
    return python
