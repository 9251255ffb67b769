"""The native kernel says what the reference says: of any bytes, dialect, cut and batch."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csv2kafka import kernel
from csv2kafka.kernel import _python
from csv2kafka.model import Dialect
from tests import twins
from tests.properties.test_csv import texts

pytestmark = pytest.mark.skipif(
    twins.native is None and not twins.REQUIRED, reason="the native kernel was not built: no Rust"
)

marks = st.sampled_from([",", ";", "\t", '"', "'", "\\", "#", "|", " ", "a", "\0", "\x1f", "\x7f"])
optional_marks = st.none() | marks
dialects = st.one_of(
    st.just(Dialect()),
    st.sampled_from([Dialect(quote=None), Dialect(delimiter=";", quote="'"), Dialect(delimiter="\t", escape="\\")]),
    st.tuples(marks, optional_marks, optional_marks, optional_marks)
    .filter(lambda chosen: len({mark for mark in chosen if mark}) == sum(mark is not None for mark in chosen))
    .map(lambda chosen: Dialect(delimiter=chosen[0], quote=chosen[1], escape=chosen[2], comment=chosen[3])),
)
plain_fields = [
    b"",
    b"a",
    b"12345678901234567",
    b"x" * 100,
    b'a"b',
    b"\\",
    b"'",
    b"#",
    b"\xff",
    b"\t\x00\x1f",
    "ü☕".encode(),
]
quoted_fields = [
    b'"x, y"',
    b'"say ""so"""',
    b'"two\nlines"',
    b'"\r\n"',
    b'"a\rb"',
    b'"q"x',
    b'"' + b"long " * 20 + b'"',
]
fields = st.sampled_from([*plain_fields, *quoted_fields])
ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b""])
tables = st.lists(st.tuples(st.lists(fields, min_size=1, max_size=4), ends), max_size=8).map(
    lambda rows: b"".join(b",".join(cells) + end for cells, end in rows)
)
datas = st.one_of(tables, texts.map(str.encode), st.binary(max_size=60))
names = st.sampled_from(["a", "", 'say "é"\\', "name", "x" * 27, "y" * 28, "z" * 100, "\n☕"])
headers = st.lists(names, max_size=4).map(tuple)
codecs = st.sampled_from(kernel.COMPRESSIONS)


@given(datas, dialects, st.integers(0, 60), st.booleans())
def test_boundaries(data: bytes, dialect: Dialect, end: int, final: bool) -> None:
    twins.compare_boundaries(data, dialect, None, final=final)
    twins.compare_boundaries(data, dialect, min(end, len(data)), final=final)


@given(datas, dialects, headers, st.lists(st.integers(0, 3), max_size=3), st.booleans())
@example(b'1,"x"\n', Dialect(), ("a", "b"), [1, 0], False)
@example(b"1\r", Dialect(), ("a",), [], False)
@example(b'"1\n', Dialect(), ("a",), [], True)
@example(b"\xff\n1\n", Dialect(), ("a",), [0], True)
def test_rows(data: bytes, dialect: Dialect, header: tuple[str, ...], keys: list[int], last: bool) -> None:
    columns = tuple(key for key in keys if key < len(header))
    twins.compare_encoding(data, dialect, header, columns, last=last)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 3), st.sampled_from([b"x", b'"', b"\n", "é".encode()]))
def test_rows_of_any_length_at_any_place(before: int, length: int, width: int, content: bytes) -> None:
    """Whatever the 16 bytes are that a step takes."""
    row = b",".join([b'"' + content.replace(b'"', b'""') * length + b'"'] * width)
    data = b"x" * before + b"\n" + row + b"\n" + row
    for last in (False, True):
        twins.compare_encoding(data, Dialect(), tuple("abc"[:width]), (0,), last=last)


def test_values_many_times_as_long_as_the_rows() -> None:
    """Room for them is made on the way, more than once."""
    data = b'"' + b"\x01" * 300_000 + b'"\n' + b"1\n" * 50_000
    twins.compare_encoding(data, Dialect(), ("a" * 200,), (0,), last=True)


@given(datas, headers, st.booleans(), codecs, st.none() | st.integers(1, 5), st.data())
def test_batches(
    data: bytes, header: tuple[str, ...], keyed: bool, codec: str, level: int | None, draw: st.DataObject
) -> None:
    keys = (0,) if keyed and header else ()
    for records in twins.compare_encoding(data, Dialect(), header, keys, last=True):
        first = draw.draw(st.integers(0, len(records)))
        last = draw.draw(st.integers(first, len(records)))
        twins.compare_batches(records, first, last, codec, level)


@given(tables, tables, headers, st.booleans(), st.booleans(), st.data())
def test_comparing(
    data: bytes, other: bytes, header: tuple[str, ...], keyed: bool, same: bool, draw: st.DataObject
) -> None:
    keys = (0,) if keyed and header else ()
    left = twins.compare_encoding(data, Dialect(), header, keys, last=True)
    right = twins.compare_encoding(data + other if same else other, Dialect(), header, keys, last=True)
    for one, another in zip(left, right, strict=True):
        a_first = draw.draw(st.integers(0, len(one)))
        b_first = a_first if same and a_first <= len(another) else draw.draw(st.integers(0, len(another)))
        count = draw.draw(st.integers(0, min(len(one) - a_first, len(another) - b_first)))
        twins.compare_comparing(one, a_first, another, b_first, count)


@pytest.mark.parametrize("sizes", [(5, 100, 5), (100, 20_000, 3), (3_000_000, 1, 130)])
def test_records_whose_lengths_take_more_or_fewer_bytes_than_the_one_before(sizes: tuple[int, ...]) -> None:
    data = b"".join(b"%d,%s\n" % (row, b"x" * sizes[row % len(sizes)]) for row in range(12)) * 40
    for keys in ((), (0,), (1,), (1, 0)):
        for records in twins.compare_encoding(data[: 8 << 20], Dialect(), ("a", "b"), keys, last=True):
            twins.compare_batches(records, 0, len(records), "none")
            twins.compare_batches(records, 1, len(records) - 1, "lz4")


@given(st.lists(st.tuples(*[st.none() | st.binary(max_size=9)] * 2), min_size=1, max_size=5), codecs, st.data())
def test_batches_of_others_and_broken_ones(
    rows: list[tuple[bytes | None, bytes | None]], codec: str, draw: st.DataObject
) -> None:
    headers = draw.draw(st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=2))
    batch = _python.pack_records([(key, value, headers) for key, value in rows], compression=codec)
    twins.compare_unpacking(twins.stamped(bytearray(batch)))
    at = draw.draw(st.integers(_python.HEADER_BYTES, len(batch) - 1))
    batch[at] = draw.draw(st.integers(0, 255))
    if codec in ("none", "snappy"):  # of the others' damaged data the libraries differ in what they notice
        twins.compare_unpacking(twins.stamped(batch))


@given(st.binary(max_size=60), st.integers(-1, 4))
@example(b"\x10\0\0\0\x01\x02x\0\0", 1)  # a byte of the record behind its headers
@example(b"\x0e\0\0\0\x01\x02x\0\0", 1)  # a byte behind the record
@example(b"\x10\0\0\0\x01\x02x\x80\0", 1)  # no headers, in two bytes
def test_records_of_any_bytes(body: bytes, count: int) -> None:
    batch = _python.pack_records([(None, b"", ())])[: _python.HEADER_BYTES] + body
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    batch[57:61] = count.to_bytes(4, "big", signed=True)
    twins.compare_unpacking(twins.stamped(batch))
