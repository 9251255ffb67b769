"""Chunks are as long as it takes to fill a payload, and no longer than memory allows."""

from __future__ import annotations

from array import array

from csv2kafka.chunk_size import ENCODED_BYTES, FILL, FIRST_BYTES, RECENT, SMALLEST_BYTES, ChunkSize
from csv2kafka.model import Chunk, Records

LIMIT = 1 << 20
HEADER = ("id", "name")


def chunk(size: int) -> Chunk:
    return Chunk(data=bytes(size), object_index=0, offset=0, header=HEADER, last=False, marks=())


def records(rows: int, size: int) -> Records:
    return Records(values=bytes(rows * size), value_ends=array("I", [size * (row + 1) for row in range(rows)]))


def after(*seen: tuple[int, int], limit: int | None = LIMIT) -> ChunkSize:
    """What (text, payload bytes) of chunks taught, whose rows do not grow."""
    size = ChunkSize(limit)
    for text, payload in seen:
        size.encoded(chunk(text), records(1, text))
        size.packed(chunk(text), payload)
    return size


def test_a_payload_that_was_a_quarter_full_makes_the_next_chunk_as_much_longer() -> None:
    size = after((1 << 20, LIMIT // 4)).bytes(HEADER)
    assert 0.8 * LIMIT < size / 4 <= 0.95 * LIMIT


def test_the_worst_of_the_last_payloads_counts_and_is_forgotten() -> None:
    bad, good = (1 << 20, LIMIT // 2), (1 << 20, LIMIT // 4)
    assert after(bad, good).bytes(HEADER) == after(bad).bytes(HEADER)
    assert after(bad, *[good] * RECENT).bytes(HEADER) == after(good).bytes(HEADER)


def test_rows_that_do_not_compress_make_chunks_below_the_limit() -> None:
    assert after((1 << 20, 1 << 20)).bytes(HEADER) == int(LIMIT * FILL)
    assert after((4 << 20, 0)).bytes(HEADER) <= ENCODED_BYTES


def test_rows_that_grow_by_encoding_make_shorter_chunks() -> None:
    size = after((1 << 20, 1 << 10))
    size.encoded(chunk(1 << 20), records(1000, 10 << 10))
    assert 10 << 20 < size.memory(1 << 20) < 12 << 20
    assert size.memory(size.bytes(HEADER)) <= 1.2 * ENCODED_BYTES


def test_many_short_rows_count_for_more_than_their_bytes() -> None:
    short, long = after((1 << 20, 1 << 10)), after((1 << 20, 1 << 10))
    short.encoded(chunk(1 << 20), records(1 << 19, 2))
    long.encoded(chunk(1 << 20), records(1, 1 << 20))
    assert short.bytes(HEADER) * 4 < long.bytes(HEADER)
    assert short.memory(1 << 20) > 8 * long.memory(1 << 20)


def test_before_anything_is_known_the_header_tells_the_worst() -> None:
    assert ChunkSize(LIMIT).bytes(("a", "b")) <= FIRST_BYTES
    wide = tuple("x" * 10_000 + str(number) for number in range(3))
    assert ChunkSize(LIMIT).bytes(wide) < 4 << 10
    assert ChunkSize(LIMIT).bytes(("x" * (1 << 24),)) == SMALLEST_BYTES


def test_a_sink_without_limit_has_chunks_of_one_size() -> None:
    assert after((1 << 20, 1), limit=None).bytes(HEADER) == FIRST_BYTES


def test_an_empty_chunk_teaches_nothing() -> None:
    assert after((0, 0)).bytes(HEADER) == ChunkSize(LIMIT).bytes(HEADER)
