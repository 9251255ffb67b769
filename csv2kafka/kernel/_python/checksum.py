"""CRC-32C, the checksum of a record batch (RFC 3720, appendix B.4)."""

from __future__ import annotations

from typing_extensions import Buffer


def crc32c(data: Buffer) -> int:
    """Of all the bytes."""
    import crc32c as library  # late: it reads the metadata of installed packages, and the native kernel has its own

    return library.crc32c(data)
