"""One run of a job: sessions one after another, pauses, what a second run finds. Giving up: test_patience.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from csv2kafka import registry
from csv2kafka.encoding import JsonEncoder
from csv2kafka.errors import (
    BadRow,
    ConfigError,
    Csv2KafkaError,
    Doubt,
    LeaseHeld,
    SettingsChanged,
    SourceChanged,
    StaleLease,
    TakenOver,
)
from csv2kafka.model import Checkpoint, Committed, Dialect, Event, SessionOpened, SourceObject, Started, Waiting
from csv2kafka.protocols import HEARTBEAT_SECONDS, LEASE_SECONDS, Job, Lease
from csv2kafka.sinks.file import FileSink
from csv2kafka.sinks.kafka import KafkaSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.testing import Crash, FakeSource, MemorySink, MemoryStore, run_virtual
from tests import blocking
from tests.pipelines import Place, csv_text, source_of, until, values
from tests.simulation.broker import network
from tests.simulation.clock import now, simulate

ROWS = 50
TEXT = csv_text(ROWS)


@pytest.fixture
def place() -> Place:
    return Place(source_of(TEXT))


class TestARun:
    async def test_puts_every_row_there_and_reports_it(self, place: Place) -> None:
        report = await place.run()
        assert place.values == values(ROWS)
        assert report.checkpoint.complete
        assert report.checkpoint == place.sink.checkpoint == await place.store.load("job")
        counts = report.checkpoint.counts
        assert (counts.rows, counts.bad_rows, counts.bytes) == (ROWS, 0, len(TEXT))
        assert (report.rows_this_run, report.resumed_from_row, report.sessions) == (ROWS, 0, 1)
        assert (report.manifest, report.destination) == (place.sink.manifest, "memory memory")
        assert not report.already_complete
        assert report.peak_memory_bytes > 1 << 20

    async def test_tells_what_happens_in_order(self, place: Place) -> None:
        await place.run()
        kinds = [type(event).__name__ for event in place.events]
        assert kinds == ["Started", "SessionOpened", "Progressed", "Committed", "Committed"]
        assert (place.told(Started)[0].total_bytes, place.told(Started)[0].objects) == (len(TEXT), 1)

    async def test_ends_with_a_commit_of_its_own_that_says_complete(self, place: Place) -> None:
        await place.run()
        rows, complete = (event.checkpoint for event in place.told(Committed))
        assert (rows.complete, complete.complete) == (False, True)
        assert rows.position == complete.position
        assert len(place.sink.completions) == 1

    async def test_into_its_own_source_is_refused(self, tmp_path: Path) -> None:
        (file := tmp_path / "rows.csv").write_bytes(TEXT)
        place = Place(LocalSource(file))
        with pytest.raises(ConfigError, match="is one of the files to be read"):
            await place.run(sink=FileSink(file))
        assert file.read_bytes() == TEXT

    async def test_of_an_empty_file_is_complete_with_no_rows(self, place: Place) -> None:
        report = await place.run(source=source_of(b""))
        assert report.checkpoint.complete
        assert report.checkpoint.counts.rows == 0

    async def test_of_a_header_alone_is_complete_with_no_rows(self, place: Place) -> None:
        report = await place.run(source=source_of(b"id,name\n"))
        assert report.checkpoint.complete
        assert report.checkpoint.header == ("id", "name")
        assert place.values == []

    async def test_of_no_objects_asks_once_for_them(self, place: Place) -> None:
        source = FakeSource({})
        assert (await place.run(source=source)).checkpoint.complete
        assert (await place.run(source=source)).already_complete
        assert source.faults.counts["objects"] == 2
        assert len(place.told(Started)) == 2

    async def test_goes_beside_others_in_one_loop(self) -> None:
        places = [Place(source_of(csv_text(rows))) for rows in (10, 20, 30)]
        reports = await asyncio.gather(*(place.run() for place in places))
        assert [report.checkpoint.counts.rows for report in reports] == [10, 20, 30]
        assert [place.values for place in places] == [values(10), values(20), values(30)]

    async def test_closes_its_source(self, place: Place) -> None:
        closed: list[FakeSource] = []

        class Closing(FakeSource):
            async def close(self) -> None:
                closed.append(self)

        source = Closing({"rows.csv": TEXT})
        await place.run(source=source)
        assert closed == [source]

    async def test_runs_once(self, place: Place) -> None:
        pipeline = place.pipeline()
        await pipeline.run()
        with pytest.raises(RuntimeError, match="a new Pipeline of the same job"):
            await pipeline.run()

    async def test_a_callback_that_blocks_the_loop_is_found_by_the_watcher(self, place: Place) -> None:
        def block(event: Event) -> None:
            end = time.thread_time() + 0.8
            while isinstance(event, Committed) and time.thread_time() < end:
                pass

        await place.run(source=source_of(b""), on_event=block)
        (found,) = blocking.take()
        assert "blocked the event loop" in found


class TestAfterADoubt:
    @pytest.mark.parametrize("atomic", [True, False], ids=["exactly-once", "at-least-once"])
    @pytest.mark.parametrize("call", ["open", "write", "commit"])
    @pytest.mark.parametrize("nth", [1, 2, 3])
    @pytest.mark.parametrize("done", [True, False], ids=["answer lost", "not done"])
    def test_a_new_session_goes_on(self, atomic: bool, call: str, nth: int, done: bool) -> None:
        place = Place(source_of(TEXT), MemorySink(atomic=atomic))
        place.sink.faults.plan(call, Doubt("no answer"), nth=nth, done=done)
        report = run_virtual(place.run(checkpoint_rows=7))
        assert place.values == values(ROWS)
        assert report.checkpoint.counts.rows == report.rows_this_run == ROWS
        assert not report.already_complete

    def test_pauses_grow_and_shrink_again_after_a_commit(self, place: Place) -> None:
        for nth in range(2, 12):
            place.sink.faults.plan("commit", Doubt("away"), nth=nth)
        place.sink.faults.plan("commit", Doubt("away again"), nth=14)
        run_virtual(place.run(checkpoint_rows=7))
        waits = place.told(Waiting)
        assert [wait.attempt for wait in waits] == [*range(1, 11), 1]
        assert all(wait.reason.startswith("away") for wait in waits)
        longest = [min(3.0, 0.1 * 2**wait.attempt) for wait in waits]
        assert all(most / 2 <= wait.seconds <= most for wait, most in zip(waits, longest, strict=True))
        assert place.values == values(ROWS)

    def test_pauses_are_drawn(self, place: Place) -> None:
        for nth in range(2, 5):
            place.sink.faults.plan("commit", Doubt("away"), nth=nth)
        drawn = iter([0.0, 0.5, 1.0])
        run_virtual(place.run(checkpoint_rows=7, draw=lambda: next(drawn)))
        assert [wait.seconds for wait in place.told(Waiting)] == pytest.approx([0.1, 0.3, 0.8])

    def test_it_goes_on_trying_for_ever(self, place: Place) -> None:
        """Most of an hour; more than a thousand attempts."""
        for nth in range(2, 1200):
            place.sink.faults.plan("open", Doubt("away"), nth=nth)
        place.sink.faults.plan("commit", Doubt("away"))
        run_virtual(place.run())
        assert len(place.told(Waiting)) == 1199
        assert place.values == values(ROWS)

    def test_the_lease_is_kept_meanwhile(self, place: Place) -> None:
        for nth in range(1, 20):
            place.sink.faults.plan("open", Doubt("away"), nth=nth)

        async def main() -> None:
            first = asyncio.create_task(place.run())
            await until(lambda: len(place.told(Waiting)) > 5)
            with pytest.raises(LeaseHeld, match="another run has it"):
                await place.run()
            await first

        run_virtual(main())
        assert place.values == values(ROWS)

    def test_a_commit_whose_answer_was_lost_ends_the_run_as_it_should(self, place: Place) -> None:
        """The next session finds the job complete, by this run's own hands. The store hears of it."""
        place.sink.faults.plan("commit", Doubt("no answer"), nth=2, done=True)
        report = run_virtual(place.run())
        assert report.checkpoint.complete
        assert not report.already_complete
        assert report.rows_this_run == ROWS
        gone = source_of(TEXT)
        gone.faults.plan("objects", ConfigError("no such file"))
        assert run_virtual(place.run(source=gone)).already_complete

    def test_rows_refused_twice_are_told_once(self) -> None:
        place = Place(source_of(b"a,b\n1,2\n3\n4,5\n"))
        place.sink.faults.plan("commit", Doubt("no answer"))
        report = run_virtual(place.run(on_bad_row="skip"))
        assert [(row.row, row.line) for row in report.bad_rows] == [(2, 3)]
        assert report.checkpoint.counts.bad_rows == 1
        assert [type(event).__name__ for event in place.events].count("RowRefused") == 1


class _Stubborn(FakeSource):
    """Does not let itself be cancelled."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.released = asyncio.Event()

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        while not self.released.is_set():
            with suppress(asyncio.CancelledError):
                await self.released.wait()
        yield b""


class TestTakenOver:
    def test_the_lease_lost_nothing_more_is_written(self) -> None:
        """It slept past its lease; another run has it. The sink would know; here it is not even asked."""
        source = source_of(TEXT, block_bytes=100)
        place = Place(source)
        source.faults.plan("read", nth=3, seconds=1000.0)

        async def main() -> None:
            run = asyncio.create_task(place.run())
            await until(lambda: bool(place.told(Committed)))
            place.store._epochs["job"] += 1
            holder = place.store._holders["job"]
            place.store._holders["job"] = evolve(holder, epoch=place.store._epochs["job"], owner="another")
            before, began = list(place.values), asyncio.get_running_loop().time()
            with pytest.raises(StaleLease, match="another"):
                await run
            assert place.values == before
            assert asyncio.get_running_loop().time() - began < HEARTBEAT_SECONDS + 1.0  # it is cancelled at once

        run_virtual(main())

    def test_the_lease_lost_a_source_that_does_not_let_go_is_left_behind(self) -> None:
        place = Place(_Stubborn({"rows.csv": TEXT}))

        async def main() -> None:
            run = asyncio.create_task(place.run())
            await until(lambda: bool(place.told(SessionOpened)))
            place.store._epochs["job"] += 1
            holder = place.store._holders["job"]
            place.store._holders["job"] = evolve(holder, epoch=place.store._epochs["job"], owner="another")
            with pytest.raises(StaleLease, match="another"):
                await run
            assert asyncio.get_running_loop().time() < LEASE_SECONDS + 15
            place.source.released.set()  # type: ignore[attr-defined]
            await asyncio.sleep(10)

        run_virtual(main())

    def test_a_heartbeat_that_is_not_answered_is_no_loss(self) -> None:
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", nth=3, seconds=100.0)
        place = Place(source)
        for nth in (3, 4):  # the first is the sink's
            place.store.faults.plan("renew", Doubt("the store does not answer"), nth=nth)
        run_virtual(place.run())
        assert place.store.faults.counts["renew"] > 15
        assert (place.values, place.told(Waiting)) == (values(ROWS), [])

    def test_the_sink_says_so(self, place: Place) -> None:
        """Two runs that share no store: the later session has shut the first out."""
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", nth=3, seconds=100.0)

        async def main() -> None:
            first = asyncio.create_task(place.run(source=source))
            await until(lambda: bool(place.told(Committed)))
            await place.run(store=MemoryStore())
            with pytest.raises(TakenOver, match="has taken over"):
                await first

        run_virtual(main())
        assert place.values == values(ROWS)

    def test_a_dead_runs_lease_is_waited_for(self, place: Place) -> None:
        place.sink.faults.plan("commit", Crash(), nth=3)
        place.store.faults.plan("release", Doubt("the process is dead"))
        with pytest.raises(Crash):
            run_virtual(place.run(checkpoint_rows=7))

        async def main() -> float:
            await place.run()
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) >= LEASE_SECONDS
        assert place.values == values(ROWS)


class TestASecondRun:
    async def test_goes_on_where_the_first_stopped(self, place: Place) -> None:
        place.sink.faults.plan("commit", Crash(), nth=4)
        with pytest.raises(Crash):
            await place.run(checkpoint_rows=7)
        report = await place.run()
        assert place.values == values(ROWS)
        assert (report.resumed_from_row, report.rows_this_run) == (21, ROWS - 21)
        opened = place.told(SessionOpened)[-1]
        assert (opened.number, opened.checkpoint.counts.rows) == (1, 21)

    async def test_after_success_asks_the_sink_whether_it_is_so_and_writes_nothing(self, place: Place) -> None:
        first = await place.run()
        opened, written = place.sink.faults.counts["open"], place.sink.faults.counts["write"]
        report = await place.run()
        assert report.already_complete
        assert (report.checkpoint, report.rows_this_run, report.resumed_from_row) == (first.checkpoint, 0, ROWS)
        assert place.sink.faults.counts["open"] == opened + 1
        assert place.sink.faults.counts["write"] == written

    async def test_after_success_does_not_need_the_source(self, place: Place) -> None:
        first = await place.run()
        gone = source_of(TEXT)
        gone.faults.plan("objects", ConfigError("no such file"))
        report = await place.run(source=gone)
        assert report.already_complete
        assert report.manifest == first.manifest

    async def test_with_another_version_of_the_source_is_refused(self, place: Place) -> None:
        await place.run()
        other = csv_text(ROWS + 1)
        with pytest.raises(SourceChanged, match=r"rows\.csv: began with size=") as raised:
            await place.run(source=source_of(other))
        assert f"found size={len(other)}" in raised.value.message
        assert "--restart" in raised.value.hint
        assert "--job" in raised.value.hint

    @pytest.mark.parametrize("complete", [True, False])
    async def test_with_other_settings_is_refused_naming_them(self, place: Place, complete: bool) -> None:
        if not complete:
            place.sink.faults.plan("commit", Crash(), nth=2)
            with pytest.raises(Crash):
                await place.run(checkpoint_rows=7)
        else:
            await place.run()
        opened = place.sink.faults.counts["open"]
        with pytest.raises(SettingsChanged) as raised:
            await place.run(dialect=Dialect(delimiter=";"), columns=("a", "b"))
        assert raised.value.exit_code == 2
        assert "delimiter: the job began with ',', this run has ';'" in raised.value.message
        assert "columns: the job began with '', this run has 'a,b'" in raised.value.message
        assert "quote" not in raised.value.message
        assert place.sink.faults.counts["open"] == opened

    async def test_may_have_another_policy_for_bad_rows(self) -> None:
        place = Place(source_of(b"a,b\n1,2\n3\n4,5\n"))
        with pytest.raises(Csv2KafkaError):
            await place.run()
        await place.run(on_bad_row="skip")
        assert place.values == [b'{"a":"1","b":"2"}', b'{"a":"4","b":"5"}']

    async def test_with_restart_begins_the_next_generation(self, place: Place) -> None:
        await place.run()
        report = await place.run(restart=True, source=source_of(csv_text(3)))
        assert (report.checkpoint.counts.rows, report.checkpoint.generation) == (3, 1)
        assert place.values == values(ROWS) + values(3)

    def test_with_restart_begins_once(self, place: Place) -> None:
        """A doubt behind its first commit does not begin it again."""
        run_virtual(place.run())
        place.sink.faults.plan("commit", Doubt("no answer"), nth=2)
        report = run_virtual(place.run(restart=True, checkpoint_rows=7))
        assert report.checkpoint.generation == 1
        assert place.values == values(ROWS) + values(ROWS)

    def test_with_restart_asks_the_sink_for_it_until_a_session_has_opened(self) -> None:
        """A sink that empties its destination must not be asked again."""
        asked: list[bool] = []

        class Noting(MemorySink):
            @asynccontextmanager
            async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[Any]:
                asked.append(job.restart)
                async with super().open(job, stored, lease) as session:
                    yield session

        place = Place(source_of(TEXT), Noting())
        place.sink.faults.plan("open", Doubt("no answer"))
        place.sink.faults.plan("commit", Doubt("no answer"), nth=2)
        run_virtual(place.run(restart=True, checkpoint_rows=7))
        assert asked == [True, True, False]

    def test_with_restart_goes_on_from_what_a_session_began_though_the_store_did_not_hear_of_it(self) -> None:
        """A sink that has emptied its destination no longer fits the old checkpoint."""
        known: list[int | None] = []

        class Noting(MemorySink):
            @asynccontextmanager
            async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[Any]:
                known.append(None if stored is None else stored.generation)
                async with super().open(job, stored, lease) as session:
                    yield session

        place = Place(source_of(TEXT), Noting())
        run_virtual(place.run())
        place.store.faults.plan("save", Doubt("no answer"))
        run_virtual(place.run(restart=True))
        assert known == [None, 0, 1]


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"encoding": "base64"}, ["encoding"]),
            ({"max_record": 0, "checkpoint_rows": 0}, ["max_record", "checkpoint_rows"]),
            ({"checkpoint_interval": 31.0}, ["checkpoint_interval"]),
            ({"connect_timeout": -1.0, "give_up_after": -1.0}, ["connect_timeout", "give_up_after"]),
            ({"on_bad_row": "dead_letter", "on_foreign": "ignore"}, ["on_bad_row", "on_foreign"]),
        ],
    )
    def test_out_of_their_limits_are_told_all_at_once(
        self, place: Place, options: dict[str, object], named: Sequence[str]
    ) -> None:
        with pytest.raises(ConfigError) as raised:
            place.pipeline(**options)
        assert [problem.split(" ")[0].rstrip(":") for problem in raised.value.problems] == list(named)

    def test_a_name_is_made_from_source_and_destination(self, place: Place) -> None:
        names = {place.pipeline(job=None).job for _ in range(2)}
        assert len(names) == 1
        other = place.pipeline(job=None, sink=MemorySink("other")).job
        assert {other}.isdisjoint(names)


def test_dead_letters_need_a_topic() -> None:
    """The command sees to it beforehand; a library user may forget it."""

    async def main() -> None:
        net = network()
        net.cluster.make_topic("rows")
        place = Place(source_of(b"a,b\n1,2\n3\n"))
        sink = KafkaSink("rows", broker_factory=net.factory(), clock=now)
        with pytest.raises(ConfigError, match="dead_letter_topic"):
            await place.run(sink=sink, on_bad_row="dead-letter")

    simulate(main())


class TestTheStoreItMade:
    async def test_is_closed(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[MemoryStore] = []

        class Closing(MemoryStore):
            async def close(self) -> None:
                closed.append(self)

        monkeypatch.setattr(registry, "default_store", Closing)
        await place.run(store=None)
        assert len(closed) == 1
        given = Closing()
        await place.run(store=given)
        assert given not in closed


@pytest.mark.parametrize(("began", "then"), [(("a", "b"), ("a,b",)), ((), ("",)), (('a"', "b"), ('a","b',))])
async def test_other_keys_are_other_settings(began: tuple[str, ...], then: tuple[str, ...]) -> None:
    place = Place(source_of(b'a,b,"a,b",,"a""","a"",""b"\n1,2,3,4,5,6\n"bad"x,,\n4,5,6,7,8,9\n'))
    with pytest.raises(BadRow):
        await place.run(encoder=JsonEncoder(keys=began))
    with pytest.raises(SettingsChanged, match="key: "):
        await place.run(encoder=JsonEncoder(keys=then), on_bad_row="skip")


async def test_a_complete_job_does_not_speak_for_a_file_that_it_never_had(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv_text(3))
    place = Place(LocalSource(tmp_path / "a.csv"))
    await place.run()
    with pytest.raises(ConfigError, match=r"b\.csv.*no such file"):
        await place.run(source=LocalSource(tmp_path / "b.csv"))
    (tmp_path / "a.csv").unlink()
    for asked in ("a.csv", "*.csv", "**/*.csv", "x/../a.csv"):
        assert (await place.run(source=LocalSource(tmp_path / asked))).already_complete
