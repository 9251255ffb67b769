"""The Rust kernel (``rust/``) with the same functions as the reference. ImportError where it was not built."""

from csv2kafka.kernel._native.boundary import find_boundary, find_boundary_exact
from csv2kafka.kernel._native.checksum import crc32c
from csv2kafka.kernel._native.compare import equal_rows
from csv2kafka.kernel._native.digest import digest
from csv2kafka.kernel._native.encode import encode_json, encode_raw
from csv2kafka.kernel._native.inflate import Inflater, crc32
from csv2kafka.kernel._native.pack import pack_batch, stamp
from csv2kafka.kernel._native.unpack import unpack_batch

# What is seldom asked for, or does its work in C already, is the reference's.
from csv2kafka.kernel._python import (
    BODY_AT,
    COMPRESSIONS,
    DEFAULT_COMPRESSION,
    HEADER_BYTES,
    Batch,
    BatchHeader,
    FirstRecord,
    Header,
    batch_header,
    first_record,
    pack_records,
)

__all__ = [
    "BODY_AT",
    "COMPRESSIONS",
    "DEFAULT_COMPRESSION",
    "HEADER_BYTES",
    "Batch",
    "BatchHeader",
    "FirstRecord",
    "Header",
    "Inflater",
    "batch_header",
    "crc32",
    "crc32c",
    "digest",
    "encode_json",
    "encode_raw",
    "equal_rows",
    "find_boundary",
    "find_boundary_exact",
    "first_record",
    "pack_batch",
    "pack_records",
    "stamp",
    "unpack_batch",
]
