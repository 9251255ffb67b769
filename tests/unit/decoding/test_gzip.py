"""gzip: beginning at a bit, points within a member, headers, check sums."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from csv2kafka import kernel
from csv2kafka.decoding import gzip as gzip_stage
from csv2kafka.decoding.compression import CODECS, beginning, resume_at, start_of
from csv2kafka.decoding.gzip import MAX_HEADER_BYTES, Gzip, _first_bit, _led_in
from csv2kafka.decoding.members import Damaged
from csv2kafka.errors import DataError
from csv2kafka.model import ResumePoint
from tests.compressed import decoded, many_blocks, small_points, text_of
from tests.pipelines import csv_text

TEXT = csv_text(3000)


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("inflate", [zlib.decompressobj, kernel.Inflater])
def test_a_stream_can_begin_at_any_bit(bits: int, inflate: Callable[..., object]) -> None:
    raw = zlib.compressobj(wbits=-15)
    data = raw.compress(TEXT) + raw.flush()
    shifted = (int.from_bytes(data, "little") << bits | (1 << bits) - 1).to_bytes(len(data) + 1, "little")
    led_in = _led_in(bits, shifted[0]) + shifted[1:]
    made, _, stop = kernel.Inflater().inflate(led_in, 0, 2 * len(TEXT))
    assert (made, stop) == (TEXT, "end")
    assert zlib.decompress(led_in, -15) == TEXT


@pytest.fixture
def native() -> None:
    if kernel.NAME != "native":
        pytest.skip("only the native kernel stops between blocks")


KINDS = {
    "dynamic": many_blocks(TEXT),
    "fixed": many_blocks(TEXT, strategy=zlib.Z_FIXED),
    "huffman": many_blocks(TEXT, strategy=zlib.Z_HUFFMAN_ONLY),
    "synced": many_blocks(TEXT, flush=zlib.Z_SYNC_FLUSH),
    "full": many_blocks(TEXT, flush=zlib.Z_FULL_FLUSH),
    "partial": many_blocks(TEXT, flush=zlib.Z_PARTIAL_FLUSH),
    "stored": many_blocks(TEXT, level=0, flush=zlib.Z_FULL_FLUSH),
}


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("kind", KINDS)
async def test_points_lie_within_a_member_and_what_follows_is_the_same(kind: str) -> None:
    data = KINDS[kind]
    with small_points():
        blocks = await decoded(data, (1 << 10,))
        assert text_of(blocks) == TEXT
        places = {block.resume.offset for block in blocks}
        assert len(places) > 8
        assert max(block.resume.skip for block in blocks) < 12_000
        for block in blocks:
            point = block.resume.forward(7)
            if block.offset + 7 < len(TEXT):
                rest = await decoded(data, (999,), start=point, offset=block.offset + 7)
                assert (text_of(rest), rest[0].offset) == (TEXT[block.offset + 7 :], block.offset + 7)


@pytest.mark.usefixtures("native")
async def test_points_are_found_at_every_bit() -> None:
    with small_points(point_bytes=1, proof_bytes=300):
        blocks = await decoded(KINDS["dynamic"], (300,))
    states = [json.loads(block.resume.state or "{}") for block in blocks]
    assert {state.get("bits") for state in states} >= set(range(8))


@pytest.mark.parametrize(
    ("seems", "headers", "expected"),
    [
        ({4}, 0b0000_0100_0000, 4),
        ({8}, 0b0100_0000_0000, 0),
        (set(), 0, None),
        ({2, 4}, 0b0000_0101_0000, None),  # Huffman codes, as it seems: only one can be right
        ({2, 4}, 0b0000_0001_0000, None),
        ({2, 4, 5}, 0, 2),  # stored blocks that begin with the next byte
        ({6, 7, 8}, 0, 6),  # and with the one behind it
        ({5, 6}, 0, None),
    ],
)
def test_a_bit_that_is_not_certain_is_none(
    seems: set[int], headers: int, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzip_stage, "_gives", lambda _proof, bits, *_: bits in seems)
    assert _first_bit(headers & 0xFF, bytes([headers >> 8, 0]), b"", b"proof") == expected


@pytest.mark.usefixtures("native")
async def test_resumed_runs_note_places_as_the_first_did() -> None:
    data = KINDS["dynamic"]
    with small_points():
        blocks = await decoded(data, (300,))
        for _ in range(8):
            middle = blocks[min(len(blocks) - 1, 5)]
            blocks = await decoded(data, (300,), start=middle.resume, offset=middle.offset)
            assert text_of(blocks) == TEXT[middle.offset :]
    assert blocks[-1].resume.offset > len(data) * 3 // 4
    assert blocks[-1].read == len(data)


@pytest.mark.usefixtures("native")
async def test_the_check_sum_counts_after_resuming_too() -> None:
    data = bytearray(KINDS["dynamic"])
    data[-6] ^= 1  # of the CRC
    with small_points():
        blocks = await decoded(KINDS["dynamic"], (1 << 10,))
        middle = blocks[len(blocks) // 2]
        assert middle.resume.offset
        with pytest.raises(DataError, match=r"expected .* bytes .modulo 2.32. with CRC"):
            await decoded(bytes(data), start=middle.resume, offset=middle.offset)


@pytest.mark.usefixtures("native")
async def test_a_point_of_the_native_kernel_serves_the_python_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from csv2kafka.kernel import _python

    with small_points():
        blocks = await decoded(KINDS["dynamic"], (1 << 10,))
    middle = blocks[len(blocks) // 2]
    monkeypatch.setattr(kernel, "Inflater", _python.Inflater)
    assert text_of(await decoded(KINDS["dynamic"], start=middle.resume, offset=middle.offset)) == TEXT[middle.offset :]


def header(flags: int, more: bytes, *, crc: bool = False) -> bytes:
    head = b"\x1f\x8b\x08" + bytes([flags | 2 * crc]) + b"\0" * 6 + more
    return head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") * crc


HEADERS = [
    header(8, b"name.csv\0"),
    header(4, b"\x06\0BC\x02\0\x10\0"),
    header(31, b"\x02\0ab" + b"name\0" + b"comment\0", crc=True),
    header(1, b""),
    header(24, b"n" * 3000 + b"\0" + b"c" * 70_000 + b"\0"),
]


@pytest.mark.parametrize("head", HEADERS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
async def test_headers_of_every_form(head: bytes, size: int) -> None:
    data = head + gzip.compress(TEXT[:2000])[10:]
    assert gzip.decompress(data) == TEXT[:2000]
    size = max(size, len(head) // 100)
    assert text_of(await decoded(data * 2, (size,))) == TEXT[:2000] * 2


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (header(0x20, b""), "unknown flags 0x20"),
        (header(0, b"", crc=True)[:-1] + b"?", "own check sum"),
        (header(8, b"n" * MAX_HEADER_BYTES), "header of less than"),
    ],
)
async def test_a_header_that_is_none(head: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        await decoded(head + gzip.compress(TEXT)[10:])


@pytest.mark.parametrize("place", [-8, -1])
async def test_check_sum_and_length_are_held_against_the_trailer(place: int) -> None:
    data = bytearray(gzip.compress(TEXT))
    data[place] ^= 0x10
    blocks: list[object] = []
    with pytest.raises(DataError, match=rf"a\.csv: near byte {len(data) - 8} .*damaged: expected"):
        await decoded(bytes(data), into=blocks)  # type: ignore[arg-type]
    assert blocks  # what came before is given: rows were made of it


def test_an_expander_goes_on_from_its_own_point() -> None:
    """The pure part alone, without a loop."""
    expander = Gzip(beginning(CODECS[0]).point, {})
    expander.feed(gzip.compress(b"abc") + gzip.compress(b"def"))
    assert (expander.expand(4), expander.made) == (b"abcd", 4)
    start = start_of(resume_at(expander.point(4), ResumePoint(offset=4)), "a")
    assert start is not None
    assert (start.point.made, start.text.skip) == (3, 1)
    with pytest.raises(Damaged):
        expander.finish()
