"""Compressed objects as a stream: two layers of state, what is told, what is left behind."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest

from csv2kafka.decoding import decode, stream
from csv2kafka.errors import DataError
from csv2kafka.model import Block, ResumePoint
from tests.compressed import CODECS, ENDINGS, decoded, many_blocks, member, small_points, text_of
from tests.pipelines import csv_text

TEXT = b"id,name\n" + b"".join(f"{n},näme ☕ {n}\n".encode() for n in range(2000))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig", "shift_jis"])
async def test_an_encoding_lies_on_top(encoding: str) -> None:
    text = TEXT.decode().encode(encoding, "ignore")
    expected = text_of(await decoded(text, encoding=encoding))
    data = many_blocks(text[:30_000]) + member("gzip", text[30_000:])
    with small_points():
        blocks = await decoded(data, (501,), encoding=encoding)
        assert text_of(blocks) == expected
        for block in blocks[1::7]:
            there = block.offset + len(block.data) // 2
            if there == len(expected) + blocks[0].offset:
                continue
            point = block.resume.forward(len(block.data) // 2)
            rest = await decoded(data, (700,), start=point, offset=there, encoding=encoding)
            assert (text_of(rest), rest[0].offset) == (expected[there - blocks[0].offset :], there)
    if encoding not in ("utf-8-sig",):
        state = json.loads(blocks[-1].resume.state or "")
        assert set(state) >= {"codec", "at", "text", "drop"}


async def test_a_byte_order_mark_within() -> None:
    blocks = await decoded(member("zstd", b"\xef\xbb\xbfa\n1\n"))
    assert (text_of(blocks), blocks[0].offset) == (b"a\n1\n", 3)
    rest = await decoded(member("zstd", b"\xef\xbb\xbfa\n1\n"), start=blocks[0].resume.forward(2), offset=5)
    assert (text_of(rest), rest[0].offset) == (b"1\n", 5)


@pytest.mark.parametrize("codec", CODECS)
async def test_nothing_compressed_is_nothing(codec: str) -> None:
    (block,) = await decoded(member(codec, b""), uri=f"a{ENDINGS[codec]}")
    assert (block.data, block.offset) == (b"", 0)
    (block,) = await decoded(b"", uri=f"a{ENDINGS[codec]}")
    assert (block.data, block.offset, block.resume) == (b"", 0, ResumePoint())


async def test_text_with_a_name_that_says_otherwise() -> None:
    with pytest.raises(DataError, match=r"a\.csv\.gz: expected gzip data"):
        await decoded(TEXT, uri="a.csv.gz")


async def test_the_first_bytes_may_come_one_by_one() -> None:
    assert text_of(await decoded(member("bzip2", TEXT), (1, 1, 1, 1000))) == TEXT
    assert text_of(await decoded(b"BZhave,you\n", (1,))) == b"BZhave,you\n"


async def test_own_bytes_read_grow_to_the_end_where_places_to_resume_at_stand_still() -> None:
    data = member("bzip2", TEXT)
    blocks = await decoded(data, (1000,))
    assert all(block.resume.offset == 0 for block in blocks)
    assert [block.read for block in blocks] == sorted(block.read for block in blocks)
    assert blocks[-1].read == len(data)


@pytest.mark.parametrize("codec", CODECS)
async def test_what_has_to_be_passed_again_is_told(
    codec: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = member(codec, TEXT)
    (block,) = await decoded(data, uri="a")
    monkeypatch.setattr(stream, "PASSED_QUIETLY_BYTES", 20_000)
    with caplog.at_level(logging.WARNING, logger="csv2kafka"):
        await decoded(data, start=block.resume.forward(20_000), offset=20_000, uri="a")
        assert not caplog.messages
        rest = await decoded(data, start=block.resume.forward(30_000), offset=30_000, uri="a")
    assert text_of(rest) == TEXT[30_000:]
    (message,) = caplog.messages
    assert message == (
        f"a: {codec} cannot be taken up just anywhere: reading it from byte 0 on, 30000 decompressed bytes to pass"
    )


async def test_the_loop_is_not_held_up() -> None:
    """Decompression is a thread's work: the loop goes round meanwhile."""
    data = member("bzip2", csv_text(100_000))
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    counting = asyncio.create_task(count())
    await decoded(data)
    counting.cancel()
    assert rounds > 20


async def test_closing_closes_what_it_reads_from() -> None:
    closed = asyncio.Event()

    async def raw() -> AsyncIterator[bytes]:
        try:
            yield member("gzip", bytes(3 << 20))
            yield b"never asked for"
        finally:
            closed.set()

    blocks = decode(raw(), encoding="utf-8", start=ResumePoint(), offset=0)
    first: Block = await anext(blocks)
    assert len(first.data) == 1 << 20
    await blocks.aclose()
    assert closed.is_set()
