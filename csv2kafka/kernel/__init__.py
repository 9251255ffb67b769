"""The hot functions: find a record boundary, encode a chunk, digest, pack and unpack Kafka record batches.

This module chooses the implementation and is the only way to it. The functions are pure: bytes, numbers and
tuples in, bytes and columns out; no files, clock or environment, and safe to call in several threads at once.
``NAME`` says which implementation is in use.
"""

from csv2kafka.kernel._python import (
    COMPRESSIONS,
    DEFAULT_COMPRESSION,
    HEADER_BYTES,
    NAME,
    Batch,
    FirstRecord,
    Header,
    digest,
    encode_json,
    encode_raw,
    find_boundary,
    find_boundary_exact,
    first_record,
    pack_batch,
    pack_records,
    stamp,
    unpack_batch,
)

__all__ = [
    "COMPRESSIONS",
    "DEFAULT_COMPRESSION",
    "HEADER_BYTES",
    "NAME",
    "Batch",
    "FirstRecord",
    "Header",
    "digest",
    "encode_json",
    "encode_raw",
    "find_boundary",
    "find_boundary_exact",
    "first_record",
    "pack_batch",
    "pack_records",
    "stamp",
    "unpack_batch",
]
