"""Framing and encoding of any text, in any blocks, against Python's own csv and json, and against each other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence

import pytest
from attrs import frozen
from hypothesis import example, given
from hypothesis import strategies as st

from csv2kafka import kernel
from csv2kafka.encoding import JsonEncoder, RawEncoder
from csv2kafka.framing import Framer
from csv2kafka.kernel._python import encode as python_encode
from csv2kafka.kernel._python.rows import scan
from csv2kafka.model import Block, Chunk, Dialect, Records, ResumePoint
from csv2kafka.protocols import Encoder

pytestmark = pytest.mark.usefixtures("each_kernel")

DIALECTS = [
    Dialect(),
    Dialect(delimiter=";", quote="'"),
    Dialect(quote=None),
    Dialect(escape="\\"),
    Dialect(quote=None, escape="\\"),
    Dialect(comment="#"),
    Dialect(delimiter="\t", escape="\\", comment="#"),
]
dialects = st.sampled_from(DIALECTS)
# Little but what matters: every special character often, a few that stand for all others.
texts = st.lists(
    st.sampled_from(
        [",", ";", "\t", '"', '""', "'", "\n", "\r", "\r\n", "\\", "#", "\0", "a", "b", "é", "😀", " ", "{"]
    )
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=3),
    max_size=30,
).map("".join)
datas = st.one_of(texts.map(str.encode), texts.map(str.encode), st.binary(max_size=40))
widths = st.integers(1, 3)
cuts = st.lists(st.integers(1, 7), min_size=1, max_size=8)


@frozen
class Row:
    """What became of a row: its place in the object, and its value and key, or why it was refused."""

    offset: int
    line: int
    value: bytes
    key: bytes | None = None


def python_rows(text: str, dialect: Dialect, *, strict: bool = True) -> list[list[str]] | None:
    """What Python's csv reads, blank lines skipped; None where it refuses."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        strict=strict,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        escapechar=dialect.escape,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
    )
    try:
        return [row for row in reader if row]
    except csv.Error:
        return None


def blocks_of(data: bytes, sizes: Sequence[int], start: int = 0) -> Iterator[Block]:
    at, turn = start, 0
    if at == len(data):  # as decoding says where it is when there is nothing
        yield Block(data=b"", offset=at, resume=ResumePoint(offset=at))
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield Block(data=data[at : at + size], offset=at, resume=ResumePoint(offset=at))
        at, turn = at + size, turn + 1


def frame(data: bytes, framer: Framer, sizes: Sequence[int], start: int = 0) -> list[Chunk]:
    chunks = [chunk for block in blocks_of(data, sizes, start) for chunk in framer.feed(block)]
    return chunks + framer.finish()


def rows_of(chunk: Chunk, records: Records, line: int) -> Iterator[Row]:
    """Good and refused rows of a chunk, in order of their place."""
    refused = list(records.bad)
    for index, (key, value) in enumerate(records.rows()):
        while refused and refused[0].index <= index:
            bad = refused.pop(0)
            yield Row(chunk.offset + bad.end, line + bad.line, bad.reason.encode())
        yield Row(chunk.offset + records.row_ends[index], line + records.row_lines[index], value, key)
    for bad in refused:
        yield Row(chunk.offset + bad.end, line + bad.line, bad.reason.encode())


def read_all(
    data: bytes,
    dialect: Dialect,
    encoder: Encoder,
    header: tuple[str, ...],
    sizes: Sequence[int],
    *,
    exact: bool = False,
    start: int = 0,
    chunk_bytes: int = 8,
    max_record: int = 1 << 20,
) -> tuple[list[Row], list[str]]:
    """All rows from ``start`` on as the pipeline reads them, going on exactly behind a wrong count; and what broke."""

    def framer(exact: bool) -> Framer:
        return Framer(dialect, 0, header=header, max_record=max_record, chunk_bytes=chunk_bytes, exact=exact)

    rows: list[Row] = []
    line, expected = 0, start
    pending = frame(data, framer(exact), sizes, start)
    while pending:
        chunk = pending.pop(0)
        assert chunk.offset == expected
        assert data[chunk.offset : chunk.offset + len(chunk.data)] == chunk.data
        assert chunk.resume_at(chunk.offset).offset == chunk.offset
        records = encoder.encode(chunk)
        assert records.unfinished == (records.end != len(chunk.data))
        rows += rows_of(chunk, records, line)
        line, expected = line + records.lines, chunk.offset + records.end
        if records.unfinished:
            assert not exact, "the exact machine cut inside a record"
            return _joined(
                rows,
                line,
                read_all(
                    data,
                    dialect,
                    encoder,
                    header,
                    sizes,
                    exact=True,
                    start=expected,
                    chunk_bytes=chunk_bytes,
                    max_record=max_record,
                ),
            )
        if chunk.broken:
            assert not pending
            return rows, [chunk.broken.reason]
        assert chunk.last == (not pending)
    assert expected == len(data)
    return rows, []


def _joined(rows: list[Row], line: int, rest: tuple[list[Row], list[str]]) -> tuple[list[Row], list[str]]:
    return rows + [Row(row.offset, row.line + line, row.value, row.key) for row in rest[0]], rest[1]


def encoders(dialect: Dialect, width: int, keys: int) -> list[Encoder]:
    names = names_of(width)[:keys]
    return [JsonEncoder(dialect=dialect, keys=names), RawEncoder(dialect=dialect, keys=names)]


def names_of(width: int) -> tuple[str, ...]:
    return ("a", 'say "é"\\', "c%s")[:width]


@given(texts, dialects, widths, st.integers(0, 2))
@example('a,"b\n"\n', Dialect(), 2, 1)
@example("a\\\r\n", Dialect(escape="\\"), 1, 0)
def test_json_is_what_python_makes_of_it(text: str, dialect: Dialect, width: int, keys: int) -> None:
    """Wherever Python's strict csv accepts the text, the good rows are json.dumps of its rows, byte for byte."""
    expected = python_rows(text, dialect)
    if expected is None or (dialect.comment and dialect.comment in text):
        return
    header = names_of(width)
    columns = tuple(range(min(keys, width)))
    records = kernel.encode_json(text.encode(), dialect=dialect, header=header, keys=columns, last=True)
    good = [row for row in expected if len(row) == width]
    values = [
        json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False, separators=(",", ":")) for row in good
    ]
    assert [value for _, value in records.rows()] == [value.encode() for value in values]
    picked = [[row[column] for column in columns] for row in good]
    if len(columns) == 1:
        assert [key for key, _ in records.rows()] == [row[0].encode() for row in picked]
    elif columns:
        as_json = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in picked]
        assert [key for key, _ in records.rows()] == as_json
    assert len(records.bad) == len(expected) - len(good)
    assert not records.unfinished


@given(texts, dialects)
def test_malformed_rows_end_where_pythons_lenient_csv_ends_them(text: str, dialect: Dialect) -> None:
    if (dialect.comment and dialect.comment in text) or (dialect.escape and text.endswith(dialect.escape)):
        return
    lenient = python_rows(text, dialect, strict=False)
    assert lenient is not None
    data = text.encode()
    rows = [row for row in scan(data, dialect, last=True) if row.fields is not None]
    mine = [[field.decode() for field in row.fields or ()] for row in rows]
    # Python makes a row of what is left inside quotes at the end; here that is no row.
    open_quote = sum(row.end - row.start for row in scan(data, dialect, last=True)) != len(data)
    assert mine == (lenient[: len(mine)] if open_quote else lenient)
    if python_rows(text, dialect) is not None:
        assert not any(row.problem for row in rows)


@given(datas, dialects, widths, st.integers(0, 2), st.booleans())
def test_the_fast_way_and_the_exact_machine_say_the_same(
    data: bytes, dialect: Dialect, width: int, keys: int, last: bool
) -> None:
    header, columns = names_of(width), tuple(range(min(keys, width)))
    exact = python_encode._json_exact(data, dialect, header, columns, last)
    assert as_values(kernel.encode_json(data, dialect=dialect, header=header, keys=columns, last=last)) == as_values(
        exact
    )
    exact = python_encode._raw_exact(data, dialect, width, columns, last)
    assert as_values(kernel.encode_raw(data, dialect=dialect, columns=width, keys=columns, last=last)) == as_values(
        exact
    )


@given(datas, dialects, st.integers(0, 40))
def test_the_exact_boundary_is_the_end_of_the_last_row(data: bytes, dialect: Dialect, end: int) -> None:
    end = min(end, len(data))
    ends = [row.end for row in scan(data, dialect, last=False)]
    whole = [at for at in ends if at <= end and not (at == len(data) and data.endswith(b"\r"))]
    assert kernel.find_boundary_exact(data, dialect, end) == max(whole, default=0)
    last = [row.end for row in scan(data, dialect, last=True)]
    assert kernel.find_boundary_exact(data, dialect, final=True) == max(last, default=0)


@given(datas, st.sampled_from([ord('"'), ord("'"), None]), st.integers(0, 40))
def test_the_counted_boundary_is_the_last_line_end_with_an_even_count(data: bytes, quote: int | None, end: int) -> None:
    end = min(end, len(data))
    candidates = [
        at
        for at in range(1, end + 1)
        if (data[at - 1] == 10 or (data[at - 1] == 13 and at < len(data) and data[at] != 10))
        and (quote is None or data[:at].count(quote) % 2 == 0)
    ]
    for cut in range(len(data) + 1):
        assert kernel.find_boundary((data[:cut], data[cut:]), quote, end) == max(candidates, default=0)


@given(datas, dialects, widths, st.integers(0, 2), cuts, cuts, st.integers(1, 20))
@example(b'5" pipe\n"a\nb"\n', Dialect(), 1, 0, [3], [7], 4)
def test_any_blocks_give_the_same_rows(
    data: bytes, dialect: Dialect, width: int, keys: int, sizes: list[int], others: list[int], chunk_bytes: int
) -> None:
    """Counting with its recovery, the exact framer and one pass over the whole say the same, places included."""
    header = names_of(width)
    for encoder in encoders(dialect, width, min(keys, width)):
        whole = read_all(data, dialect, encoder, header, [1 << 20], exact=True, chunk_bytes=1 << 20)
        assert read_all(data, dialect, encoder, header, sizes, chunk_bytes=chunk_bytes) == whole
        assert read_all(data, dialect, encoder, header, others, exact=True, chunk_bytes=chunk_bytes) == whole


@given(datas, dialects, cuts, cuts, st.integers(1, 20), st.integers(1, 12))
def test_the_longest_record_is_the_same_in_any_blocks(
    data: bytes, dialect: Dialect, sizes: list[int], others: list[int], chunk_bytes: int, max_record: int
) -> None:
    encoder = RawEncoder(dialect=dialect)
    first = read_all(data, dialect, encoder, ("a",), sizes, chunk_bytes=chunk_bytes, max_record=max_record)
    second = read_all(data, dialect, encoder, ("a",), others, exact=True, chunk_bytes=1 << 20, max_record=max_record)
    assert first == second
    records = list(scan(data, dialect, last=True))
    too_long = [row for row in records if row.end - row.start > max_record]
    rest = len(data) - (records[-1].end if records else 0)
    if too_long or rest > max_record:
        assert first[1] == [f"the record is longer than {max_record} bytes"]
    else:
        assert first[1] == (["a quote is opened and never closed"] if rest else [])


@given(texts, dialects, cuts)
def test_reading_again_from_every_record_gives_the_rest(text: str, dialect: Dialect, sizes: list[int]) -> None:
    data = text.encode()
    encoder = JsonEncoder(dialect=dialect)
    header = names_of(2)
    rows, broken = read_all(data, dialect, encoder, header, sizes)
    for row in scan(data, dialect, last=True):
        rest, again = read_all(data, dialect, encoder, header, sizes, start=row.end)
        expected = [(known.offset, known.value) for known in rows if known.offset > row.end]
        assert [(known.offset, known.value) for known in rest] == expected
        assert again == broken


@given(datas, dialects, cuts, st.booleans())
def test_the_header_is_the_first_record_in_any_blocks(
    data: bytes, dialect: Dialect, sizes: list[int], has_header: bool
) -> None:
    def run(sizes: Sequence[int]) -> tuple[tuple[str, ...], int, int] | str:
        framer = Framer(dialect, 0, has_header=has_header, chunk_bytes=8)
        try:
            chunks = frame(data, framer, sizes)
        except Exception as error:
            return str(error)
        return chunks[0].header, chunks[0].offset, chunks[0].lines_before

    assert run(sizes) == run([1 << 20])


def as_values(records: Records) -> object:
    bad = [(row.index, row.start, row.end, row.line, row.reason) for row in records.bad]
    places = list(records.row_ends), list(records.row_lines), records.end, records.lines, records.unfinished
    return list(records.rows()), bad, places
