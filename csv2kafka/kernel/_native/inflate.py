"""Raw deflate, which gzip is made of."""

from __future__ import annotations

from csv2kafka.kernel import _rust

Inflater = _rust.Inflater
crc32 = _rust.crc32
