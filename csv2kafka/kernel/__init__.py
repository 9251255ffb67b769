"""The hot functions: find a record boundary, encode a chunk, digest and compare rows, pack and unpack Kafka
record batches; and decompress deflate, which gzip is made of.

This module is the only way to them: to the native implementation where it was built, else to the Python reference,
which gives the same results, more slowly (see ``_choose``). The functions are pure: bytes, numbers and tuples in,
bytes and columns out; no files, clock or environment, and safe to call in several threads at once. ``NAME`` says
which implementation is in use; it is imported with the first function that is asked for, so that the name alone
costs little.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csv2kafka.kernel._python import (
        BODY_AT,
        COMPRESSIONS,
        DEFAULT_COMPRESSION,
        HEADER_BYTES,
        Batch,
        BatchHeader,
        FirstRecord,
        Header,
        Inflater,
        batch_header,
        crc32,
        crc32c,
        digest,
        encode_json,
        encode_raw,
        equal_rows,
        find_boundary,
        find_boundary_exact,
        first_record,
        pack_batch,
        pack_records,
        stamp,
        unpack_batch,
    )

    NAME: str

__all__ = [
    "BODY_AT",
    "COMPRESSIONS",
    "DEFAULT_COMPRESSION",
    "HEADER_BYTES",
    "NAME",
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


if not TYPE_CHECKING:  # so that a type checker sees a name that is not there

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        chosen = globals().get("NAME") or import_module(f"{__name__}._choose").choose()
        globals()["NAME"] = chosen
        if name != "NAME":
            globals()[name] = getattr(import_module(f"{__name__}._{chosen}"), name)
        return globals()[name]
