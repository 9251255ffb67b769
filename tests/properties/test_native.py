"""The native kernel says what the reference says: of any bytes, dialect, cut and batch."""

from __future__ import annotations

import random
from array import array
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from unittest import mock

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from csv2kafka import kernel
from csv2kafka.errors import StateContradiction
from csv2kafka.kernel import _python
from csv2kafka.kernel._python import compression
from csv2kafka.model import Dialect, Records
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
    b"a\\,b",
    b"\\\n",
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
    b'"back\\slash"',
    b'"an \\" escaped one"',
    b'"\\\\"',
]
fields = st.sampled_from([*plain_fields, *quoted_fields])
ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r", b"\n\n", b""])
tables = st.lists(st.tuples(st.lists(fields, min_size=1, max_size=4), ends), max_size=8).map(
    lambda rows: b"".join(b",".join(cells) + end for cells, end in rows)
)
datas = st.one_of(tables, texts.map(str.encode), st.binary(max_size=60))
names = st.sampled_from(["a", "", 'say "é"\\', "name", "x" * 27, "y" * 28, "z" * 100, "\n☕"])
written = st.tuples(datas, dialects) | st.tuples(datas, dialects).map(
    lambda drawn: (twins.in_its_marks(*drawn), drawn[1])
)
headers = st.lists(names, max_size=4).map(tuple)
codecs = st.sampled_from(kernel.COMPRESSIONS)


@given(written, st.booleans())
@example((b"a\r\nb", Dialect()), False)
def test_boundaries(data_and_dialect: tuple[bytes, Dialect], final: bool) -> None:
    data, dialect = data_and_dialect
    twins.compare_boundaries(data, dialect, None, final=final)
    for end in range(min(len(data), 60) + 1):
        twins.compare_boundaries(data, dialect, end, final=final)


@given(written, st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 60), st.integers(1, 200))
def test_any_blocks(
    data_and_dialect: tuple[bytes, Dialect], sizes: list[int], chunk_bytes: int, max_record: int
) -> None:
    data, dialect = data_and_dialect
    twins.compare_framing(data, dialect, sizes, chunk_bytes=chunk_bytes, max_record=max_record)


@given(written, headers, st.lists(st.integers(0, 3), max_size=3), st.booleans())
@example((b'1,"x"\n', Dialect()), ("a", "b"), [1, 0], False)
@example((b"1\r", Dialect()), ("a",), [], False)
@example((b'"1\n', Dialect()), ("a",), [], True)
@example((b"\xff\n1\n", Dialect()), ("a",), [0], True)
@example((b'"a\\b"\n', Dialect(escape="\\")), ("a",), [0], False)
def test_rows(data_and_dialect: tuple[bytes, Dialect], header: tuple[str, ...], keys: list[int], last: bool) -> None:
    data, dialect = data_and_dialect
    columns = tuple(key for key in keys if key < len(header))
    twins.compare_encoding(data, dialect, header, columns, last=last)


ODD = [b'"', b'""', b'"x', b'"a,b"', b'"\n"', b"\r", b"\n", b"\r\n", b"\xff", b"\0", b"\\", "é".encode()]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_what_is_odd_at_any_place(odd: bytes, quote: bytes) -> None:
    """Wherever the blocks begin in which the fast ways look at it. What is behind it has to be right again."""
    for place in range(140):
        data = b"1," + quote + b"x" * place + odd + quote + b"\n" + b'2,"y,"\n' * 20
        for keys in [(), (1,)]:
            twins.compare_encoding(data, Dialect(), ("a", "b"), keys, last=True)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 3), st.sampled_from([b"x", b'"', b"\n", "é".encode()]))
def test_rows_of_any_length_at_any_place(before: int, length: int, width: int, content: bytes) -> None:
    """Whatever the 16 bytes are that a step takes."""
    row = b",".join([b'"' + content.replace(b'"', b'""') * length + b'"'] * width)
    data = b"x" * before + b"\n" + row + b"\n" + row
    for last in (False, True):
        twins.compare_encoding(data, Dialect(), tuple("abc"[:width]), (0,), last=last)


@pytest.mark.parametrize("width", [1, 3])
def test_names_of_any_length(width: int) -> None:
    """What stands before a value is copied in steps, too."""
    for length in range(80):
        header = tuple(f"{column}" + "n" * length for column in range(width))
        for row in (b",".join([b"1"] * width) + b"\n", b",".join([b'"a,b"'] * width) + b"\r\n"):
            twins.compare_encoding(row * 20, Dialect(), header, (width - 1,), last=False)


def test_values_many_times_as_long_as_the_rows() -> None:
    """Room for them is made on the way, more than once."""
    data = b'"' + b"\x01" * 300_000 + b'"\n' + b"1\n" * 50_000
    twins.compare_encoding(data, Dialect(), ("a" * 200,), (0,), last=True)


@given(datas, headers, st.booleans(), codecs, st.none() | st.integers(1, 5), st.booleans(), st.data())
def test_batches(
    data: bytes,
    header: tuple[str, ...],
    keyed: bool,
    codec: str,
    level: int | None,
    other_buffers: bool,
    draw: st.DataObject,
) -> None:
    keys = (0,) if keyed and header else ()
    for records in twins.compare_encoding(data, Dialect(), header, keys, last=True):
        first = draw.draw(st.integers(0, len(records)))
        last = draw.draw(st.integers(first, len(records)))
        twins.compare_batches(in_other_buffers(records) if other_buffers else records, first, last, codec, level)


def in_other_buffers(records: Records) -> Records:
    """Not bytes, and ends as a list or a view into more."""
    more = memoryview(array("I", [7, *records.value_ends]))
    return evolve(
        records,
        values=memoryview(bytearray(records.values)),
        value_ends=more[1:],
        keys=None if records.keys is None else bytearray(records.keys),
        key_ends=None if records.key_ends is None else list(records.key_ends),
    )


@given(datas, headers, st.booleans(), codecs, st.integers(61, 600), st.integers(1, 2000))
def test_batches_of_any_limit(
    data: bytes, header: tuple[str, ...], keyed: bool, codec: str, limit: int, uncompressed_bytes: int
) -> None:
    keys = (0,) if keyed and header else ()
    for records in twins.compare_encoding(data, Dialect(), header, keys, last=True):
        twins.compare_packing(records, codec, limit=limit, uncompressed_bytes=uncompressed_bytes)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_the_level_is_the_one_asked_for(codec: str) -> None:
    """Also where the thread has worked with another before."""
    draw = random.Random(1)
    values = b"".join(draw.choice([b"orders", b"customer", b"%d" % draw.randrange(1000)]) for _ in range(20_000))
    records = Records(values=values, value_ends=array("I", [len(values)]))
    native = twins.kernel_of("native")
    fast, best, again = (native.pack_batch(records, 0, 1, compression=codec, level=level) for level in (1, 9, 1))
    assert len(best) < len(fast)
    assert again == fast


@pytest.mark.parametrize("codec", kernel.COMPRESSIONS)
@pytest.mark.parametrize("size", [-1, 0, 1])
def test_no_more_than_may_be_unpacked(codec: str, size: int) -> None:
    """A small batch can be a large one decompressed."""
    limit = 200_000
    overhead = len(_python.pack_records([(None, b"0" * limit, ())])) - _python.HEADER_BYTES - limit
    batch = _python.pack_records([(None, b"0" * (limit - overhead + size), ())], compression=codec)
    with (
        mock.patch("csv2kafka.kernel._native.unpack.MAX_UNPACKED", limit),
        mock.patch.object(compression.decompress, "__defaults__", (limit,)),
    ):
        twins.compare_unpacking(twins.stamped(batch))
        expected = pytest.raises(StateContradiction, match=f"more than {limit} bytes") if size > 0 else nullcontext()
        with expected:
            twins.kernel_of("native").unpack_batch(twins.stamped(batch))


def test_many_threads_at_once() -> None:
    """Each thread has buffers of its own, and keeps them from call to call."""
    draw = random.Random(5)

    def work(number: int) -> None:
        row = b'%d,"%s"\n' % (number, b'a""b' * (number % 90))
        json, raw = twins.compare_encoding(row * draw.randint(1, 300), Dialect(), ("a", "b"), (number % 2,), last=True)
        for records in (json, raw):
            twins.compare_batches(records, 0, len(records), kernel.COMPRESSIONS[number % 5])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(200)))


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
    twins.unpack_damaged(twins.stamped(batch))
    short = batch[: draw.draw(st.integers(_python.HEADER_BYTES, len(batch)))]
    short[8:12] = (len(short) - 12).to_bytes(4, "big")
    twins.unpack_damaged(twins.stamped(short))


@given(st.binary(max_size=60), st.integers(-1, 4))
@example(b"\x10\0\0\0\x01\x02x\0\0", 1)  # a byte of the record behind its headers
@example(b"\x0e\0\0\0\x01\x02x\0\0", 1)  # a byte behind the record
@example(b"\x10\0\0\0\x01\x02x\x80\0", 1)  # no headers, in two bytes
def test_records_of_any_bytes(body: bytes, count: int) -> None:
    batch = _python.pack_records([(None, b"", ())])[: _python.HEADER_BYTES] + body
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    batch[57:61] = count.to_bytes(4, "big", signed=True)
    twins.compare_unpacking(twins.stamped(batch))
