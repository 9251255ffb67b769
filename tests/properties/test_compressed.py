"""Any bytes, any codec, any members, any pieces, any place to resume: the same bytes as the standard decoders give.
And damage anywhere is an error, or changes nothing."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import zlib
from itertools import pairwise

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from csv2kafka.errors import DataError
from tests.compressed import CODECS, decoded, many_blocks, member, small_points, text_of

codecs = st.sampled_from(CODECS)
rows = st.lists(st.integers(0, 99), max_size=400).map(
    lambda found: b"".join(b"%d,row %d\n" % (n, n * n) for n in found)
)
contents = st.binary(max_size=300) | rows
cuts = st.lists(st.integers(1, 400), min_size=1, max_size=5)
strategies = st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE])
flushes = st.sampled_from([0, 0, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH])


@st.composite
def members(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """The codec, an object of some members, and what they hold."""
    codec = draw(codecs)
    whole, text = b"", b""
    for content in draw(st.lists(contents, min_size=1, max_size=4)):
        if codec == "gzip" and draw(st.booleans()):
            level = draw(st.integers(0, 9))
            whole += many_blocks(content, level=level, strategy=draw(strategies), flush=draw(flushes))
        else:
            whole += member(codec, content)
        whole += bytes(
            draw(st.sampled_from([0, 0, 3])) if codec == "gzip" else 0
        )  # the others' decoders here take none
        text += content
    return codec, whole, text


def standard(codec: str, data: bytes) -> bytes:
    if codec == "zstd":
        return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return {"gzip": gzip.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}[codec](data)


@given(members(), cuts)
def test_equal_to_the_standard_decoders(made: tuple[str, bytes, bytes], sizes: list[int]) -> None:
    codec, data, text = made
    with small_points(point_bytes=200, proof_bytes=100):
        assert text_of(asyncio.run(decoded(data, sizes))) == text == standard(codec, data)


@given(members(), cuts, cuts, st.data())
def test_resuming_anywhere_gives_the_rest(
    made: tuple[str, bytes, bytes], sizes: list[int], others: list[int], draw: st.DataObject
) -> None:
    _, data, text = made
    with small_points(point_bytes=draw.draw(st.integers(1, 300)), proof_bytes=draw.draw(st.integers(1, 300))):
        blocks = asyncio.run(decoded(data, sizes))
        first = blocks[0].offset
        assert first == (3 if text.startswith(b"\xef\xbb\xbf") else 0)
        for before, after in pairwise(blocks):
            assert before.offset + len(before.data) == after.offset
        for block in blocks:
            behind = draw.draw(st.integers(0, len(block.data)))
            there = block.offset + behind
            rest = asyncio.run(decoded(data, others, start=block.resume.forward(behind), offset=there))
            assert text_of(rest) == text[there:]
            assert rest[0].offset == there


@settings(max_examples=300)
@given(members(), cuts, st.data())
def test_damage_is_an_error_or_changes_nothing(
    made: tuple[str, bytes, bytes], sizes: list[int], draw: st.DataObject
) -> None:
    _, data, text = made
    place = draw.draw(st.integers(0, len(data) - 1))
    damaged = bytearray(data)
    damaged[place] ^= draw.draw(st.integers(1, 255))
    try:
        given = text_of(asyncio.run(decoded(bytes(damaged), sizes)))
    except DataError:
        return
    assert given in (text.removeprefix(b"\xef\xbb\xbf"), damaged)  # without its magic it is not compressed


@given(codecs, contents, st.data())
def test_what_is_cut_off_is_an_error(codec: str, content: bytes, draw: st.DataObject) -> None:
    data = member(codec, content)
    cut = data[: draw.draw(st.integers(11, len(data) - 1))]
    try:
        asyncio.run(decoded(cut))
    except DataError:
        return
    raise AssertionError(f"{len(cut)} of {len(data)} bytes are taken for the whole")
