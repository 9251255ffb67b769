"""The readable reference, which any Python runs. What a native kernel does is defined here."""

from csv2kafka.kernel._python.boundary import find_boundary, find_boundary_exact
from csv2kafka.kernel._python.checksum import crc32c
from csv2kafka.kernel._python.compare import equal_rows
from csv2kafka.kernel._python.compression import COMPRESSIONS, DEFAULT_COMPRESSION
from csv2kafka.kernel._python.digest import digest
from csv2kafka.kernel._python.encode import encode_json, encode_raw
from csv2kafka.kernel._python.inflate import Inflater, crc32
from csv2kafka.kernel._python.layout import BODY_AT, HEADER_BYTES, Batch, BatchHeader, Header, batch_header
from csv2kafka.kernel._python.pack import pack_batch, pack_records, stamp
from csv2kafka.kernel._python.rows import FirstRecord, first_record
from csv2kafka.kernel._python.unpack import unpack_batch

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
