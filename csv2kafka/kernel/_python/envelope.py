"""What a Kafka record batch says of itself before its records: checked, and made a ``Batch`` with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen
from crc32c import crc32c

from csv2kafka.errors import StateContradiction
from csv2kafka.kernel._python.compression import COMPRESSIONS
from csv2kafka.kernel._python.layout import (
    BODY,
    BODY_AT,
    COMPRESSION_BITS,
    CONTROL_BIT,
    HEADER_BYTES,
    LENGTH_FROM,
    PREFIX,
    TRANSACTIONAL_BIT,
    Batch,
    Header,
)
from csv2kafka.model import Records

_HINT = "see what wrote it with Kafka's kafka-dump-log"


@frozen(kw_only=True)
class Envelope:
    """The header of a batch. ``count``: its records, as it says."""

    base_offset: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    is_control: bool
    is_transactional: bool
    compression: str
    count: int

    def malformed(self) -> StateContradiction:
        """The error where the records are not what they should be."""
        return StateContradiction(f"{_where(self.base_offset)} has a malformed record", hint=_HINT)

    def batch(
        self,
        *,
        records: Records,
        deltas: Sequence[int],
        null_keys: Sequence[int],
        null_values: Sequence[int],
        headers: Mapping[int, tuple[Header, ...]],
    ) -> Batch:
        """The whole batch."""
        return Batch(
            base_offset=self.base_offset,
            last_offset_delta=self.last_offset_delta,
            first_timestamp=self.first_timestamp,
            max_timestamp=self.max_timestamp,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=self.base_sequence,
            is_control=self.is_control,
            is_transactional=self.is_transactional,
            compression=self.compression,
            records=records,
            offset_deltas=deltas,
            null_keys=frozenset(null_keys) if len(null_keys) < self.count else frozenset(),
            null_values=frozenset(null_values),
            headers=headers,
        )


def read_envelope(raw: bytes) -> Envelope:
    """The header of one whole batch. StateContradiction if it is of another format, or its CRC is wrong."""
    if len(raw) < HEADER_BYTES:
        raise StateContradiction(f"a record batch has {len(raw)} bytes, expected at least {HEADER_BYTES}", hint=_HINT)
    base_offset, length, _, magic, crc = PREFIX.unpack_from(raw)
    where = _where(base_offset)
    if magic != 2:
        raise StateContradiction(f"{where} has format {magic}, expected 2 (Kafka 0.11 or later)", hint=_HINT)
    if length != len(raw) - LENGTH_FROM:
        raise StateContradiction(f"{where} has {len(raw)} bytes, its header says {length + LENGTH_FROM}", hint=_HINT)
    found = crc32c(memoryview(raw)[BODY_AT:])
    if crc != found:
        raise StateContradiction(f"{where} is damaged: expected CRC-32C {crc:08x}, found {found:08x}", hint=_HINT)
    attributes, last_delta, first_ts, max_ts, producer, epoch, sequence, count = BODY.unpack_from(raw, BODY_AT)
    code = attributes & COMPRESSION_BITS
    if code >= len(COMPRESSIONS):
        raise StateContradiction(f"{where} has compression {code}, expected 0 to 4", hint=_HINT)
    return Envelope(
        base_offset=base_offset,
        last_offset_delta=last_delta,
        first_timestamp=first_ts,
        max_timestamp=max_ts,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        is_control=bool(attributes & CONTROL_BIT),
        is_transactional=bool(attributes & TRANSACTIONAL_BIT),
        compression=COMPRESSIONS[code],
        count=count,
    )


def _where(base_offset: int) -> str:
    return f"the record batch at offset {base_offset}"
