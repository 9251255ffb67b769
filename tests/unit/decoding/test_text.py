"""Encodings: which are taken, what becomes of a byte order mark and of bytes that are no text."""

from __future__ import annotations

import asyncio
import encodings.aliases
from collections.abc import AsyncIterator

import pytest

from csv2kafka.decoding import TextDecoder, check_encoding, decode
from csv2kafka.decoding.text import MAX_PENDING_BYTES
from csv2kafka.errors import ConfigError, DataError
from csv2kafka.model import Block, ResumePoint


def decoded(data: bytes, encoding: str, size: int = 1 << 20) -> list[Block]:
    decoder = TextDecoder(encoding, start=ResumePoint(), offset=0, uri="a.csv")
    made = [block for at in range(0, len(data), size) for block in decoder.feed(data[at : at + size])]
    return made + decoder.finish()


@pytest.mark.parametrize("name", ["base64", "hex", "rot13", "zlib", "idna", "punycode", "undefined", "no-such", "a\0b"])
def test_what_is_no_encoding_of_text_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="encoding"):
        check_encoding(name)


def taken() -> list[str]:
    names = []
    for name in sorted(set(encodings.aliases.aliases.values())):
        try:
            check_encoding(name)
        except ConfigError:
            continue
        names.append(name)
    return names


def test_nearly_all_that_python_knows_is_taken() -> None:
    assert len(taken()) >= 80


@pytest.mark.parametrize("name", taken())
def test_every_encoding_taken_can_be_cut_anywhere(name: str) -> None:
    data = "a,b\n1,~2\n".encode(name)
    assert b"".join(block.data for block in decoded(data, name, 1)) == b"a,b\n1,~2\n"


def test_utf_8_passes_untouched_even_if_it_is_none() -> None:
    data = b"a\n\xff\xfe\n"
    assert [(block.data, block.offset, block.resume) for block in decoded(data, "UTF8")] == [(data, 0, ResumePoint())]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_byte_order_mark_is_dropped_and_counted(size: int) -> None:
    blocks = decoded("\ufeffa\n\ufeff".encode(), "utf-8", size)
    assert b"".join(block.data for block in blocks) == "a\n\ufeff".encode()
    assert (blocks[0].offset, blocks[0].resume) == (3, ResumePoint(offset=3))


def test_a_byte_order_mark_in_another_encoding() -> None:
    (block,) = decoded("\ufeffa".encode("utf-16-le"), "utf-16-le")
    assert (block.data, block.offset) == (b"a", 3)
    assert (block.resume.offset, block.resume.skip) == (0, 3)
    (block,) = decoded("a".encode("utf-16"), "utf-16")  # its codec takes the mark away itself
    assert (block.data, block.offset) == (b"a", 0)


@pytest.mark.parametrize("data", [b"\xef", b"\xef\xbb", b"\xef\xbb\xbf", b""])
def test_objects_shorter_than_a_byte_order_mark(data: bytes) -> None:
    (block,) = decoded(data, "utf-8", 1)
    mark = data == b"\xef\xbb\xbf"
    assert (block.data, block.offset) == (b"" if mark else data, 3 if mark else 0)
    assert block.resume.offset == block.offset


@pytest.mark.parametrize(
    ("encoding", "data"),
    [("cp1252", b"a\x81b"), ("ascii", b"a\xc3\xa9b"), ("shift_jis", b"a\xff b"), ("utf-16-le", b"a\0\0\xd8b\0")],
)
def test_bytes_that_are_no_text_become_bytes_that_are_no_utf_8(encoding: str, data: bytes) -> None:
    text = b"".join(block.data for block in decoded(data, encoding))
    assert text.startswith(b"a")
    assert text.endswith(b"b")
    with pytest.raises(UnicodeDecodeError):
        text.decode()


def test_an_object_cut_inside_a_character_is_no_text_at_its_end() -> None:
    text = b"".join(block.data for block in decoded("ab字".encode("euc_jp")[:-1], "euc_jp"))
    assert text[:2] == b"ab"
    with pytest.raises(UnicodeDecodeError):
        text.decode()


def test_utf_16_without_its_mark_says_so() -> None:
    with pytest.raises(DataError, match=r"a\.csv: byte 0 cannot be decoded as utf-16"):
        decoded("ab".encode("utf-16-le"), "utf-16")


def test_what_never_makes_a_character_is_bounded() -> None:
    """UTF-7 keeps a run of Base64 until it ends."""
    run = b"+" + b"AGEA" * (MAX_PENDING_BYTES // 2)
    with pytest.raises(DataError, match="no character in"):
        decoded(run, "utf-7", 4096)


async def test_decoding_as_a_stream_closes_what_it_reads_from() -> None:
    closed = asyncio.Event()

    async def raw() -> AsyncIterator[bytes]:
        try:
            yield "é\n".encode("latin-1") * 3_000_000
            yield b"never asked for"
        finally:
            closed.set()

    blocks = decode(raw(), encoding="latin-1", start=ResumePoint(), offset=0)
    first = await anext(blocks)
    assert len(first.data) <= 3 << 20
    second = await anext(blocks)
    assert second.offset == len(first.data)
    await blocks.aclose()
    assert closed.is_set()
