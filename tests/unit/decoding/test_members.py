"""Members one after another, what may stand between them, and output that never comes in large pieces."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
import zstandard

from csv2kafka.decoding import libraries
from csv2kafka.decoding.compression import CODECS, beginning
from csv2kafka.decoding.members import PIECE_BYTES, Expander
from csv2kafka.errors import DataError
from csv2kafka.model import Block
from tests.compressed import CODECS as NAMES
from tests.compressed import decoded, member, text_of
from tests.pipelines import csv_text

TEXT = csv_text(2000)
SKIPPED = b"\x5e\x2a\x4d\x18" + (9).to_bytes(4, "little") + b"seektable"


def expander(name: str) -> Expander:
    codec = next(codec for codec in CODECS if codec.name == name)
    return codec.expander()(beginning(codec).point, {})


@pytest.mark.parametrize("codec", NAMES)
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
async def test_members_follow_each_other(codec: str, size: int) -> None:
    text = TEXT[:3000]
    parts = [text[:1000], b"", text[1000:1001], text[1001:]]
    data = b"".join(member(codec, part) for part in parts)
    assert text_of(await decoded(data, (size,))) == text


@pytest.mark.parametrize("codec", NAMES)
async def test_each_member_is_a_place_to_resume_at(codec: str) -> None:
    size = 1000
    members = [member(codec, TEXT[at : at + size]) for at in range(0, len(TEXT), size)]
    data = b"".join(members)
    blocks = await decoded(data, (500,))
    assert {block.resume.offset for block in blocks} <= {len(b"".join(members[:n])) for n in range(len(members))}
    for block in blocks[2:]:
        assert block.resume.offset > 0
        assert block.resume.skip <= 3 * size
        rest = await decoded(data, start=block.resume.forward(1), offset=block.offset + 1)
        assert (text_of(rest), rest[0].offset) == (TEXT[block.offset + 1 :], block.offset + 1)


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
async def test_frames_to_be_skipped(size: int) -> None:
    frame = member("zstd", TEXT[:1000])
    data = SKIPPED + frame + SKIPPED + frame + SKIPPED
    assert text_of(await decoded(data, (size,))) == TEXT[:1000] * 2


@pytest.mark.parametrize("codec", NAMES)
@pytest.mark.parametrize("size", [1, 1 << 20])
async def test_zeros_behind_a_member_are_padding(codec: str, size: int) -> None:
    data = member(codec, b"ab") + b"\0" * 8 + member(codec, b"cd") + b"\0" * 512
    assert text_of(await decoded(data, (size,))) == b"abcd"


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("behind", [b"", lzma.compress(b"")])
async def test_padding_of_xz_comes_in_fours(size: int, behind: bytes) -> None:
    with pytest.raises(DataError, match="multiple of 4 zero bytes as padding, found 6"):
        await decoded(lzma.compress(b"ab") + b"\0" * 6 + behind, (size,))


@pytest.mark.parametrize("codec", NAMES)
@pytest.mark.parametrize("garbage", [b"garbage, long enough", b"\0\0\0\0garbage, long enough", b"x", b"\x1f"])
async def test_anything_else_behind_a_member_is_an_error(codec: str, garbage: bytes) -> None:
    whole = member(codec, b"ab\n")
    blocks: list[Block] = []
    with pytest.raises(DataError, match=r"a\.csv: near byte .*expected") as raised:
        await decoded(whole + garbage, into=blocks)
    found = int(raised.value.message.split()[3])
    assert found in (len(whole), len(whole + garbage.rstrip(b"long enough garbage,")), len(whole + garbage))
    assert "put it there again, whole" in raised.value.hint
    assert text_of(blocks) == b"ab\n"


@pytest.mark.parametrize("codec", NAMES)
async def test_an_object_cut_off_anywhere_is_an_error(codec: str) -> None:
    whole = member(codec, TEXT)
    for length in [*range(len(whole) - 14, len(whole)), len(whole) // 2, 12]:
        blocks: list[Block] = []
        with pytest.raises(
            DataError, match=rf"near byte {length} .*expected the rest of the {codec} .* begins at byte 0"
        ):
            await decoded(whole[:length], (50,), into=blocks)
        assert TEXT.startswith(text_of(blocks))


@pytest.mark.parametrize("codec", NAMES)
async def test_damage_is_told_with_what_came_before(codec: str) -> None:
    first, second = member(codec, TEXT), bytearray(member(codec, csv_text(1000)))
    second[len(second) // 2] ^= 0x55
    blocks: list[Block] = []
    with pytest.raises(DataError, match=f"that begins at byte {len(first)} is damaged"):
        await decoded(first + bytes(second), into=blocks)
    assert text_of(blocks).startswith(TEXT)


BOMBS = {
    "gzip": lambda zeros: gzip.compress(zeros),
    "zstd": lambda zeros: zstandard.ZstdCompressor(19).compress(zeros),
    "bzip2": lambda zeros: bz2.compress(zeros),
    "xz": lambda zeros: lzma.compress(zeros),
}


@pytest.mark.parametrize("codec", NAMES)
def test_a_small_object_that_becomes_a_large_one_does_so_in_small_pieces(codec: str) -> None:
    size = 40 << 20
    expand = expander(codec)
    expand.feed(BOMBS[codec](bytes(size)))
    made = 0
    while not expand.hungry:
        piece = expand.expand()
        assert len(piece) <= PIECE_BYTES + (128 << 10)
        made += len(piece)
    assert made == size
    expand.finish()


def test_tiny_members_do_not_fill_memory_with_places_to_resume_at() -> None:
    expand = expander("gzip")
    expand.feed(gzip.compress(b"a") * 10_000)
    while not expand.hungry:
        expand.expand(1000)
        assert len(expand._points) <= 12
        expand.point(expand.made)


async def test_xz_that_asks_for_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "XZ_MEMORY_BYTES", 1 << 20)
    with pytest.raises(DataError, match=r"(?i)memory"):
        await decoded(lzma.compress(TEXT))
