"""What ``rust/src/python.rs`` gives.

Marks are delimiter, quote, escape and comment. Ends that it gives are native uint32, as bytes.
"""

from collections.abc import Sequence

from typing_extensions import Buffer

Marks = tuple[int, int | None, int | None, int | None]
Column = tuple[bytes, bytes]  # contents, ends
Ends = Sequence[int]  # best as a buffer of native uint32

class Undecodable(ValueError): ...
class TooLong(ValueError): ...
class Malformed(ValueError): ...

def find_boundary(data: Buffer, quote: int | None, end: int | None = None) -> int: ...
def find_boundary_exact(data: Buffer, marks: Marks, end: int | None, last: bool) -> int: ...

# values, their ends, keys, row ends, row lines, refused rows, end, lines
Encoded = tuple[bytes, bytes, Column | None, bytes, bytes, list[tuple[int, int, int, int, str]], int, int]

def encode_json(
    data: Buffer, marks: Marks, shown_delimiter: str, names: Sequence[bytes], keys: Sequence[int], last: bool
) -> Encoded: ...
def encode_raw(
    data: Buffer, marks: Marks, shown_delimiter: str, width: int, keys: Sequence[int], last: bool
) -> Encoded: ...
def digest(
    values: Buffer, value_ends: Ends, keys: Buffer | None, key_ends: Ends | None, first: int, last: int
) -> int: ...
def pack_batch(
    values: Buffer,
    value_ends: Ends,
    keys: Buffer | None,
    key_ends: Ends | None,
    first: int,
    last: int,
    codec: int,
    level: int | None,
) -> bytearray: ...
def unpack_records(
    batch: Buffer, start: int, codec: int, count: int, limit: int
) -> tuple[
    bytes,
    bytes,
    Column | None,
    bytes,
    list[int],
    list[int],
    list[tuple[int, list[tuple[bytes, bytes | None]]]],
]: ...
