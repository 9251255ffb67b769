"""The hot functions: find a record boundary, encode a chunk, digest, pack and unpack Kafka record batches.

This module chooses the implementation and is the only way to it. The functions are pure: bytes, numbers and
tuples in, bytes and columns out; no files, clock or environment, and safe to call in several threads at once.
``NAME`` says which implementation is in use; it is imported with the first function that is asked for, so that
the name alone costs nothing.
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
        batch_header,
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

NAME = "python"

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
    "batch_header",
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


if not TYPE_CHECKING:  # so that a type checker sees a name that is not there

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}._{NAME}"), name)
