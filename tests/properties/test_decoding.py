"""Any text, any encoding, any blocks, and any place to resume: the same stream of UTF-8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv2kafka.decoding import TextDecoder
from csv2kafka.errors import DataError
from csv2kafka.model import Block, ResumePoint

ENCODINGS = [
    *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "latin-1", "ascii", "cp1252", "cp037"),
    *("shift_jis", "euc_jp", "euc_kr", "gb18030", "big5", "iso2022_jp", "iso2022_kr", "hz", "utf-8-sig"),
]
encodings = st.sampled_from(ENCODINGS)
characters = st.sampled_from(list('a,"\n~{+\\é¥ßЖ漢字仮ひカ한글中文€😀\ufeff')) | st.characters(
    exclude_categories=["Cs"]
)
texts = st.lists(characters, max_size=30).map("".join)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def pieces(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at, turn = 0, 0
    while at < len(data):
        yield data[at : at + sizes[turn % len(sizes)]]
        at, turn = at + sizes[turn % len(sizes)], turn + 1


def decoded(data: bytes, encoding: str, sizes: Sequence[int], start: ResumePoint, offset: int) -> list[Block]:
    decoder = TextDecoder(encoding, start=start, offset=offset)
    blocks = [block for piece in pieces(data[start.offset :], sizes) for block in decoder.feed(piece)]
    return blocks + decoder.finish()


def stream(blocks: Sequence[Block]) -> bytes:
    return b"".join(block.data for block in blocks)


def encodable(text: str, encoding: str) -> tuple[str, bytes]:
    """The part of the text that the encoding has, and its bytes."""
    if encoding.startswith("iso2022"):  # its shifts: Python writes them into text as they are, and reads them as shifts
        text = text.translate(dict.fromkeys(b"\x0e\x0f\x1b"))
    data = text.encode(encoding, "ignore")
    return data.decode(encoding), data


@given(encodings, texts, cuts)
def test_any_text_arrives_as_utf_8(encoding: str, text: str, sizes: list[int]) -> None:
    text, data = encodable(text, encoding)
    blocks = decoded(data, encoding, sizes, ResumePoint(), 0)
    expected = text.encode()
    if encoding != "utf-8-sig":  # whose codec has taken one away already
        expected = expected.removeprefix(b"\xef\xbb\xbf")
    assert stream(blocks) == expected


@given(encodings, texts.map(str.encode) | st.binary(max_size=40), cuts, cuts, st.data())
def test_resuming_anywhere_gives_the_rest(
    encoding: str, data: bytes, sizes: list[int], others: list[int], draw: st.DataObject
) -> None:
    """Also for bytes that are no text in that encoding. Offsets are those of the stream without a break."""
    if draw.draw(st.booleans()):
        data = data.decode(errors="ignore").encode(encoding, "ignore")
    try:
        decoded(data, encoding, [len(data) or 1], ResumePoint(), 0)
    except DataError:  # UTF-16 and UTF-32 that do not begin with their mark
        with pytest.raises(DataError, match="byte 0 cannot be decoded"):
            decoded(data, encoding, sizes, ResumePoint(), 0)
        return
    blocks = decoded(data, encoding, sizes, ResumePoint(), 0)
    whole = stream(blocks)
    first = blocks[0].offset
    assert first in (0, 3)
    for before, after in pairwise(blocks):
        assert before.offset + len(before.data) == after.offset
    at = draw.draw(st.integers(0, len(whole)))
    block = next(block for block in reversed(blocks) if block.offset <= first + at)
    point = block.resume.forward(first + at - block.offset)
    if first + at == 0:
        point = ResumePoint()
    rest = decoded(data, encoding, others, point, first + at)
    assert stream(rest) == whole[at:]
    assert rest[0].offset == first + at
    assert stream(decoded(data, encoding, others, rest[-1].resume, rest[-1].offset)) == rest[-1].data


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_blocks_do_not_matter_for_what_cannot_be_decoded(encoding: str) -> None:
    data = (
        "\ufeff".encode(encoding, "ignore")
        + bytes(range(256))
        + "字é\n".encode(encoding, "ignore")
        + b"\xff\xfe\x80\x1b$B"
    )
    whole = stream(decoded(data, encoding, [len(data)], ResumePoint(), 0))
    for size in (1, 2, 3, 7):
        assert stream(decoded(data, encoding, [size], ResumePoint(), 0)) == whole
