"""Kafka's compression codecs, as its Java client writes and reads them. All release the GIL."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

import cramjam
from lz4 import frame as lz4_frame

from csv2kafka.errors import StateContradiction

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")  # the index is the code in a batch's attributes
DEFAULT_COMPRESSION = "zstd"
DEFAULT_LEVELS = {"gzip": 6, "lz4": 0, "zstd": 1}
MAX_UNPACKED = 256 << 20  # bytes; what a batch may become, whoever wrote it

_lz4_frame: Any = lz4_frame  # comes without types
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK = 32 << 10


def compress(data: bytes, codec: str, level: int | None = None) -> bytes:
    """``level`` means what the codec's library says; None: the default. It has no meaning for snappy."""
    if codec == "zstd":
        return zstd.compress(data, level=DEFAULT_LEVELS[codec] if level is None else level)
    if codec == "lz4":
        return _lz4(data, DEFAULT_LEVELS[codec] if level is None else level)
    if codec == "snappy":
        return _snappy(data)
    if codec == "gzip":
        deflate = zlib.compressobj(DEFAULT_LEVELS[codec] if level is None else level, zlib.DEFLATED, 31)
        return deflate.compress(data) + deflate.flush()
    return data


def decompress(data: bytes, codec: str, limit: int = MAX_UNPACKED) -> bytes:
    """Raises StateContradiction for what is not data of that codec, or would be more than ``limit`` bytes."""
    try:
        unpacked: bytes = _DECOMPRESSORS[codec](data, limit)
    except (zlib.error, zstd.ZstdError, RuntimeError, EOFError, cramjam.DecompressionError, struct.error) as error:
        raise StateContradiction(f"a record batch cannot be decompressed as {codec}: {error}") from error
    if len(unpacked) > limit:
        raise StateContradiction(f"a record batch of {len(data)} bytes decompresses to more than {limit} bytes")
    return unpacked


def _lz4(data: bytes, level: int) -> bytes:
    # Java's reader takes independent blocks only, and a content size in the header confuses old ones.
    frame: bytes = _lz4_frame.compress(
        data,
        compression_level=level,
        block_size=_lz4_frame.BLOCKSIZE_MAX256KB,
        block_linked=False,
        store_size=False,
    )
    return frame


def _snappy(data: bytes) -> bytes:
    """The framing of xerial's SnappyOutputStream: a header, then blocks of raw snappy with their lengths."""
    parts = [_XERIAL_HEADER]
    for start in range(0, len(data), _XERIAL_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + _XERIAL_BLOCK]))
        parts += struct.pack(">i", len(block)), block
    return b"".join(parts)


def _unzip(data: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj(47)
    unpacked = inflate.decompress(data, limit + 1)
    if len(unpacked) <= limit and not inflate.eof:
        raise EOFError("it ends too early")
    return unpacked


def _unlz4(data: bytes, limit: int) -> bytes:
    frame = _lz4_frame.LZ4FrameDecompressor()
    unpacked: bytes = frame.decompress(data, limit + 1)
    if len(unpacked) <= limit and not frame.eof:
        raise EOFError("it ends too early")
    return unpacked


def _unzstd(data: bytes, limit: int) -> bytes:
    with zstd.ZstdFile(io.BytesIO(data)) as frames:
        return frames.read(limit + 1)


def _unsnappy(data: bytes, limit: int) -> bytes:
    """Xerial's framing, or raw snappy, which librdkafka writes."""
    if not data.startswith(_XERIAL_MAGIC):
        return _unsnappy_block(data, limit)
    parts: list[bytes] = []
    size, pos = 0, len(_XERIAL_HEADER)
    while pos < len(data):
        (length,) = struct.unpack_from(">i", data, pos)
        pos += 4
        if not 0 <= length <= len(data) - pos:
            raise EOFError("it ends too early")
        parts.append(_unsnappy_block(data[pos : pos + length], limit - size))
        size += len(parts[-1])
        pos += length
        if size > limit:
            break
    return b"".join(parts)


def _unsnappy_block(block: bytes, limit: int) -> bytes:
    size = cramjam.snappy.decompress_raw_len(block)
    if size > limit:
        return bytes(limit + 1)  # too long is all that needs to be known
    return bytes(cramjam.snappy.decompress_raw(block))


_DECOMPRESSORS = {
    "none": lambda data, limit: data,
    "gzip": _unzip,
    "snappy": _unsnappy,
    "lz4": _unlz4,
    "zstd": _unzstd,
}
