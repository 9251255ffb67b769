"""gzip: members of raw deflate, each with length and check sum, and places to resume at within a member.

Between two deflate blocks nothing has to be known but the bit where the next begins and the 32 KiB before it, which it
may repeat. The kernel stops between blocks, but only to the byte. So each of the eight bits is tried, and the one from
where the same bytes come as from the stream itself is taken. A decompressor begins at a byte: to begin at a bit, empty
blocks are put in front whose lengths add up to as many bits as it is off (``_led_in``).
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from csv2kafka import kernel
from csv2kafka.decoding.compression import CODECS, Point
from csv2kafka.decoding.members import Damaged, Expander

POINT_BYTES = 16 << 20  # decompressed, from one place to resume at to the next
PROOF_BYTES = 128 << 10  # decompressed, that come out the same; longer than a stored block
WINDOW_BYTES = 32 << 10
USUAL_HEADER_BYTES = 1 << 10
MAX_HEADER_BYTES = 1 << 20  # names and comments may have any length

_HEADER_CRC, _EXTRA, _NAME, _COMMENT, _RESERVED = 2, 4, 8, 16, 0xE0


class Gzip(Expander):
    codec = next(codec for codec in CODECS if codec.name == "gzip")

    def __init__(self, point: Point, extra: Mapping[str, Any]) -> None:
        super().__init__(point, extra)
        self._stage = "header"
        self._bits = 0  # of the first byte fed that are passed
        self._tail = b""  # the last of what was made of this member
        self._crc = 0
        self._length = 0
        self._point_from = self.made
        if extra:
            self._go_on(extra)

    def _go_on(self, extra: Mapping[str, Any]) -> None:
        self._within, self._stage, self._members = True, "body", 1
        self._began_at = int(extra["member"])
        self._bits = int(extra["bits"])
        self._tail = zlib.decompressobj().decompress(base64.b64decode(extra["window"]), WINDOW_BYTES + 1)
        if len(self._tail) > WINDOW_BYTES or not 0 <= self._bits < 8 or not 0 <= self._began_at <= self._behind:
            raise ValueError("no place within a gzip member")
        self._crc, self._length = int(extra["crc"]), int(extra["length"])
        self._inflater = kernel.Inflater(self._tail)

    def feed(self, data: bytes) -> None:
        super().feed(data)
        if self._bits and data:
            led_in = _led_in(self._bits, data[0])
            self._data = led_in + data[1:]
            self._behind -= len(led_in) - 1
            self._bits = 0

    def _enter(self) -> None:
        self._stage = "header"
        self._point_from = self.made

    def _inside(self, limit: int) -> bytes:
        if self._stage == "header" and not self._pass_header():
            return b""
        if self._stage == "body":
            made = self._body(limit)
            if made or self._stage == "body":
                return made
        self._check_trailer()
        return b""

    def _pass_header(self) -> bool:
        for limit in (USUAL_HEADER_BYTES, MAX_HEADER_BYTES):
            header = self._data[self._used : self._used + limit]
            length = _header_length(header, self.offset)
            if length is not None:
                break
            if len(header) < limit:
                return False
        else:
            raise Damaged(f"expected a gzip header of less than {MAX_HEADER_BYTES} bytes", self.offset)
        self._used += length
        self._stage = "body"
        self._inflater = kernel.Inflater()
        self._tail, self._crc, self._length = b"", 0, 0
        return True

    def _body(self, limit: int) -> bytes:
        seeking = self.made - self._point_from >= POINT_BYTES
        made, stop = self._inflate(limit, to_boundary=seeking)
        if stop == "boundary":
            proof, stop = self._proven(self.made + len(made))
            made += proof
        if stop == "damage" and not made:
            raise Damaged(
                f"the gzip member that begins at byte {self._began_at} is damaged: expected deflate data", self.offset
            )
        return made

    def _inflate(self, limit: int, *, to_boundary: bool = False) -> tuple[bytes, str]:
        made, used, stop = self._inflater.inflate(self._data, self._used, limit, to_boundary)
        self._used += used
        self._crc = kernel.crc32(made, self._crc)
        self._length += len(made)
        self._tail = made[-WINDOW_BYTES:] if len(made) >= WINDOW_BYTES else (self._tail + made)[-WINDOW_BYTES:]
        if stop == "end":
            self._stage = "trailer"
        return made, stop

    def _proven(self, made: int) -> tuple[bytes, str]:
        """A block ended within the byte before ``_used``. Go on, and if its place is found by that, note it."""
        window, crc, length, at, offset = self._tail, self._crc, self._length, self._used, self.offset
        proof, stop = self._inflate(PROOF_BYTES)
        bits = None
        if at and len(proof) == PROOF_BYTES:
            bits = _first_bit(self._data[at - 1], self._data[at : self._used + 8], window, proof)
        if bits is None:
            return proof, stop  # the next block's beginning will do as well
        self._note(
            made,
            offset - 1 if bits else offset,
            {
                "member": self._began_at,
                "bits": bits,
                "window": base64.b64encode(zlib.compress(window)).decode(),
                "crc": crc,
                "length": length,
            },
        )
        self._point_from = made
        return proof, stop

    def _check_trailer(self) -> None:
        trailer = self._data[self._used : self._used + 8]
        if len(trailer) < 8:
            return
        crc, length = struct.unpack("<II", trailer)
        if crc != self._crc or length != self._length & 0xFFFFFFFF:
            raise Damaged(
                f"the gzip member that begins at byte {self._began_at} is damaged: expected {length} bytes (modulo"
                f" 2^32) with CRC {crc:08x}, found {self._length} with {self._crc:08x}",
                self.offset,
            )
        self._used += 8
        self._within = False


def _header_length(header: bytes, offset: int) -> int | None:
    """None where it is not whole yet. ``offset``: of the header, for the error."""
    if len(header) < 10:
        return None
    flags, at = header[3], 10
    if flags & _RESERVED:
        raise Damaged(f"expected a gzip header, found unknown flags 0x{flags:02x}", offset + 3)
    if flags & _EXTRA:
        at += 2 + int.from_bytes(header[at : at + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            at = header.find(b"\0", at) + 1
            if not at:
                return None
    if flags & _HEADER_CRC:
        at += 2
        if at <= len(header) and zlib.crc32(header[: at - 2]) & 0xFFFF != int.from_bytes(header[at - 2 : at], "little"):
            raise Damaged("expected the gzip header's own check sum, found another", offset + at - 2)
    return at if at <= len(header) else None


def _first_bit(last: int, rest: bytes, window: bytes, proof: bytes) -> int | None:
    """How many bits of the byte ``last`` belong to the block before; 0 (for 8) if the next begins with ``rest``.

    None where that cannot be told.
    """
    found = [bits for bits in range(1, 9) if _gives(proof, bits, last, rest, window)]
    # What follows the three bits of a stored block's header up to the byte's end does not count, so it seems to begin
    # at several bits. All of them are right if their headers end in the same byte.
    headers = last | rest[0] << 8
    places = {-bits if headers >> bits & 7 else (bits + 2) // 8 for bits in found}
    return found[0] % 8 if len(places) == 1 else None


def _gives(proof: bytes, bits: int, last: int, rest: bytes, window: bytes) -> bool:
    stream = zlib.decompressobj(-zlib.MAX_WBITS, zdict=window)
    try:
        return stream.decompress((_led_in(bits, last) if bits < 8 else b"") + rest, len(proof)) == proof
    except zlib.error:
        return False


def _led_in(bits: int, first: int) -> bytes:
    """Bytes to put in the place of the byte ``first``, of which the lower ``bits`` are passed: empty blocks, then the
    rest of it."""
    blocks, length = 0, 0
    odd = [_EMPTY_DYNAMIC] if bits % 2 else []
    evens = ((bits - sum(size for _, size in odd)) % 8) // 2
    for block, size in odd + evens * [_EMPTY_FIXED]:
        blocks |= block << length
        length += size
    return (blocks | first >> bits << length).to_bytes((length + 8 - bits) // 8, "little")


def _empty_dynamic() -> tuple[int, int]:
    """A block with Huffman codes of its own and nothing in it, and its length in bits: an odd number."""
    block, length = 0, 0
    code_lengths = [1 if symbol in (18, 1) else 0 for symbol in _CODE_ORDER]
    fields = [
        *((0, 1), (2, 2), (0, 5), (0, 5), (15, 4)),  # not the last, dynamic, 257 + 1 codes, 19 lengths of lengths
        *((value, 3) for value in code_lengths),
        *((1, 1), (127, 7), (1, 1), (107, 7)),  # 138 and 118 literals that have no code
        *((0, 1), (0, 1)),  # the end of block and the one distance: codes of one bit
        (0, 1),  # the end of block
    ]
    for value, bits in fields:
        block |= value << length
        length += bits
    return block, length


_CODE_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_EMPTY_FIXED = (2, 10)
_EMPTY_DYNAMIC = _empty_dynamic()
