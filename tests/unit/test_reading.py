"""From objects to encoded rows: in order, exact where quotes were miscounted, and never far ahead."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from attrs import frozen

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.encoding import JsonEncoder
from csv2kafka.errors import BadRow, Csv2KafkaError, DataError, Doubt
from csv2kafka.model import Chunk, Dialect, Position, Records, SourceObject
from csv2kafka.reading import Encoded, Reading, as_they_are, one_object, read_rows
from csv2kafka.testing import Crash, FakeSource, run_virtual
from tests.pipelines import Place, Wrapped, csv_text, source_of, values

BYTES = ChunkSize.bytes


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 50 bytes, 300 bytes under way."""
    monkeypatch.setattr(ChunkSize, "bytes", lambda *_: 50)
    monkeypatch.setattr(one_object, "ENCODE_AHEAD_BYTES", 300)


@frozen(kw_only=True)
class Read:
    """What was read up to the end, or to ``error``. ``places``: (URI, row, line, byte) behind each row."""

    rows: list[bytes]
    places: list[tuple[str, int, int, int]]
    error: Csv2KafkaError | None
    chunks: int


async def read(
    source: FakeSource,
    *,
    start: Position | None = None,
    header: tuple[str, ...] = (),
    dialect: Dialect | None = None,
    has_header: bool = True,
    max_record: int = 16 << 20,
) -> Read:
    dialect = dialect or Dialect()
    way = Reading(
        source=source,
        encoder=JsonEncoder(dialect=dialect),
        dialect=dialect,
        has_header=has_header,
        max_record=max_record,
    )
    objects = [obj async for obj in source.objects()]
    rows: list[bytes] = []
    places: list[tuple[str, int, int, int]] = []
    error: Csv2KafkaError | None = None
    chunks = 0
    try:
        async with aclosing(read_rows(way, objects, start or Position(), header, as_they_are)) as encoded:
            async for item in encoded:
                rows += [value for _, value in item.records.rows()]
                positions = [item.after(good) for good in range(1, len(item.records) + 1)]
                places += [(at.uri, at.rows, at.line, at.offset) for at in positions]
                chunks += 1
    except Csv2KafkaError as raised:
        error = raised
    return Read(rows=rows, places=places, error=error, chunks=chunks)


async def _all(rows: AsyncGenerator[Encoded[None], None]) -> list[Encoded[None]]:
    async with aclosing(rows):
        return [item async for item in rows]


class TestSeveralObjects:
    async def test_come_one_after_another_as_if_they_were_one(self) -> None:
        source = FakeSource({f"part-{part}.csv": csv_text(10, first=10 * part) for part in range(3)})
        found = await read(source)
        assert found.rows == values(30)
        assert [place[:2] for place in found.places[8:12]] == [
            ("", 9),
            ("", 10),
            ("part-1.csv", 11),
            ("part-1.csv", 12),
        ]
        assert found.places[10][2:] == (3, len(csv_text(1, first=10)))

    async def test_never_run_into_each_other(self) -> None:
        """The end of an object is the end of a record, line end or not."""
        found = await read(FakeSource({"a": b"x,y\n1,2", "b": b"x,y\n3,4\n", "c": b"x,y\r5,6\r", "d": b"x,y\n7,8"}))
        assert found.rows == [b'{"x":"%d","y":"%d"}' % (n, n + 1) for n in (1, 3, 5, 7)]

    async def test_may_be_empty_or_have_a_header_alone(self) -> None:
        found = await read(FakeSource({"a": b"", "b": b"x\n", "c": b"x\n1\n", "d": b"", "e": b"x", "f": b"x\n2\n"}))
        assert found.rows == [b'{"x":"1"}', b'{"x":"2"}']
        assert found.error is None

    @pytest.mark.parametrize(
        ("header", "difference"),
        [
            (b"id,surname", "column 2: expected 'name', found 'surname'"),
            (b"name,id", "column 1: expected 'id', found 'name'"),
            (b"id,name,age", "expected 2 columns, found 3"),
            (b"id", "expected 2 columns, found 1"),
        ],
    )
    async def test_must_have_one_header(self, header: bytes, difference: str) -> None:
        source = FakeSource({"a.csv": csv_text(10), "b.csv": csv_text(5, first=10), "c.csv": header + b"\n1,2\n"})
        found = await read(source)
        assert found.rows == values(15)  # everything before it
        assert isinstance(found.error, DataError)
        assert found.error.message == f"c.csv: its header differs from that of a.csv: {difference}"

    async def test_a_header_that_differs_is_found_on_going_on_too(self) -> None:
        source = FakeSource({"a.csv": csv_text(10), "b.csv": b"id,surname\n1,2\n"})
        start = Position(object_index=1, uri="b.csv", rows=10)
        found = await read(source, start=start, header=("id", "name"))
        assert found.error is not None
        assert "column 2" in found.error.message

    async def test_without_headers_must_have_as_many_columns(self) -> None:
        found = await read(FakeSource({"a": b"1,2\n", "b": b"3,4\n", "c": b"5\n"}), has_header=False)
        assert found.rows == [b'{"column0":"1","column1":"2"}', b'{"column0":"3","column1":"4"}']
        assert found.error is not None
        assert "expected 2 columns, found 1" in found.error.message


PIPES = b"id,size\n" + b"".join(b'%d,5" pipe\n' % row if row % 7 == 3 else b'%d,"a\nb"\n' % row for row in range(60))


class TestMiscountedQuotes:
    """A quote inside an unquoted field breaks the count; the encoder finds out."""

    @pytest.mark.parametrize("block_bytes", [7, 50, 64, 1000])
    async def test_give_the_same_as_exact_framing(self, block_bytes: int) -> None:
        found = await read(source_of(PIPES, block_bytes=block_bytes))
        exact = await read(source_of(PIPES, block_bytes=block_bytes), dialect=Dialect(comment="#"))
        assert found.rows == exact.rows
        assert found.places == exact.places
        assert len(found.rows) == 60
        assert found.error is None

    async def test_are_read_once_from_the_source(self) -> None:
        source = source_of(PIPES, block_bytes=50)
        await read(source)
        assert source.bytes_read["rows.csv"] == len(PIPES)

    def test_before_a_read_error_do_not_hide_it(self) -> None:
        """The error had reached framing when the wrong count was found; framing anew must find it again."""
        for nth in range(2, 1 + len(PIPES) // 50):
            source = source_of(PIPES, block_bytes=50)
            source.faults.plan("read", Doubt("the disk does not answer"), nth=nth)
            found = run_virtual(asyncio.wait_for(read(source), 60))
            assert isinstance(found.error, Doubt)
            whole = PIPES[: 50 * (nth - 1)]
            assert len(found.rows) == len(list(_whole_rows(whole)))

    async def test_of_an_encoder_that_is_wrong_end_the_run(self) -> None:
        """It says that a chunk is cut amid a record, which exact framing did not do."""

        class Wrong(JsonEncoder):
            def encode(self, chunk: Chunk) -> Records:
                records = super().encode(chunk)
                return Records(values=b"", value_ends=(), unfinished=True) if len(records) else records

        source = source_of(csv_text(5))
        objects = [obj async for obj in source.objects()]
        rows = read_rows(Reading(source=source, encoder=Wrong()), objects, Position(), (), as_they_are)
        with pytest.raises(Csv2KafkaError, match="the encoder says"):
            await asyncio.wait_for(_all(rows), 10)


def _whole_rows(text: bytes) -> list[int]:
    """Rows of PIPES that are whole in its beginning."""
    ends = [PIPES.index(b"\n%d," % row) + 1 for row in range(1, 60)] + [len(PIPES)]
    return [end for end in ends if end <= len(text)]


class TestErrors:
    async def test_come_behind_everything_before_them(self) -> None:
        source = source_of(csv_text(30) + b'99,"never closed\n', block_bytes=64)
        found = await read(source)
        assert found.rows == values(30)
        assert isinstance(found.error, BadRow)
        assert (found.error.row, found.error.line, found.error.byte) == (31, 32, len(csv_text(30)))

    async def test_of_a_header_name_the_object(self) -> None:
        found = await read(FakeSource({"a.csv": csv_text(3), "b.csv": b'id,"name\n1,2\n'}))
        assert found.rows == values(3)
        assert found.error is not None
        assert found.error.message.startswith("b.csv: ")

    async def test_of_the_encoder_come_in_order(self) -> None:
        """Two columns of one name: told with the first chunk, of which there may be no rows yet."""
        found = await read(FakeSource({"a.csv": b"x,x\n" + b"1,2\n" * 100}))
        assert isinstance(found.error, DataError)
        assert found.rows == []


class TestBounds:
    async def test_nothing_is_read_far_ahead_of_a_slow_sink(self) -> None:
        """At every write no more is read than the bounds say, beyond what is written already."""
        text = csv_text(400)
        source = source_of(text, block_bytes=100)
        place = Place(source)
        ahead: list[int] = []
        written = [0]

        @frozen
        class Slow:
            inner: object

            def __getattr__(self, name: str) -> object:
                return getattr(self.inner, name)

            async def write(self, payload: object) -> None:
                before = -1
                while before != source.bytes_read["rows.csv"]:  # let everything go on as far as it can
                    before = source.bytes_read["rows.csv"]
                    for _ in range(5):
                        await asyncio.sleep(0.0005)
                ahead.append(before - written[0])
                written[0] = payload.after.offset  # type: ignore[attr-defined]
                await self.inner.write(payload)  # type: ignore[attr-defined]

        await place.run(sink=Wrapped(place.sink, Slow), checkpoint_rows=1000)  # type: ignore[arg-type]
        blocks = (one_object.READ_AHEAD_BLOCKS + 2) * 100  # in the queue, one waiting for it, one being framed
        chunks = one_object.ENCODE_AHEAD_BYTES + 3 * 50  # under way, being written, not cut yet
        assert max(ahead) <= blocks + chunks
        assert len(text) > 5 * (blocks + chunks)

    async def test_blocks_are_let_go_once_their_rows_are_confirmed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept: list[int] = []
        forget = one_object.ObjectRows._forget

        def watched(self: one_object.ObjectRows[None], offset: int) -> None:
            forget(self, offset)
            kept.append(sum(len(block.data) for block in (*self._cut, *self._uncut)))

        monkeypatch.setattr(one_object.ObjectRows, "_forget", watched)
        await read(source_of(csv_text(1000), block_bytes=100))
        assert kept[-1] == 0
        assert max(kept) <= one_object.ENCODE_AHEAD_BYTES + 5 * 100

    async def test_rows_that_grow_by_encoding_come_in_smaller_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """JSON repeats the header in every row: two bytes of text become some ten thousand."""
        monkeypatch.setattr(ChunkSize, "bytes", BYTES)
        monkeypatch.setattr(one_object, "ENCODE_AHEAD_BYTES", 6 << 20)
        text = b"n" * 10_000 + b"\n" + b"1\n" * 2000
        source = source_of(text, block_bytes=1 << 20)
        objects = [obj async for obj in source.objects()]
        rows = read_rows(Reading(source=source, encoder=JsonEncoder()), objects, Position(), (), as_they_are)
        async with aclosing(rows):
            sizes = [len(memoryview(item.records.values)) async for item in rows]
        assert sum(sizes) > 15 << 20
        assert max(sizes) < 6 << 20

    async def test_a_chunk_above_the_bound_passes_alone(self) -> None:
        source = source_of(b"id\n1\n" + b"x" * 5000 + b"\n2\n", block_bytes=100)
        assert [len(row) for row in (await read(source)).rows] == [10, 5009, 10]

    async def test_leaving_early_stops_everything(self) -> None:
        source = source_of(csv_text(7000), block_bytes=100)
        objects = [obj async for obj in source.objects()]
        rows = read_rows(Reading(source=source, encoder=JsonEncoder()), objects, Position(), (), as_they_are)
        async with aclosing(rows):
            await anext(rows)
        before = source.bytes_read["rows.csv"]
        assert before < 2000
        await asyncio.sleep(0.01)
        assert source.bytes_read["rows.csv"] == before
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_source_cancelled_from_within_is_a_doubt_not_a_wait_without_end(self) -> None:
        source = source_of(csv_text(7000), block_bytes=100)
        source.faults.plan("read", asyncio.CancelledError(), nth=3)
        async with asyncio.timeout(10):
            found = await read(source)
        assert isinstance(found.error, Doubt)
        assert "cancelled from within" in str(found.error)
        assert 0 < len(found.rows) < 7000

    async def test_what_is_no_exception_ends_it_too(self) -> None:
        source = source_of(csv_text(7000), block_bytes=100)
        source.faults.plan("read", Crash(), nth=3)
        work = asyncio.create_task(read(source))
        done, _ = await asyncio.wait({work}, timeout=10)
        assert done
        with pytest.raises(Crash):
            await work

    async def test_a_caller_cancelled_while_a_task_is_ended_stays_cancelled(self) -> None:
        async def end() -> None:
            going = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            await one_object._cancelled(going)

        ending = asyncio.create_task(end())
        for _ in range(2):  # until it waits for the task to end
            await asyncio.sleep(0)
        ending.cancel()
        await asyncio.wait({ending})
        assert ending.cancelled()


class TestPlaces:
    def item(self, text: bytes, dialect: Dialect | None = None) -> Encoded[None]:
        async def first() -> Encoded[None]:
            source = source_of(text)
            objects: Sequence[SourceObject] = [obj async for obj in source.objects()]
            dialect_ = dialect or Dialect()
            way = Reading(source=source, encoder=JsonEncoder(dialect=dialect_), dialect=dialect_)
            item, *_ = await _all(read_rows(way, objects, Position(), (), as_they_are))
            return item

        return asyncio.run(first())

    def test_behind_a_row_is_before_the_refused_row_that_follows(self) -> None:
        item = self.item(b"a,b\n1,2\n3\n4,5\n6\n")
        assert [(p.rows, p.line, p.offset) for p in map(item.after, range(3))] == [(0, 2, 4), (1, 3, 8), (3, 5, 14)]
        end = item.end()
        assert (end.rows, end.line, end.offset) == (4, 6, 16)

    def test_where_a_row_begins_passes_blank_lines_refused_rows_and_comments(self) -> None:
        text = b'a,b\n\r\n\n1,2\n#,\n"3",4\r\r\n5\n#\n6,7\n'
        item = self.item(text, Dialect(comment="#"))
        assert len(item.records) == 3
        for good, begin in enumerate([b"1,2", b'"3"', b"6,7"]):
            start, lines = item.place_of(good, "#")
            assert item.chunk.data[start:].startswith(begin)
            assert item.before.line + lines == 1 + len(re.findall(rb"\r\n|\r|\n", text[: text.index(begin)]))
