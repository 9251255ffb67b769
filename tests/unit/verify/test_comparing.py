"""Does the destination hold the rows of the source, and if not, where is the first difference?

Jobs run to a simulated broker or into a file; then the source is changed, or something is written beside them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from csv2kafka.errors import BadRow, ConfigError, TopicMissing
from csv2kafka.kafka.port import TopicPartition
from csv2kafka.model import Committed, Event, Progressed, Started
from csv2kafka.model.report import VerifyReport
from csv2kafka.pipeline import Pipeline
from csv2kafka.sinks.kafka import KafkaSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.testing import Crash
from csv2kafka.verify import verify
from tests.pipelines import csv_text
from tests.simulation.clock import now, simulate
from tests.simulation.job import DATA, TOPIC
from tests.unit.verify.conftest import ROWS, Place, played


def row_start(text: bytes, row: int) -> tuple[int, int]:
    """Line and byte of a row, where each is a line."""
    return row + 1, len(b"".join(text.splitlines(keepends=True)[:row]))


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_equal(place: Place, delivery: str) -> None:
    place.options["delivery"] = delivery

    async def main() -> VerifyReport:
        await place.load(csv_text(ROWS))
        return await place.verify()

    report = simulate(main())
    assert report.equal
    assert (report.rows, report.bad_rows, report.besides, report.behind) == (ROWS, 0, 0, 0)
    assert report.first_offset == 0
    batches = place.network.cluster.log(DATA).batches
    assert report.last_offset == max(batch.last_offset for batch in batches if batch.commit is None)


@played
async def test_equal_where_transactions_were_aborted(place: Place) -> None:
    await place.load(csv_text(ROWS), crash_at=2)
    await place.load(csv_text(ROWS))
    report = await place.verify()
    assert report.equal
    assert place.network.cluster.log(DATA).aborted


@played
async def test_equal_of_several_generations_only_the_last_counts(place: Place) -> None:
    await place.load(csv_text(ROWS))
    before = place.network.cluster.log(DATA).end
    place.path.write_bytes(csv_text(5))
    sink = KafkaSink(TOPIC, broker_factory=place.network.factory("again"), clock=now)
    await Pipeline(LocalSource(place.path), sink, place.store, job="job", restart=True).run()
    report = await place.verify()
    assert (report.equal, report.rows, report.first_offset) == (True, 5, before)


@played
async def test_rows_that_are_deleted_amid_a_batch_are_missing(place: Place) -> None:
    """Brokers give the batch whole, but no consumer sees what is before the log's start."""
    await place.load(csv_text(ROWS))
    log = place.network.cluster.log(DATA)
    log.start = 3
    assert log.batches[0].last_offset > 3
    report = await place.verify()
    assert report.difference is not None
    assert report.difference.startswith(f"row 1 ({place.path}, line 2, byte 8): its value differs")
    assert report.difference.splitlines()[-1] == (
        "the job began at offset 0, the topic now begins at 3: retention, or somebody, has deleted what stood before"
    )


@played
async def test_last_rows_that_are_missing(place: Place) -> None:
    await place.load(csv_text(ROWS))
    text = csv_text(ROWS + 2)
    report = await place.verify(text)
    line, byte = row_start(text, ROWS + 1)
    assert report.difference == (
        f"row {ROWS + 1} ({place.path}, line {line}, byte {byte}): is not in the topic, "
        f"its last row is at offset {report.last_offset}"
    )
    assert report.rows == ROWS


@played
async def test_a_topic_that_is_empty(place: Place) -> None:
    report = await place.verify(csv_text(3))
    assert report.difference == f"row 1 ({place.path}, line 2, byte 8): is not in the topic, it holds no row of the job"


@played
async def test_an_empty_source_and_an_empty_topic_are_equal(place: Place) -> None:
    assert (await place.verify(b"")).equal


@played
async def test_a_row_too_many(place: Place) -> None:
    await place.load(csv_text(ROWS))
    report = await place.verify(csv_text(ROWS - 1))
    assert report.difference is not None
    assert report.difference.startswith("all rows are there, but at offset ")
    assert report.difference.endswith('stands one record more: {"id":"39","name":"name 39"}')


@played
async def test_rows_that_were_swapped(place: Place) -> None:
    await place.load(csv_text(ROWS))
    lines = csv_text(ROWS).splitlines(keepends=True)
    lines[21], lines[22] = lines[22], lines[21]
    report = await place.verify(b"".join(lines))
    line, byte = row_start(b"".join(lines), 21)
    assert report.difference is not None
    said = report.difference.splitlines()
    assert said[0].startswith(f"row 21 ({place.path}, line {line}, byte {byte}): its value differs from the record at ")
    assert said[1:] == ['  expected {"id":"21","name":"name 21"}', '  found    {"id":"20","name":"name 20"}']
    assert report.rows == 20


@played
async def test_a_value_that_changed_behind_blank_lines_and_refused_rows(place: Place) -> None:
    text = b"id,name\n1,one\n\n2\n3,three\n"
    await place.load(text, on_bad_row="skip")
    report = await place.verify(text.replace(b"three", b"drei"))
    assert report.difference is not None
    assert report.difference.startswith(f"row 3 ({place.path}, line 5, byte 17): its value differs")
    assert report.bad_rows == 1


@played
async def test_a_key_that_changed(place: Place) -> None:
    place.options.update(key=("id",), format="raw")
    await place.load(b'id\n"1"\n2\n')
    report = await place.verify()
    assert report.equal
    place.options["key"] = None
    report = await place.verify()
    assert report.difference is not None
    assert report.difference.splitlines()[0].endswith("its key differs from the record at offset 0")
    assert report.difference.splitlines()[1:] == ["  expected ", "  found    1"]


@played
async def test_what_others_wrote_between_is_a_difference(place: Place) -> None:
    await place.load(csv_text(ROWS), crash_at=3)
    place.write([(None, b"x"), (None, b"y")])
    at = place.network.cluster.log(DATA).end - 2
    await place.load(csv_text(ROWS))
    report = await place.verify()
    assert report.difference == f"2 records of others stand between the rows, the first at offset {at}"
    assert (report.rows, report.besides, report.behind) == (ROWS, 2, 0)


@played
async def test_what_others_wrote_before_and_behind_is_not(place: Place) -> None:
    place.write([(None, b"before")])
    await place.load(csv_text(ROWS))
    place.write([(None, b"x"), (None, b"y")])
    report = await place.verify()
    assert report.equal
    assert (report.besides, report.behind, report.first_offset) == (0, 2, 1)


@played
async def test_null_values_and_keys_are_shown_as_such(place: Place) -> None:
    """Without a checkpoint everything in the partition is held against the source."""
    place.write([(None, b'{"id":"0","name":"name 0"}'), (None, None)])
    report = await place.verify(csv_text(2))
    assert report.difference is not None
    assert report.difference.splitlines()[2] == "  found    null"
    assert (report.rows, report.last_offset) == (1, 0)


@played
async def test_a_null_key_is_not_an_empty_one(place: Place) -> None:
    place.options["key"] = ("a",)
    place.write([(b"", b'{"a":""}'), (None, b'{"a":""}')])
    report = await place.verify(b'a\n""\n""\n')
    assert report.difference is not None
    assert "its key differs from the record at offset 1" in report.difference
    assert report.difference.endswith("found    null")


@played
async def test_a_long_value_is_shown_in_part(place: Place) -> None:
    place.write([(None, b"x" * 1000)])
    report = await place.verify(b"a\ny\n")
    assert report.difference is not None
    assert report.difference.endswith("x" * 200 + "… (1,000 bytes)")


@played
async def test_a_job_that_is_not_complete_is_said_to_be_so(place: Place) -> None:
    await place.load(csv_text(ROWS), crash_at=3)
    report = await place.verify()
    assert report.difference is not None
    last = report.difference.splitlines()[-1]
    assert last == f"the job is not complete: {report.rows} rows are committed; run it to its end first"
    assert 0 < report.rows < ROWS


@played
async def test_rows_too_large_for_the_topic_were_refused_by_any_run(place: Place) -> None:
    place.network.cluster.make_topic("small", config={"max.message.bytes": "300"})
    text = b"a\n1\n" + b"x" * 400 + b"\n2\n" + b"y" * 400 + b"\n"
    place.path.write_bytes(text)
    sink = KafkaSink("small", broker_factory=place.network.factory("run"), clock=now, compression="none")
    await Pipeline(LocalSource(place.path), sink, place.store, job="job", on_bad_row="skip").run()
    report = await place.verify(topic="small", compression="none")
    assert (report.equal, report.rows, report.bad_rows) == (True, 2, 2)


@played
async def test_they_are_refused_by_the_topics_own_compression(place: Place) -> None:
    place.network.cluster.make_topic("small", config={"max.message.bytes": "300", "compression.type": "uncompressed"})
    place.path.write_bytes(b"a\n1\n" + b"x" * 400 + b"\n2\n")
    sink = KafkaSink("small", broker_factory=place.network.factory("run"), clock=now)
    await Pipeline(LocalSource(place.path), sink, place.store, job="job", on_bad_row="skip").run()
    report = await place.verify(topic="small")
    assert (report.equal, report.rows, report.bad_rows) == (True, 2, 1)


@pytest.mark.parametrize(
    ("then", "lowered"),
    [({"max.message.bytes": "300", "compression.type": "zstd"}, {}), ({}, {"max.message.bytes": "300"})],
    ids=["it fitted by the topic's compression", "it fitted when it was written"],
)
def test_a_large_row_that_is_gone_is_none_that_was_refused(
    place: Place, then: dict[str, str], lowered: dict[str, str]
) -> None:
    async def main() -> VerifyReport:
        place.network.cluster.make_topic("small", config=then)
        place.path.write_bytes(b"a\n1\n" + b"x" * 400 + b"\n2\n")
        sink = KafkaSink("small", broker_factory=place.network.factory("run"), clock=now, compression="none")
        done = await Pipeline(LocalSource(place.path), sink, place.store, job="job", checkpoint_rows=1).run()
        assert done.checkpoint.counts.rows == 3
        log = place.network.cluster.log(TopicPartition("small", 0))
        log.batches.remove([batch for batch in log.batches if batch.commit is None][1])
        place.network.cluster.topics["small"].config.update(lowered)
        return await place.verify(topic="small", compression="none")

    report = simulate(main())
    assert not report.equal
    assert report.difference is not None


def test_nor_is_it_of_a_job_that_died_before_it_was_complete(place: Place) -> None:
    def watch(event: Event) -> None:
        if isinstance(event, Committed) and event.checkpoint.counts.rows == 3:
            raise Crash

    async def main() -> VerifyReport:
        place.network.cluster.make_topic("small")
        place.path.write_bytes(b"a\n1\n" + b"x" * 400 + b"\n2\n")
        sink = KafkaSink("small", broker_factory=place.network.factory("run"), clock=now, compression="none")
        with pytest.raises(Crash):
            await Pipeline(
                LocalSource(place.path), sink, place.store, job="job", checkpoint_rows=1, on_event=watch
            ).run()
        log = place.network.cluster.log(TopicPartition("small", 0))
        log.batches.remove([batch for batch in log.batches if batch.commit is None][1])
        place.network.cluster.topics["small"].config["max.message.bytes"] = "300"
        return await place.verify(topic="small", compression="none")

    report = simulate(main())
    assert report.difference is not None
    assert report.difference.startswith("the job put 3 rows there, found 2 of the source's")


@played
async def test_a_source_that_cannot_be_read_to_its_end_raises(place: Place) -> None:
    await place.load(csv_text(3))
    with pytest.raises(BadRow, match="never closed"):
        await place.verify(csv_text(3) + b'4,"x\n')


@played
async def test_a_topic_that_is_missing_raises(place: Place) -> None:
    place.path.write_bytes(csv_text(3))
    with pytest.raises(TopicMissing):
        await place.verify(topic="nowhere")


@played
async def test_its_progress_is_told(place: Place) -> None:
    await place.load(csv_text(ROWS))
    events: list[Event] = []
    await verify(place.config(), on_event=events.append)
    size = len(csv_text(ROWS))
    assert isinstance(events[0], Started)
    assert (events[0].objects, events[0].total_bytes) == (1, size)
    last = events[-1]
    assert isinstance(last, Progressed)
    assert last.source_bytes == size
    assert last.rows >= ROWS - 5  # the last chunk's rows are compared after it is told


class TestFile:
    @pytest.fixture
    def output(self, place: Place) -> Path:
        output = place.path.with_name("rows.jsonl")
        place.options["output"] = str(output)
        simulate(place.load(csv_text(ROWS), output=str(output)))
        return output

    def verified(self, place: Place, output: Path, text: bytes | None = None) -> VerifyReport:
        return simulate(place.verify(text, output=str(output)))

    def test_equal(self, place: Place, output: Path) -> None:
        report = self.verified(place, output)
        assert (report.equal, report.rows, report.first_offset) == (True, ROWS, None)

    def test_given_as_a_url(self, place: Place, output: Path) -> None:
        assert simulate(place.verify(output=output.as_uri())).equal

    def test_a_value_that_changed(self, place: Place, output: Path) -> None:
        lines = output.read_bytes().splitlines(keepends=True)
        lines[30] = lines[30].replace(b"name 30", b"name 31")
        output.write_bytes(b"".join(lines))
        report = self.verified(place, output)
        line, byte = row_start(csv_text(ROWS), 31)
        offset = len(b"".join(lines[:30]))
        assert report.difference is not None
        assert report.difference.splitlines() == [
            f"row 31 ({place.path}, line {line}, byte {byte}): differs at byte {offset} of the file",
            '  expected {"id":"30","name":"name 30"}',
            '  found    {"id":"30","name":"name 31"}',
        ]
        assert report.rows == 30

    def test_rows_that_are_missing(self, place: Place, output: Path) -> None:
        lines = output.read_bytes().splitlines(keepends=True)
        output.write_bytes(b"".join(lines[:35]))
        report = self.verified(place, output)
        assert report.difference is not None
        assert report.difference.startswith("row 36 (")
        assert report.difference.endswith("the file ends there")
        assert report.rows == 35

    def test_a_last_line_without_its_end(self, place: Place, output: Path) -> None:
        output.write_bytes(output.read_bytes()[:-1])
        report = self.verified(place, output)
        assert report.difference is not None
        assert report.difference.startswith("row 40 (")

    def test_a_row_too_many(self, place: Place, output: Path) -> None:
        output.write_bytes(output.read_bytes() + b"more\n")
        report = self.verified(place, output)
        assert report.difference == "all rows are there, but the file goes on: more\n"

    def test_a_file_that_is_not_there(self, place: Place, output: Path) -> None:
        output.unlink()
        with pytest.raises(ConfigError, match="No such file"):
            self.verified(place, output)
