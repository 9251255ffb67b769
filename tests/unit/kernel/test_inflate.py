"""Raw deflate and its check sum: bounded output, what stands in front of damage, windows, ends."""

from __future__ import annotations

import zlib

import pytest

from csv2kafka import kernel
from tests.compressed import many_blocks
from tests.pipelines import csv_text

pytestmark = pytest.mark.usefixtures("each_kernel")

TEXT = csv_text(3000)


def test_what_stands_in_front_of_damage_is_given() -> None:
    data = bytearray(many_blocks(TEXT)[10:])
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    inflater = kernel.Inflater()
    made, used, stop = inflater.inflate(bytes(data), 0, 2 * len(TEXT))
    assert stop == "damage"
    assert len(TEXT) // 3 < len(made) < len(TEXT)
    assert made[: len(TEXT) // 3] == TEXT[: len(TEXT) // 3]
    assert inflater.inflate(bytes(data), used, 1000)[::2] == (b"", "damage")


def test_the_window_stands_before_the_stream() -> None:
    raw = zlib.compressobj(wbits=-15, zdict=TEXT[:5000])
    data = raw.compress(TEXT) + raw.flush()
    assert kernel.Inflater(TEXT[:5000]).inflate(data, 0, len(TEXT))[0] == TEXT
    assert kernel.Inflater().inflate(data, 0, len(TEXT))[2] == "damage"


def test_the_check_sum_is_gzips() -> None:
    assert kernel.crc32(TEXT) == zlib.crc32(TEXT)
    assert kernel.crc32(TEXT[100:], kernel.crc32(TEXT[:100])) == zlib.crc32(TEXT)
    assert kernel.crc32(b"", 7) == 7


def test_bytes_behind_the_end_are_not_used() -> None:
    raw = zlib.compressobj(wbits=-15)
    data = raw.compress(b"abc") + raw.flush()
    assert kernel.Inflater().inflate(b"xx" + data + b"more", 2, 100) == (b"abc", len(data), "end")
    inflater = kernel.Inflater()
    assert inflater.inflate(data + b"more", 0, 2)[0] == b"ab"
