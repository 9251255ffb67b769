"""Bytes made wrong in the ways that matter to a reader: flipped, cut, longer, with lengths that lie."""

from __future__ import annotations

import random
import struct

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
LEAST = 1  # how many changes


def spoiled(draw: random.Random, data: bytes) -> bytes:
    """The data with one change or some."""
    made = bytearray(data)
    for _ in range(draw.choice([LEAST, LEAST, LEAST, 2, 5])):
        _spoil(draw, made)
    return bytes(made)


def _spoil(draw: random.Random, data: bytearray) -> None:
    at = draw.randrange(len(data) + 1)
    kind = draw.randrange(9)
    if kind == 0 and data:
        data[at % len(data)] ^= 1 << draw.randrange(8)
    elif kind == 1 and data:
        data[at % len(data)] = draw.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, draw.randrange(256)])
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        data += draw.randbytes(draw.randint(1, 40))
    elif kind == 4:
        del data[at : at + draw.randint(1, 8)]
    elif kind == 5:
        data[at:at] = draw.randbytes(draw.randint(1, 8))
    elif kind in (6, 7):
        size, number = draw.choice([1, 2, 4, 8]), draw.choice(NUMBERS)
        data[at : at + size] = (number % 256**size).to_bytes(size, draw.choice(["big", "little"]))
    else:
        data[at : at + 4] = struct.pack(">i", draw.choice([-1, -2, -(2**31), len(data), len(data) + 1]))
