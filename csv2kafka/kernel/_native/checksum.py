"""CRC-32C, the checksum of a record batch."""

from __future__ import annotations

from csv2kafka.kernel import _rust

crc32c = _rust.crc32c
