"""Batches within the topic's limit, however rows compress; nothing lost, nothing twice, in order."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csv2kafka.kafka.packer import UNCOMPRESSED_BYTES, KafkaPacker
from csv2kafka.kernel import COMPRESSIONS, Batch, stamp, unpack_batch
from csv2kafka.model import DeadLetter, Packed, Payload, Records, Target


def records(rows: list[bytes], keys: list[bytes] | None = None) -> Records:
    def ends(parts: list[bytes]) -> array[int]:
        total, found = 0, array("I")
        for part in parts:
            total += len(part)
            found.append(total)
        return found

    return Records(
        values=b"".join(rows),
        value_ends=ends(rows),
        keys=None if keys is None else b"".join(keys),
        key_ends=None if keys is None else ends(keys),
    )


def unpacked(payload: Payload) -> Batch:
    body = bytearray(payload.body)
    stamp(body, producer_id=1, epoch=0, sequence=0, timestamp_ms=0, transactional=False)
    return unpack_batch(body)


def packer(limit: int, compression: str = "none") -> KafkaPacker:
    return KafkaPacker(limit=limit, dead_letter_limit=limit, compression=compression)


def assert_holds(packed: Packed, rows: list[bytes], limit: int, first: int = 0, last: int | None = None) -> None:
    """Each row of the range once and in order, in a payload or among the too large."""
    found: dict[int, bytes] = {}
    before = first
    for payload in packed.payloads:
        assert payload.target is Target.DATA
        assert len(payload.body) <= limit
        assert before <= payload.first < payload.last
        before = payload.last
        values = [value for _, value in unpacked(payload).records.rows()]
        assert len(values) == payload.last - payload.first
        found |= dict(zip(range(payload.first, payload.last), values, strict=True))
    large = {index for index, _ in packed.too_large}
    assert large.isdisjoint(found)
    last = len(rows) if last is None else last
    assert sorted(found.keys() | large) == list(range(first, last))
    assert all(rows[index] == value for index, value in found.items())


@settings(deadline=None)
@given(
    rows=st.lists(st.binary(max_size=300), max_size=60),
    limit=st.integers(100, 400),
    compression=st.sampled_from(COMPRESSIONS),
    bounds=st.tuples(st.integers(0, 60), st.integers(0, 60)),
)
def test_any_rows_any_limit(rows: list[bytes], limit: int, compression: str, bounds: tuple[int, int]) -> None:
    first, last = sorted(min(bound, len(rows)) for bound in bounds)
    packed = packer(limit, compression).pack(records(rows), first, last)
    assert_holds(packed, rows, limit, first, last)
    for index, reason in packed.too_large:
        assert len(rows[index]) > limit - 100
        assert str(limit) in reason


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.binary(max_size=90), st.binary(max_size=90)), max_size=30))
def test_keys_count_too(rows: list[tuple[bytes, bytes]]) -> None:
    keys, values = [key for key, _ in rows], [value for _, value in rows]
    packed = packer(260).pack(records(values, keys))
    assert_holds(packed, values, 260)
    found = [pair for payload in packed.payloads for pair in unpacked(payload).records.rows()]
    assert found == rows


def test_rows_that_compress_unlike_each_other() -> None:
    draw = random.Random(1)
    rows = [draw.randbytes(1000) if 400 < row < 500 else b"x" * 1000 for row in range(1000)]
    packed = packer(20_000, "zstd").pack(records(rows))
    assert_holds(packed, rows, 20_000)
    assert packed.too_large == ()
    assert len(packed.payloads) < 40


def test_a_batch_is_never_more_than_a_reader_can_hold() -> None:
    rows = [b"x" * 1_000_000] * 20
    packed = packer(1 << 30, "zstd").pack(records(rows))
    assert_holds(packed, rows, 1 << 30)
    sizes = [sum(len(rows[row]) for row in range(p.first, p.last)) for p in packed.payloads]
    assert max(sizes) <= UNCOMPRESSED_BYTES
    assert len(sizes) == 3


def test_one_row_may_be_larger_than_that() -> None:
    rows = [b"a", b"x" * (UNCOMPRESSED_BYTES + 1), b"b"]
    packed = packer(1 << 30, "zstd").pack(records(rows))
    assert_holds(packed, rows, 1 << 30)
    assert packed.too_large == ()


class TestDeadLetters:
    def letter(self, number: int, value: bytes) -> DeadLetter:
        return DeadLetter(value=value, source="ü.csv", row=number, line=2, byte=3, reason="too — long")

    def test_own_bytes_and_place(self) -> None:
        (payload,) = packer(1000).pack_dead_letters([self.letter(1, b"\xff,\n"), self.letter(2, b"")])
        assert payload.target is Target.DEAD_LETTER
        batch = unpacked(payload)
        assert list(batch.records.rows()) == [(None, b"\xff,\n"), (None, b"")]
        assert batch.null_values == frozenset()
        assert dict(batch.headers[0]) == {
            "source": "ü.csv".encode(),
            "row": b"1",
            "line": b"2",
            "byte": b"3",
            "reason": "too — long".encode(),
        }

    def test_too_large_goes_without_its_value(self) -> None:
        letters = [self.letter(1, b"a"), self.letter(2, b"x" * 5000), self.letter(3, b"b")]
        payloads = packer(1000).pack_dead_letters(letters)
        assert all(len(payload.body) <= 1000 for payload in payloads)
        found = []
        for payload in payloads:
            batch = unpacked(payload)
            for index, (_, value) in enumerate(batch.records.rows()):
                found.append((dict(batch.headers[index])["row"], None if index in batch.null_values else value))
        assert found == [(b"1", b"a"), (b"2", None), (b"3", b"b")]

    @pytest.mark.parametrize("count", [0, 1, 100])
    def test_as_many_batches_as_needed(self, count: int) -> None:
        letters = [self.letter(number, b"y" * 100) for number in range(count)]
        payloads = packer(1000).pack_dead_letters(letters)
        spans = [(payload.first, payload.last) for payload in payloads]
        assert [first for first, _ in spans] == [0, *[last for _, last in spans]][: len(spans)]
        assert (spans[-1][1] if spans else 0) == count
