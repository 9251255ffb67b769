"""Rows that are refused: by the encoder, or too large for the sink; told exactly, and done with as the policy says."""

from __future__ import annotations

import pytest

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.encoding import RawEncoder
from csv2kafka.errors import BadRow
from csv2kafka.model import Committed, DeadLetter, Dialect, RowRefused
from csv2kafka.testing import Crash, FakeSource, MemorySink, run_virtual
from tests.pipelines import URI, Place, source_of


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of about a hundred bytes: a short text has many."""
    monkeypatch.setattr(ChunkSize, "bytes", lambda *_: 100)


BAD = b'id,name\n1,one\n2\n3,"th\nree"\n4,four,x\n5,"fi"ve\n6,six\n'
GOOD = [b'{"id":"1","name":"one"}', b'{"id":"3","name":"th\\nree"}', b'{"id":"6","name":"six"}']
REFUSED = [(2, 3, 14, b"2"), (4, 6, 27, b"4,four,x"), (5, 7, 36, b'5,"fi"ve')]


def places(rows: list[DeadLetter]) -> list[tuple[int, int, int, bytes]]:
    return [(row.row, row.line, row.byte, row.value) for row in rows]


class TestBadRows:
    async def test_fail_stops_with_everything_before_it_committed(self) -> None:
        place = Place(source_of(BAD))
        with pytest.raises(BadRow) as raised:
            await place.run()
        assert place.values == GOOD[:1]
        error = raised.value
        assert (error.source, error.row, error.line, error.byte) == (URI, *REFUSED[0][:3])
        assert error.message.startswith("rows.csv: row 2 (line 3, byte 14): ")
        assert "--on-bad-row skip" in error.hint
        stored = await place.store.load("job")
        assert stored is not None
        assert (stored.counts.rows, stored.counts.bad_rows, stored.position.rows) == (1, 0, 1)

    async def test_a_header_of_one_column_makes_the_delimiter_suspect(self) -> None:
        with pytest.raises(BadRow) as raised:
            await Place(source_of(b"id;name\n1;2,5\n")).run()
        assert raised.value.hint.startswith("the header has one column, 'id;name': see that --delimiter is the file's")

    @pytest.mark.parametrize("policy", ["skip", "dead-letter"])
    async def test_others_go_on(self, policy: str) -> None:
        place = Place(source_of(BAD))
        report = await place.run(on_bad_row=policy)
        assert place.values == GOOD
        assert places(list(report.bad_rows)) == REFUSED
        assert (report.checkpoint.counts.rows, report.checkpoint.counts.bad_rows) == (3, 3)
        assert report.checkpoint.position.rows == 6
        assert places(place.sink.dead_letters) == (REFUSED if policy == "dead-letter" else [])

    @pytest.mark.usefixtures("small_chunks")
    def test_the_interval_counts_from_the_first_dead_letter(self) -> None:
        """A transaction has begun with it, however long it takes."""
        place = Place(source_of(b"id,name\n" + b"1\n" * 60 + b"2,two\n" * 60))
        place.sink.faults.plan("write", nth=1, seconds=5.0)
        run_virtual(place.run(on_bad_row="dead-letter", checkpoint_interval=4.0))
        first = place.told(Committed)[0].checkpoint
        assert first.counts.rows == 0
        assert 0 < first.counts.bad_rows < 60

    @pytest.mark.parametrize("policy", ["skip", "dead-letter"])
    async def test_a_run_that_stopped_goes_on_under_others(self, policy: str) -> None:
        place = Place(source_of(BAD))
        for _ in range(2):  # the second time there is nothing before it to commit
            with pytest.raises(BadRow):
                await place.run()
        report = await place.run(on_bad_row=policy)
        assert place.values == GOOD
        assert places(list(report.bad_rows)) == REFUSED
        assert (report.checkpoint.counts.rows, report.checkpoint.counts.bad_rows) == (3, 3)

    @pytest.mark.parametrize("rows", [1, 2, None])
    @pytest.mark.parametrize("nth", range(1, 8))
    async def test_each_is_there_once_whatever_crashes(self, rows: int | None, nth: int) -> None:
        place = Place(source_of(BAD))
        place.sink.faults.plan("write", Crash(), nth=nth)
        while True:
            try:
                report = await place.run(on_bad_row="dead-letter", checkpoint_rows=rows)
                break
            except Crash:
                continue
        assert place.values == GOOD
        assert places(place.sink.dead_letters) == REFUSED
        assert report.checkpoint.counts.bad_rows == 3

    async def test_the_first_ten_are_named(self) -> None:
        report = await Place(source_of(b"a,b\n" + b"1\n" * 25)).run(on_bad_row="skip")
        assert [row.row for row in report.bad_rows] == list(range(1, 11))

    async def test_at_the_end_of_an_object_they_count_in_the_next(self) -> None:
        place = Place(FakeSource({"a.csv": b"a,b\n1,2\n3\n", "b.csv": b"a,b\n\n5\n6,7\n"}))
        report = await place.run(on_bad_row="skip")
        assert [(row.source, row.row, row.line, row.byte) for row in report.bad_rows] == [
            ("a.csv", 2, 3, 8),
            ("b.csv", 3, 3, 5),
        ]

    async def test_a_quote_never_closed_stops_under_every_policy(self) -> None:
        place = Place(source_of(b'a,b\n1,2\n3,"4\n5,6\n'))
        with pytest.raises(BadRow, match="a quote is opened and never closed") as raised:
            await place.run(on_bad_row="skip")
        assert (raised.value.row, raised.value.line, raised.value.byte) == (2, 3, 8)
        assert place.values == [b'{"a":"1","b":"2"}']

    @pytest.mark.usefixtures("small_chunks")
    async def test_a_record_that_is_too_long_stops_where_it_began(self) -> None:
        place = Place(source_of(b'a,b\n1,2\n3,"' + b"x\n" * 500, block_bytes=50))
        with pytest.raises(BadRow, match="the record is longer than 200 bytes") as raised:
            await place.run(on_bad_row="skip", max_record=200)
        assert (raised.value.row, raised.value.line, raised.value.byte) == (2, 3, 8)
        assert place.values == [b'{"a":"1","b":"2"}']


LARGE = b"x" * 60
MIXED = b"a,b\n1,2\n" + LARGE + b",3\n\n" + LARGE + b",4\r\n5\n6,7\n" + LARGE + b",8\n"


class TestRowsTooLargeForTheSink:
    @pytest.mark.parametrize("policy", ["skip", "dead-letter"])
    async def test_are_refused_like_others_in_their_order(self, policy: str) -> None:
        place = Place(source_of(MIXED), MemorySink(max_record=70))
        report = await place.run(on_bad_row=policy)
        assert place.values == [b'{"a":"1","b":"2"}', b'{"a":"6","b":"7"}']
        expected = [
            (2, 3, 8, LARGE + b",3"),
            (3, 5, 72, LARGE + b",4"),
            (4, 6, 136, b"5"),
            (6, 8, 142, LARGE + b",8"),
        ]
        assert places(list(report.bad_rows)) == expected
        assert "70 are allowed" in report.bad_rows[0].reason
        assert (report.checkpoint.counts.rows, report.checkpoint.counts.bad_rows) == (2, 4)
        assert report.checkpoint.position.rows == 6

    async def test_fail_stops_before_the_first(self) -> None:
        place = Place(source_of(MIXED), MemorySink(max_record=70))
        with pytest.raises(BadRow, match=r"row 2 \(line 3, byte 8\): .* 70 are allowed"):
            await place.run()
        assert place.values == [b'{"a":"1","b":"2"}']
        await place.run(on_bad_row="skip")
        assert place.values == [b'{"a":"1","b":"2"}', b'{"a":"6","b":"7"}']

    async def test_behind_a_comment(self) -> None:
        text = b"a,b\n1,2\n# " + LARGE + b"\n\n#\n" + LARGE + b",3\n"
        place = Place(source_of(text), MemorySink(max_record=70))
        with pytest.raises(BadRow) as raised:
            await place.run(dialect=Dialect(comment="#"))
        assert (raised.value.row, raised.value.line, raised.value.byte) == (2, 6, text.index(LARGE + b",3"))


async def test_a_first_record_that_was_too_long_gives_the_columns_once_it_is_not() -> None:
    """The blank line before it was committed, with no column names: each row would have "0 fields too many"."""
    place = Place(source_of(b"\n" + b"x" * 50 + b",y\n1,2\n"))
    with pytest.raises(BadRow, match="longer than 20"):
        await place.run(has_header=False, max_record=20)
    report = await place.run(has_header=False, max_record=100, on_bad_row="skip")
    assert place.values == [b'{"column0":"%b","column1":"y"}' % (b"x" * 50), b'{"column0":"1","column1":"2"}']
    assert (report.checkpoint.counts.bad_rows, report.checkpoint.position.line) == (0, 4)


async def test_raw_rows_with_bytes_that_could_not_be_decoded_are_refused() -> None:
    """They would be committed with other bytes than anybody wrote."""
    place = Place(source_of(b"id,name\n1,\x81\n2,\x80\n3,\x8d,\n4,z\n"))
    report = await place.run(encoding="cp1252", encoder=RawEncoder(keys=("id",)), on_bad_row="skip")
    assert place.sink.rows == [(b"2", "2,€".encode()), (b"4", b"4,z")]
    assert report.checkpoint.counts.bad_rows == 2
    refused = place.told(RowRefused)
    assert [(event.row.row, event.row.line) for event in refused] == [(1, 2), (3, 4)]
    assert "not valid UTF-8" in refused[0].row.reason


async def test_raw_bytes_pass_where_nothing_was_converted() -> None:
    place = Place(source_of(b"id,name\n1,\x81\n"))
    await place.run(encoder=RawEncoder())
    assert place.values == [b"1,\x81"]
