"""The readable reference, which any Python runs. What a native kernel does is defined here."""

from csv2kafka.kernel._python.boundary import find_boundary, find_boundary_exact
from csv2kafka.kernel._python.compression import COMPRESSIONS, DEFAULT_COMPRESSION
from csv2kafka.kernel._python.digest import digest
from csv2kafka.kernel._python.encode import encode_json, encode_raw
from csv2kafka.kernel._python.layout import HEADER_BYTES, Batch, Header
from csv2kafka.kernel._python.pack import pack_batch, pack_records, stamp
from csv2kafka.kernel._python.rows import FirstRecord, first_record
from csv2kafka.kernel._python.unpack import unpack_batch

__all__ = [
    "COMPRESSIONS",
    "DEFAULT_COMPRESSION",
    "HEADER_BYTES",
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
