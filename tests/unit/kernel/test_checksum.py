"""CRC-32C of RFC 3720, appendix B.4, by both kernels."""

from __future__ import annotations

import pytest

from csv2kafka import kernel

pytestmark = pytest.mark.usefixtures("each_kernel")


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_known_sums(data: bytes, crc: int) -> None:
    assert kernel.crc32c(data) == crc
    assert kernel.crc32c(memoryview(bytearray(b"x" + data))[1:]) == crc


def test_more_than_is_looked_at_once() -> None:
    from crc32c import crc32c

    for size in (4095, 4096, 4097, 100_000):
        data = bytes(number * 7 % 251 for number in range(size))
        assert kernel.crc32c(data) == crc32c(data)
