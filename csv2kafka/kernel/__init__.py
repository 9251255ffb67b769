"""The hot functions: find a record boundary, encode a chunk, digest, pack and unpack Kafka record batches.

This module chooses the implementation and is the only way to it: the native one where it was built, else the
Python reference, which gives the same results, more slowly. ``CSV2KAFKA_KERNEL`` (``native`` or ``python``) forces
one. The functions are pure: bytes, numbers and tuples in, bytes and columns out; no files, clock or environment,
and safe to call in several threads at once. ``NAME`` says which implementation is in use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csv2kafka.kernel import _python as _chosen
else:
    from csv2kafka.kernel._choose import choose

    _chosen = choose()

from csv2kafka.kernel._python import COMPRESSIONS, DEFAULT_COMPRESSION, HEADER_BYTES, Batch, FirstRecord, Header

NAME = _chosen.NAME
digest = _chosen.digest
encode_json = _chosen.encode_json
encode_raw = _chosen.encode_raw
find_boundary = _chosen.find_boundary
find_boundary_exact = _chosen.find_boundary_exact
first_record = _chosen.first_record
pack_batch = _chosen.pack_batch
pack_records = _chosen.pack_records
stamp = _chosen.stamp
unpack_batch = _chosen.unpack_batch

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
