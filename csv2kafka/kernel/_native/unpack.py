"""A Kafka record batch to columns, whoever wrote it."""

from __future__ import annotations

from typing_extensions import Buffer

from csv2kafka.errors import StateContradiction
from csv2kafka.kernel import _rust
from csv2kafka.kernel._native.columns import numbers
from csv2kafka.kernel._native.held import records_of
from csv2kafka.kernel._python import COMPRESSIONS, HEADER_BYTES, Batch
from csv2kafka.kernel._python.compression import MAX_UNPACKED
from csv2kafka.kernel._python.envelope import checked_header, compression_of, malformed, whole_batch


def unpack_batch(data: Buffer) -> Batch:
    """See the reference's."""
    raw = data if isinstance(data, bytes) else bytes(memoryview(data))
    header = checked_header(raw, _rust.crc32c)
    codec, packed = compression_of(header), len(raw) - HEADER_BYTES
    try:
        rows, deltas, null_keys, null_values, headers = _rust.unpack_records(
            raw, HEADER_BYTES, COMPRESSIONS.index(codec), header.record_count, MAX_UNPACKED
        )
    except _rust.Undecodable as error:
        raise StateContradiction(f"a record batch cannot be decompressed as {codec}: {error}") from error
    except _rust.TooLong as error:
        message = f"a record batch of {packed} bytes decompresses to more than {MAX_UNPACKED} bytes"
        raise StateContradiction(message) from error
    except _rust.Malformed as error:
        raise malformed(header) from error
    return whole_batch(
        header,
        records=records_of(rows),
        deltas=numbers(deltas),
        null_keys=null_keys,
        null_values=null_values,
        headers={
            row: tuple((name.decode(errors="surrogateescape"), value) for name, value in each) for row, each in headers
        },
    )
