"""What a Kafka record batch says of itself before its records: checked, and made a ``Batch`` with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from typing_extensions import Buffer

from csv2kafka.errors import StateContradiction
from csv2kafka.kernel._python.compression import COMPRESSIONS
from csv2kafka.kernel._python.layout import (
    BODY_AT,
    COMPRESSION_BITS,
    HEADER_BYTES,
    Batch,
    BatchHeader,
    Header,
    batch_header,
)
from csv2kafka.model import Records

_HINT = "see what wrote it with Kafka's kafka-dump-log"


def checked_header(raw: bytes, checksum: Callable[[Buffer], int]) -> BatchHeader:
    """The header of one whole batch. StateContradiction if it is of another format, or its CRC is wrong."""
    if len(raw) < HEADER_BYTES:
        raise StateContradiction(f"a record batch has {len(raw)} bytes, expected at least {HEADER_BYTES}", hint=_HINT)
    header = batch_header(raw)
    where = _where(header)
    if header.magic != 2:
        raise StateContradiction(f"{where} has format {header.magic}, expected 2 (Kafka 0.11 or later)", hint=_HINT)
    if header.size != len(raw):
        raise StateContradiction(f"{where} has {len(raw)} bytes, its header says {header.size}", hint=_HINT)
    found = checksum(memoryview(raw)[BODY_AT:])
    if header.crc != found:
        raise StateContradiction(
            f"{where} is damaged: expected CRC-32C {header.crc:08x}, found {found:08x}", hint=_HINT
        )
    code = header.attributes & COMPRESSION_BITS
    if code >= len(COMPRESSIONS):
        raise StateContradiction(f"{where} has compression {code}, expected 0 to 4", hint=_HINT)
    return header


def compression_of(header: BatchHeader) -> str:
    """The codec's name. The header is a checked one."""
    return COMPRESSIONS[header.attributes & COMPRESSION_BITS]


def malformed(header: BatchHeader) -> StateContradiction:
    """The error where the records are not what they should be."""
    return StateContradiction(f"{_where(header)} has a malformed record", hint=_HINT)


def whole_batch(
    header: BatchHeader,
    *,
    records: Records,
    deltas: Sequence[int],
    null_keys: Sequence[int],
    null_values: Sequence[int],
    headers: Mapping[int, tuple[Header, ...]],
) -> Batch:
    """A batch of its checked header and what was behind it."""
    return Batch(
        header=header,
        compression=compression_of(header),
        records=records,
        offset_deltas=deltas,
        null_keys=frozenset(null_keys) if len(null_keys) < header.record_count else frozenset(),
        null_values=frozenset(null_values),
        headers=headers,
    )


def _where(header: BatchHeader) -> str:
    return f"the record batch at offset {header.base_offset}"
