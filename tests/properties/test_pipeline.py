"""Any CSV, in any blocks, with any commits and crashes: the sink holds what Python's csv and json say, once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from unittest.mock import patch

from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.encoding import JsonEncoder
from csv2kafka.errors import Csv2KafkaError, Doubt
from csv2kafka.model import Committed, Position, ResumePoint
from csv2kafka.reading import Reading, as_they_are, read_rows
from csv2kafka.testing import Crash, FakeSource, MemorySink
from tests.pipelines import Place
from tests.simulation.clock import simulate

# Little but what matters: every special character often, a few that stand for all others.
fields = st.lists(st.sampled_from([",", '"', '""', "\n", "\r", "\r\n", "a", "é", "😀", " ", 'x"'])).map("".join)
ends = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A header, and rows of mostly as many fields: quoted, unquoted, or with stray quotes; blank lines."""
    width = draw(st.integers(1, 3))
    lines = [",".join(f"c{column}" for column in range(width))]
    for _ in range(draw(st.integers(0, 12))):
        wanted = width + draw(st.sampled_from([0] * 8 + [-1, 1]))
        line = []
        for _ in range(max(wanted, 1)):
            value = draw(fields)
            stray = draw(st.sampled_from([False] * 5 + [True]))
            plain = not any(mark in value for mark in ',\n\r"') or stray
            line.append(value.translate({ord(mark): None for mark in ",\n\r"}) if plain else _quoted(value))
        lines.append(",".join(line))
    text = "".join(line + draw(ends) for line in lines)
    return text if draw(st.booleans()) else text.rstrip("\r\n")


def _quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def expected(text: str) -> tuple[list[bytes], int]:
    """The good rows as JSON and the number of bad ones, by Python's own csv and json."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    rows = [row for row in reader if row]
    good = [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]
    values = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() for row in good]
    return values, len(rows) - len(good)


def is_strict(text: str) -> bool:
    try:
        expected(text)
    except csv.Error:
        return False
    return True


faults = st.lists(
    st.tuples(
        st.sampled_from(["open", "write", "commit"]),
        st.integers(1, 12),
        st.booleans(),
        st.sampled_from([Crash, Doubt, Doubt]),
    ),
    max_size=4,
)


@settings(max_examples=80, deadline=None)
@given(
    parts=st.lists(texts().filter(is_strict), min_size=1, max_size=2),
    block_bytes=st.integers(1, 60),
    chunk_bytes=st.integers(1, 80),
    rows=st.none() | st.integers(1, 5),
    planned=faults,
    policy=st.sampled_from(["skip", "dead-letter"]),
    atomic=st.booleans(),
)
@example(
    parts=['c0\n5" pipe\n"a\nb"\n"c\nd"\n"e\nf"\n'],
    block_bytes=7,
    chunk_bytes=9,
    rows=1,
    planned=[("commit", 2, True, Crash)],
    policy="skip",
    atomic=True,
)
def test_the_sink_holds_what_the_csv_says_once(
    parts: list[str],
    block_bytes: int,
    chunk_bytes: int,
    rows: int | None,
    planned: list[tuple[str, int, bool, type[BaseException]]],
    policy: str,
    atomic: bool,
) -> None:
    parts = [part for part in parts if part.partition("\n")[0].strip() == parts[0].partition("\n")[0].strip()]
    objects = {f"{number}.csv": part.encode() for number, part in enumerate(parts)}
    with patch.object(ChunkSize, "bytes", lambda *_: chunk_bytes):
        plain = Place(FakeSource(objects))
        whole = simulate(plain.run(on_bad_row=policy))
        place = Place(FakeSource(objects, block_bytes=block_bytes), MemorySink(atomic=atomic))
        for call, nth, done, error in planned:
            place.sink.faults.plan(call, error("no answer"), nth=nth, done=done)
        while True:
            try:
                report = simulate(place.run(checkpoint_rows=rows, on_bad_row=policy))
                break
            except Crash:
                continue
    said = [expected(part) for part in parts]
    assert place.values == [value for values, _ in said for value in values]
    counts = report.checkpoint.counts
    assert counts == whole.checkpoint.counts
    assert (counts.rows, counts.bad_rows) == (len(place.values), sum(bad for _, bad in said))
    assert report.checkpoint.content_hash == whole.checkpoint.content_hash
    assert report.checkpoint.position == whole.checkpoint.position
    if policy == "dead-letter" and atomic:
        letters = [(row.source, row.row, row.line, row.byte, row.value) for row in place.sink.dead_letters]
        assert letters == [(r.source, r.row, r.line, r.byte, r.value) for r in plain.sink.dead_letters]
    done_rows = [event.checkpoint.counts.rows for event in place.told(Committed)]
    assert done_rows == sorted(done_rows)


@settings(max_examples=60, deadline=None)
@given(text=texts(), block_bytes=st.integers(1, 60), encoding=st.sampled_from(["utf-8", "utf-16", "shift_jis"]))
def test_going_on_from_behind_any_row_gives_the_rest(text: str, block_bytes: int, encoding: str) -> None:
    """Also with another encoding, and wherever a quote is miscounted."""
    source = FakeSource({"a.csv": text.encode(encoding, "replace")}, block_bytes=block_bytes)
    with patch.object(ChunkSize, "bytes", lambda *_: 20):
        whole = list(simulate(_rows(source, encoding, Position(), ())))
        for done, (_, position, header) in enumerate(whole, 1):
            rest = simulate(_rows(source, encoding, position, header))
            assert [_placed(row) for row in rest] == [_placed(row) for row in whole[done:]]


def _placed(row: tuple[bytes, Position, tuple[str, ...]]) -> tuple[bytes, Position]:
    value, position, _ = row
    return value, evolve(position, resume=ResumePoint())


async def _rows(
    source: FakeSource, encoding: str, start: Position, header: tuple[str, ...]
) -> Iterator[tuple[bytes, Position, tuple[str, ...]]]:
    """Each row's value, the position behind it, and the header; up to what stops a run.

    Where decoding is taken up again depends on the blocks, the rest of a position does not.
    """
    way = Reading(source=source, encoder=JsonEncoder(), encoding=encoding)
    objects = [obj async for obj in source.objects()]
    found: list[tuple[bytes, Position, tuple[str, ...]]] = []
    try:
        async for item in read_rows(way, objects, start, header, as_they_are):
            values = [value for _, value in item.records.rows()]
            found += [(value, item.after(good), item.chunk.header) for good, value in enumerate(values, 1)]
    except Csv2KafkaError:
        pass  # a quote never closed: the rows before it must be the same
    return iter(found)
