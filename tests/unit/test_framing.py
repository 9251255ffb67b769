"""Chunks of one object: where they are cut, what they carry, and what stops framing."""

from __future__ import annotations

import tracemalloc
from itertools import accumulate

import pytest

from csv2kafka import kernel
from csv2kafka.errors import DataError
from csv2kafka.framing import Framer
from csv2kafka.kernel import _python as python_kernel
from csv2kafka.model import Block, Chunk, Dialect, ResumePoint

pytestmark = pytest.mark.usefixtures("each_kernel")


def blocks(*parts: bytes, start: int = 0) -> list[Block]:
    made = []
    for part in parts:
        made.append(Block(data=part, offset=start, resume=ResumePoint(offset=start)))
        start += len(part)
    return made


def frame(framer: Framer, *parts: bytes, start: int = 0) -> list[Chunk]:
    chunks = [chunk for block in blocks(*parts, start=start) for chunk in framer.feed(block)]
    return chunks + framer.finish()


def simple(chunks: list[Chunk]) -> list[tuple[int, bytes]]:
    return [(chunk.offset, chunk.data) for chunk in chunks]


def test_whole_records_go_on_at_once_and_the_rest_waits() -> None:
    framer = Framer(Dialect(), 3, header=("a",))
    first, second, third = blocks(b"1\n2", b'2\n"x\n', b'y"\n')
    assert simple(framer.feed(first)) == [(0, b"1\n")]
    assert simple(framer.feed(second)) == [(2, b"22\n")]
    chunks = framer.feed(third)
    assert simple(chunks) == [(5, b'"x\ny"\n')]
    assert chunks[0].object_index == 3
    assert simple(framer.finish()) == [(11, b"")]


def test_the_last_chunk_says_so_and_its_record_needs_no_line_end() -> None:
    chunks = frame(Framer(Dialect(), 0), b"a,b\n1,2\n3,", b"4")
    assert simple(chunks) == [(4, b"1,2\n"), (8, b"3,4")]
    assert [chunk.last for chunk in chunks] == [False, True]


def test_the_header_is_taken_with_the_lines_before_it() -> None:
    chunks = frame(Framer(Dialect(comment="#"), 0), b'\r\n# one\n"a\n', b'b",c\r', b"\n1,2\n")
    assert simple(chunks) == [(17, b"1,2\n"), (21, b"")]
    assert chunks[0].header == ("a\nb", "c")
    assert [chunk.lines_before for chunk in chunks] == [4, 0]


def test_a_byte_order_mark_counts_in_offsets() -> None:
    chunks = frame(Framer(Dialect(), 0), b"a\n1\n", start=3)
    assert simple(chunks)[0] == (5, b"1\n")
    assert chunks[0].resume_at(5) == ResumePoint(offset=5)


def test_given_names_replace_the_files() -> None:
    assert frame(Framer(Dialect(), 0, columns=("x", "y")), b"a,b\n1,2\n")[0].header == ("x", "y")
    with pytest.raises(DataError, match=r"orders\.csv: expected 3 columns \(--columns\), the header has 2"):
        frame(Framer(Dialect(), 0, columns=("x", "y", "z"), uri="orders.csv"), b"a,b\n1,2\n")


def test_given_names_make_up_for_a_header_that_cannot_be_read() -> None:
    assert frame(Framer(Dialect(), 0, columns=("x", "y")), b'"a"x,\xff\n1,2\n')[0].header == ("x", "y")


def test_without_a_header_columns_are_numbered_and_the_first_record_is_data() -> None:
    chunks = frame(Framer(Dialect(), 0, has_header=False), b"\n1,2", b",3\n4,5,6\n")
    assert chunks[0].header == ("column0", "column1", "column2")
    assert b"".join(chunk.data for chunk in chunks) == b"\n1,2,3\n4,5,6\n"
    assert chunks[0].lines_before == 0
    assert frame(Framer(Dialect(), 0, has_header=False, columns=("x",)), b"1\n")[0].header == ("x",)


def test_resumed_in_the_middle_no_header_is_taken() -> None:
    chunks = frame(Framer(Dialect(), 0, header=("a",)), b"1\n2\n", start=100)
    assert simple(chunks)[0] == (100, b"1\n2\n")


def test_an_empty_object_ends_without_a_header() -> None:
    for framer in (Framer(Dialect(), 0), Framer(Dialect(), 0, has_header=False)):
        (chunk,) = frame(framer)
        assert (chunk.data, chunk.header, chunk.last) == (b"", (), True)
        assert chunk.resume_at(0) == ResumePoint()
    assert frame(Framer(Dialect(), 0), b"a,b")[0].header == ("a", "b")


@pytest.mark.parametrize("data", [b"\n", b"\r\n\n\r", b"# nothing\n\n", b"#"])
def test_an_object_of_blank_lines_and_comments_ends_without_a_header(data: bytes) -> None:
    for framer in (Framer(Dialect(comment="#"), 0), Framer(Dialect(comment="#"), 0, has_header=False)):
        (chunk,) = frame(framer, data)
        assert (chunk.data, chunk.header, chunk.last) == (data, (), True)
    assert frame(Framer(Dialect(comment="#"), 0, columns=("x", "y")), data)[0].header == ("x", "y")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'a,"b', "header: a quote is opened and never closed"),
        (b'"a"x,b\n', "header: character after the closing quote"),
        (b"a,\xff\n", "header: not valid UTF-8 (byte 0xff)"),
        (b"a" * 2000, "header: the record is longer than 1000 bytes"),
        (b"a" * 1001 + b"\n1\n", "header: the record is longer than 1000 bytes"),
    ],
)
def test_a_header_that_is_none(data: bytes, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        frame(Framer(Dialect(), 0, max_record=1000, uri="s3://b/k.csv"), data)
    assert caught.value.message.startswith(f"s3://b/k.csv: {reason}")
    assert caught.value.hint


def test_a_quote_never_closed_stops_behind_the_records_before() -> None:
    chunks = frame(Framer(Dialect(), 0, header=("a",)), b'1\n2\n"3\n4\n')
    assert simple(chunks)[-1] == (4, b"")
    assert chunks[-1].broken is not None
    assert chunks[-1].broken.reason == "a quote is opened and never closed"
    assert not any(chunk.last for chunk in chunks)


def test_a_record_too_long_stops_without_keeping_what_follows() -> None:
    framer = Framer(Dialect(), 0, header=("a",), max_record=100, chunk_bytes=50)
    chunks, fed = framer.feed(blocks(b"1\n" * 30)[0]), 0
    while not chunks[-1].broken:
        fed += 10
        assert fed <= 200
        chunks += framer.feed(Block(data=b"x" * 10, offset=50 + fed, resume=ResumePoint()))
    assert chunks[-1].broken.reason == "the record is longer than 100 bytes"
    assert chunks[-1].offset == 60
    assert framer.feed(Block(data=b"\n1\n", offset=300, resume=ResumePoint())) == []
    assert framer.finish() == []
    assert framer._text.size == 0


def test_the_longest_record_counts_its_line_end() -> None:
    fits, too_long = b"x" * 9 + b"\n", b"x" * 10 + b"\n"
    for data, broken in ((fits, False), (too_long, True), (b"x" * 10, False), (b"x" * 11, True)):
        for size in (1, 3, 100):
            framer = Framer(Dialect(), 0, header=("a",), max_record=10, chunk_bytes=5)
            chunks = frame(framer, *[data[at : at + size] for at in range(0, len(data), size)])
            assert bool(chunks[-1].broken) == broken, (data, size)


def test_big_blocks_become_chunks_of_about_the_size_asked_for() -> None:
    data = b"123456789\n" * 10_000
    chunks = frame(Framer(Dialect(), 0, header=("a",), chunk_bytes=1000), data)
    assert b"".join(chunk.data for chunk in chunks) == data
    assert all(500 <= len(chunk.data) <= 1500 for chunk in chunks[:-1])


def test_a_stray_quote_does_not_hold_up_the_records_behind_it() -> None:
    """Counting finds no boundary: it would look like one endless record. The exact machine goes on."""
    framer = Framer(Dialect(), 0, header=("a",))
    assert simple(framer.feed(blocks(b'5" pipe\n6\n7\n')[0])) == [(0, b'5" pipe\n6\n7\n')]


def test_a_long_record_is_not_searched_again_with_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0
    exact = python_kernel.find_boundary_exact

    def counted(data: bytearray, dialect: Dialect, end: int, *, final: bool) -> int:
        nonlocal searched
        searched += end
        return exact(data, dialect, end, final=final)

    monkeypatch.setattr("csv2kafka.framing.kernel.find_boundary_exact", counted)
    framer = Framer(Dialect(), 0, header=("a",), max_record=16 << 20)
    long = b'"' + b"x" * (8 << 20) + b'"\n'
    parts = [long[at : at + (64 << 10)] for at in range(0, len(long), 64 << 10)]
    chunks = frame(framer, *parts)
    assert chunks[0].data == long
    assert searched < 4 * len(long)


def test_marks_lead_back_into_the_objects_own_bytes() -> None:
    """Of an encoding with a state: where decoding began the block, and what to skip of its text."""
    framer = Framer(Dialect(), 0, header=("a",), chunk_bytes=8)
    first = Block(data=b"1\n22", offset=10, resume=ResumePoint(offset=5, state="0"))
    second = Block(data=b"2\n333\n4", offset=14, resume=ResumePoint(offset=7, state="0"))
    chunks = framer.feed(first) + framer.feed(second) + framer.finish()
    assert [chunk.resume_at(chunk.offset) for chunk in chunks] == [
        ResumePoint(offset=5, state="0"),
        ResumePoint(offset=5, state="0", skip=2),
        ResumePoint(offset=7, state="0", skip=6),
    ]
    assert chunks[1].resume_at(16) == ResumePoint(offset=7, state="0", skip=2)


def test_with_more_to_come_a_chunk_waits_until_it_is_full() -> None:
    framer = Framer(Dialect(), 0, header=("a",), chunk_bytes=8)
    block = [Block(data=b"1\n2\n", offset=at, resume=ResumePoint(offset=at)) for at in (0, 4, 8)]
    assert framer.feed(block[0], more=True) == []
    assert [chunk.data for chunk in framer.feed(block[1], more=True)] == [b"1\n2\n1\n2\n"]
    assert [chunk.data for chunk in framer.feed(block[2])] == [b"1\n2\n"]


def test_a_header_that_does_not_end_is_not_searched_with_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed file of quotes alone would cost minutes."""
    searched: list[int] = []
    first_record = kernel.first_record

    def counted(data: bytes, dialect: Dialect, *, last: bool) -> object:
        searched.append(len(data))
        return first_record(data, dialect, last=last)

    monkeypatch.setattr(kernel, "first_record", counted)
    framer = Framer(Dialect(), 0, max_record=4 << 20)
    block = b'"' * (64 << 10)
    for number in range(64):
        framer.feed(Block(data=block, offset=number * len(block), resume=ResumePoint()))
    with pytest.raises(DataError, match="the record is longer than 4194304 bytes"):
        framer.feed(Block(data=block, offset=64 * len(block), resume=ResumePoint()))
    assert sum(searched) < 4 * (4 << 20), searched


def test_a_header_is_found_with_the_byte_that_ends_it() -> None:
    framer = Framer(Dialect(), 0)
    text = b"id,name\n1,2\n"
    given = [framer.feed(Block(data=text[at : at + 1], offset=at, resume=ResumePoint())) for at in range(len(text))]
    assert [[chunk.header for chunk in chunks] for chunks in given if chunks] == [[("id", "name")]]


def test_a_field_of_quotes_alone_takes_no_more_memory_than_its_bytes() -> None:
    data = b'"' * (2 << 20) + b"\n"
    tracemalloc.start()
    try:
        found = kernel.first_record(data, Dialect(), last=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert found.fields == (b'"' * ((1 << 20) - 1),)
    assert peak < 5 * len(data)


def test_an_object_without_blocks_has_one_empty_chunk_at_its_beginning() -> None:
    assert simple(Framer(Dialect(), 0, header=("a",)).finish()) == [(0, b"")]


@pytest.mark.parametrize("lengths", [(90,), (3, 90, 40), (140, 2), (7, 7, 60)])
@pytest.mark.parametrize("block_bytes", [1, 30, 80, 100, 333])
@pytest.mark.parametrize("chunk_bytes", [50, 150, 400])
def test_what_waits_for_more_keeps_its_order(lengths: tuple[int, ...], block_bytes: int, chunk_bytes: int) -> None:
    """A chunk can end within a block that has others behind it already."""
    text = b"".join(bytes([97 + row % 26]) * lengths[row % len(lengths)] + b"\n" for row in range(60))
    parts = [text[start : start + block_bytes] for start in range(0, len(text), block_bytes)]
    framer = Framer(Dialect(), 0, header=("a",), chunk_bytes=chunk_bytes)
    chunks = [chunk for block in blocks(*parts) for chunk in framer.feed(block, more=True)] + framer.finish()
    assert b"".join(chunk.data for chunk in chunks) == text
    assert [chunk.offset for chunk in chunks] == [0, *accumulate(len(chunk.data) for chunk in chunks[:-1])]


def test_a_header_may_be_as_long_as_a_record() -> None:
    (chunk,) = frame(Framer(Dialect(), 0, max_record=4), b"a,b\n1,2\n")[:1]
    assert chunk.header == ("a", "b")
    (chunk,) = frame(Framer(Dialect(comment="#"), 0, max_record=9), b"# before\na,b\n1,2\n")[:1]
    assert chunk.header == ("a", "b")
    with pytest.raises(DataError, match="header: the record is longer than 3 bytes"):
        frame(Framer(Dialect(), 0, max_record=3), b"a,b\n1,2\n")


def test_how_long_chunks_are_to_be_is_asked_by_the_header() -> None:
    asked = set()

    def wanted(header: tuple[str, ...]) -> int:
        asked.add(header)
        return 4

    assert simple(frame(Framer(Dialect(), 0, chunk_bytes=wanted), b"a,b\n1,2\n3,4\n")) == [
        (4, b"1,2\n"),
        (8, b"3,4\n"),
        (12, b""),
    ]
    assert asked == {("a", "b")}


@pytest.mark.parametrize("short", [0, 1, 2])
def test_a_record_that_is_nearly_too_long_is_waited_for(short: int) -> None:
    framer = Framer(Dialect(), 0, header=("a",), max_record=200_000)
    first, second = blocks(b'"' + b"x" * 99_999, b"x" * (100_000 - short))
    assert framer.feed(first) == framer.feed(second) == []
    (chunk,) = framer.finish()
    assert chunk.broken is not None
    assert "never closed" in chunk.broken.reason


@pytest.mark.parametrize(("has_header", "names"), [(False, ("column0", "column1")), (True, ("a", "b"))])
@pytest.mark.parametrize("cut", range(48))
def test_comments_longer_than_a_record_may_be_are_no_record(has_header: bool, names: tuple[str, ...], cut: int) -> None:
    text = b"# comment\r\n" * 3 + b"\na,b\n1,2\n3,4\n"
    framer = Framer(Dialect(comment="#"), 0, has_header=has_header, max_record=20)
    chunks: list[Chunk] = []
    for start, stop in ((0, cut), (cut, len(text))):
        chunks += framer.feed(Block(data=text[start:stop], offset=start, resume=ResumePoint(offset=start)))
    chunks += framer.finish()
    assert {chunk.header for chunk in chunks} == {names}
    rows = b"".join(chunk.data for chunk in chunks)
    assert rows.endswith(b"1,2\n3,4\n")
    assert all(chunk.data == text[chunk.offset :][: len(chunk.data)] for chunk in chunks)
    assert sum(chunk.lines_before for chunk in chunks) + rows.count(b"\n") == text.count(b"\n")
