"""One session's work: commits, bad rows, rows that stand there already, a stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve, frozen

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.errors import DataError, Doubt, SourceChanged, StateContradiction
from csv2kafka.model import (
    Checkpoint,
    Committed,
    Completion,
    Manifest,
    Packed,
    Payload,
    Progressed,
    Records,
    SessionOpened,
)
from csv2kafka.protocols import Lease, Packer, SinkSession
from csv2kafka.testing import Crash, FakeSource, MemorySink, MemoryStore, run_virtual
from csv2kafka.testing.memory_sink import MemoryPacker
from tests.pipelines import URI, Place, Wrapped, csv_text, source_of, until, values

ROWS = 50
TEXT = csv_text(ROWS)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of about a hundred bytes: a short text has many."""
    monkeypatch.setattr(ChunkSize, "bytes", lambda *_: 100)


class TestCommits:
    def rows_at_commits(self, place: Place) -> list[int]:
        return [event.checkpoint.counts.rows for event in place.told(Committed)]

    async def test_come_after_so_many_rows(self) -> None:
        place = Place(source_of(TEXT))
        report = await place.run(checkpoint_rows=20)
        assert self.rows_at_commits(place) == [20, 40, 50, 50]
        assert report.checkpoint.transactions == 4

    @pytest.mark.usefixtures("small_chunks")
    async def test_count_rows_over_chunks(self) -> None:
        place = Place(source_of(TEXT))
        await place.run(checkpoint_rows=1)
        assert self.rows_at_commits(place) == [*range(1, ROWS + 1), ROWS]

    @pytest.mark.usefixtures("small_chunks")
    async def test_are_never_further_apart_than_so_many_rows(self) -> None:
        """Chunks of about eight rows do not fit into ten evenly."""
        place = Place(source_of(TEXT))
        await place.run(checkpoint_rows=10)
        rows = [0, *self.rows_at_commits(place)]
        steps = [after - before for before, after in pairwise(rows)]
        assert max(steps) <= 10
        assert sum(steps) == ROWS

    @pytest.mark.usefixtures("small_chunks")
    async def test_do_not_come_before_so_many_rows_that_fit(self) -> None:
        await (first := Place(source_of(TEXT))).run()
        of_one, of_two = [event.rows for event in first.told(Progressed)][:2]
        await (second := Place(source_of(TEXT))).run(checkpoint_rows=of_two)
        assert of_one < of_two == self.rows_at_commits(second)[0]

    @pytest.mark.usefixtures("small_chunks")
    def test_come_after_the_interval(self) -> None:
        """Blocks of 100 bytes, one a second: a commit every five."""
        source = source_of(TEXT, block_bytes=100)
        for nth in range(1, 10):
            source.faults.plan("read", nth=nth, seconds=1.0)
        place = Place(source)
        run_virtual(place.run(checkpoint_interval=4.5))
        # The first row comes with the first block, at 1 s, and waits a little for more.
        rows_at = [(TEXT[: 100 * block].count(b"\n") - 1) for block in range(len(TEXT) // 100 + 1)]
        assert self.rows_at_commits(place) == [rows_at[5], ROWS, ROWS]

    def test_one_that_failed_while_the_source_stalls_is_not_tried_again_in_its_session(self) -> None:
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", nth=2, seconds=10.0)
        place = Place(source)
        place.sink.faults.plan("commit", Doubt("no answer"), nth=1)
        run_virtual(place.run(checkpoint_interval=2.0))
        told = [type(event) for event in place.events if isinstance(event, SessionOpened | Committed)]
        assert told[:3] == [SessionOpened, SessionOpened, Committed]
        assert place.values == values(ROWS)

    def test_come_within_the_interval_even_if_the_source_stalls(self) -> None:
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", nth=2, seconds=3600.0)
        place = Place(source)

        async def main() -> None:
            run = asyncio.create_task(place.run(checkpoint_interval=2.0))
            await until(lambda: bool(place.told(Committed)))
            assert 2.0 <= asyncio.get_running_loop().time() < 60
            assert place.values == values(TEXT[:100].count(b"\n") - 1)
            await run

        run_virtual(main())
        assert place.values == values(ROWS)

    def test_none_is_made_where_nothing_was_written(self) -> None:
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", nth=2, seconds=3600.0)
        place = Place(source)
        run_virtual(place.run(checkpoint_interval=1.0))
        assert len(place.told(Committed)) == 3

    async def test_pass_over_refused_rows_too(self) -> None:
        """Rows that are skipped are done: they are not read again for ever."""
        place = Place(source_of(b"a,b\n" + b"1\n" * 10))
        report = await place.run(on_bad_row="skip")
        assert report.checkpoint.counts.bad_rows == 10
        assert len(place.told(Committed)) == 2

    @pytest.mark.usefixtures("small_chunks")
    def test_of_refused_rows_alone_come_after_the_interval(self) -> None:
        source = source_of(b"a,b\n" + b"1\n" * 500, block_bytes=100)
        for nth in range(1, 11):
            source.faults.plan("read", nth=nth, seconds=1.0)
        place = Place(source)
        run_virtual(place.run(on_bad_row="skip", checkpoint_interval=2.5))
        assert len(place.told(Committed)) >= 4

    @pytest.mark.parametrize("atomic", [True, False])
    async def test_a_checkpoint_is_saved_only_after_its_commit(self, atomic: bool) -> None:
        sink = MemorySink(atomic=atomic)
        place = Place(source_of(TEXT), sink, _Checking(sink))
        await place.run(checkpoint_rows=7)
        assert isinstance(place.store, _Checking)
        every = [0, 7, 14, 21, 28, 35, 42, 49, 50, 50]
        if not atomic:
            assert place.store.saved == every
        else:  # the sink keeps the checkpoint: of several that wait for the store only the last is saved
            assert place.store.saved == [rows for rows in every if rows in place.store.saved]
            assert (place.store.saved[0], place.store.saved[-1]) == (0, 50)

    @pytest.mark.parametrize("atomic", [True, False])
    async def test_a_commit_that_never_ended_is_in_no_store(self, atomic: bool) -> None:
        place = Place(source_of(TEXT), MemorySink(atomic=atomic))
        place.sink.faults.plan("commit", Crash(), nth=3)
        with pytest.raises(Crash):
            await place.run(checkpoint_rows=7)
        stored = await place.store.load("job")
        assert stored is not None
        assert stored.counts.rows == 14


class _Checking(MemoryStore):
    """Takes only checkpoints whose commit the sink has seen. ``saved``: their rows."""

    def __init__(self, sink: MemorySink) -> None:
        super().__init__()
        self.saved: list[int] = []
        self._sink = sink

    async def save(self, lease: Lease, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        assert self._sink.faults.counts["commit"] >= checkpoint.transactions
        assert len(self._sink.rows) >= checkpoint.counts.rows
        self.saved.append(checkpoint.counts.rows)
        await super().save(lease, checkpoint, manifest)


class TestWhatGoesWrongWithTheSource:
    @pytest.mark.usefixtures("small_chunks")
    def test_everything_before_a_read_error_is_committed(self) -> None:
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", DataError("no character in 65536 bytes"), nth=4)
        place = Place(source)
        with pytest.raises(DataError, match="no character"):
            run_virtual(place.run())
        assert place.values == values(TEXT[:300].count(b"\n") - 1)

    @pytest.mark.usefixtures("small_chunks")
    def test_a_read_error_that_can_pass_leads_to_a_new_session(self) -> None:
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", Doubt("the disk does not answer"), nth=4)
        place = Place(source)
        report = run_virtual(place.run())
        assert (place.values, report.sessions) == (values(ROWS), 2)
        assert source.bytes_read[URI] < len(TEXT) + 100  # it went on where it was

    @pytest.mark.usefixtures("small_chunks")
    def test_nothing_is_committed_once_the_source_has_changed(self) -> None:
        """Seen while reading. What was read since the last commit may be of either version."""
        source = source_of(TEXT, block_bytes=100)
        source.faults.plan("read", SourceChanged("rows.csv: another version"), nth=4)
        place = Place(source)
        with pytest.raises(SourceChanged):
            run_virtual(place.run())
        assert place.values == []

    async def test_a_change_is_seen_at_the_commit(self) -> None:
        """After the last byte was read: only ``confirm`` can tell."""
        source = source_of(TEXT)
        source.faults.plan("confirm", SourceChanged("rows.csv: another version"), nth=3)
        place = Place(source)
        with pytest.raises(SourceChanged):
            await place.run(checkpoint_rows=7)
        assert place.values == values(14)

    async def test_every_object_read_since_the_last_commit_is_confirmed(self) -> None:
        asked: list[str] = []

        class Asking(FakeSource):
            async def confirm(self, obj: Any) -> None:
                asked.append(obj.uri)

        await Place(Asking({f"{number}.csv": csv_text(3) for number in range(4)})).run()
        assert asked == ["0.csv", "1.csv", "2.csv", "3.csv", "3.csv"]


class TestAStop:
    """Cancelling commits what is on the way and raises CancelledError."""

    def stalled(self) -> FakeSource:
        source = source_of(TEXT, block_bytes=300)
        source.faults.plan("read", nth=2, seconds=3600.0)
        return source

    def test_commits_what_was_written(self) -> None:
        place = Place(self.stalled())

        async def main() -> float:
            pipeline = place.pipeline(checkpoint_interval=30.0)
            run = asyncio.create_task(pipeline.run())
            await until(lambda: bool(place.told(Progressed)))
            assert place.values == []
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert place.values == values(TEXT[:300].count(b"\n") - 1)
            assert pipeline.report.checkpoint == place.sink.checkpoint
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) < 5
        run_virtual(place.run(source=source_of(TEXT)))
        assert place.values == values(ROWS)

    def test_does_not_wait_for_the_end_of_a_chunk(self) -> None:
        """A commit for each row, one a second: it stops behind the next."""
        place = Place(source_of(TEXT))
        for nth in range(1, 60):
            place.sink.faults.plan("commit", nth=nth, seconds=1.0)

        async def main() -> None:
            run = asyncio.create_task(place.run(checkpoint_rows=1))
            await until(lambda: len(place.told(Committed)) == 3)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert asyncio.get_running_loop().time() < 8

        run_virtual(main())
        assert place.values == values(4)

    @pytest.mark.parametrize("call", ["open", "write", "commit"])
    def test_is_bounded_when_the_sink_hangs(self, call: str) -> None:
        place = Place(source_of(TEXT))
        place.sink.faults.plan(call, nth=1, seconds=1e6)

        async def main() -> float:
            run = asyncio.create_task(place.run())
            await until(lambda: place.sink.faults.counts[call] == 1)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) < 10

    def test_ends_a_pause(self) -> None:
        place = Place(source_of(TEXT))
        for nth in range(1, 20):
            place.sink.faults.plan("open", Doubt("away"), nth=nth)

        async def main() -> None:
            run = asyncio.create_task(place.run())
            await until(lambda: place.sink.faults.counts["open"] == 9)
            before = asyncio.get_running_loop().time()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert asyncio.get_running_loop().time() - before < 5

        run_virtual(main())


class TestStandingRows:
    """At-least-once: what an earlier run wrote and could not commit is not sent again."""

    def left_by_a_crash(self, rows: int = 30, **options: Any) -> Place:
        place = Place(source_of(TEXT), MemorySink(atomic=False))
        place.sink.faults.plan("commit", Crash(), nth=rows // 10)
        with pytest.raises(Crash):
            run_virtual(place.run(checkpoint_rows=10, **options))
        assert place.values == values(rows)
        return place

    @pytest.mark.parametrize("rows", [10, 30, 50])
    def test_are_not_sent_again(self, rows: int) -> None:
        place = self.left_by_a_crash(rows)
        report = run_virtual(place.run(checkpoint_rows=7))
        assert place.values == values(ROWS)
        assert report.checkpoint.counts.rows == ROWS

    @pytest.mark.parametrize("rows", range(1, 12))
    def test_a_commit_may_fall_amid_them(self, rows: int) -> None:
        """And another crash behind it."""
        place = self.left_by_a_crash()
        place.sink.faults.plan("commit", Crash(), nth=2)
        with pytest.raises(Crash):
            run_virtual(place.run(checkpoint_rows=rows))
        run_virtual(place.run())
        assert place.values == values(ROWS)

    def test_what_others_wrote_behind_them_stops_the_job(self) -> None:
        place = self.left_by_a_crash()
        place.sink.rows.append((None, b"somebody else's"))
        with pytest.raises(StateContradiction, match="after 10 rows of this job") as raised:
            run_virtual(place.run())
        assert raised.value.exit_code == 70
        assert "--on-foreign resend" in raised.value.hint
        assert len(place.sink.rows) == 31

    def test_or_the_rest_is_sent_behind_it(self) -> None:
        place = self.left_by_a_crash()
        place.sink.rows.append((None, b"somebody else's"))
        run_virtual(place.run(on_foreign="resend"))
        assert place.values == [*values(30), b"somebody else's", *values(ROWS - 30, first=30)]

    def test_a_payload_that_stands_in_part_is_completed(self) -> None:
        place = self.left_by_a_crash()
        del place.sink.rows[25:]
        run_virtual(place.run())
        assert place.values == values(ROWS)

    def test_a_row_that_fits_only_behind_them_is_not_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It compresses worse alone, which the packer sees only when the rest of a payload is packed anew."""
        place = self.left_by_a_crash()
        del place.sink.rows[25:]
        pack = MemoryPacker.pack

        def grudging(packer: MemoryPacker, records: Records, first: int = 0, last: int | None = None) -> Packed:
            if first != 5:
                return pack(packer, records, first, last)
            return Packed(payloads=pack(packer, records, 6, last).payloads, too_large=((5, "one byte over"),))

        monkeypatch.setattr(MemoryPacker, "pack", grudging)
        with pytest.raises(StateContradiction, match=r"the row behind row 25 fitted in one batch .* one byte over"):
            run_virtual(place.run())
        monkeypatch.undo()
        run_virtual(place.run())
        assert place.values == values(ROWS)


def seeing(seen: list[tuple[str, int | None]]) -> Callable[[SinkSession], SinkSession]:
    """Sessions that note of each payload for what it is and how many rows end with it."""

    @frozen
    class Seeing:
        inner: SinkSession

        @property
        def resume_from(self) -> Checkpoint:
            return self.inner.resume_from

        @property
        def packer(self) -> Packer:
            return self.inner.packer

        def standing(self) -> AsyncIterator[Records]:
            return self.inner.standing()

        async def write(self, payload: Payload) -> None:
            seen.append((payload.target.value, payload.after.rows if payload.after else None))
            await self.inner.write(payload)

        async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
            return await self.inner.commit(checkpoint, completion)

    return Seeing


class TestPositions:
    async def test_each_payload_but_those_with_more_to_come_says_where_it_ends(self) -> None:
        """A payload after which dead letters follow has none: a commit between would lose them."""
        seen: list[tuple[str, int | None]] = []
        place = Place(source_of(b"id,name\n1,one\n2\n3,three\n4,four,x\n5\n6,six\n"))
        await place.run(sink=Wrapped(place.sink, seeing(seen)), on_bad_row="dead-letter", checkpoint_rows=1)
        assert seen == [
            ("data", 1),
            ("data", None),
            ("dead-letter", 3),
            ("data", None),
            ("dead-letter", None),
            ("dead-letter", 6),
        ]

    async def test_what_is_sent_of_a_payload_whose_first_rows_stand_there_ends_where_it_does(self) -> None:
        place = Place(source_of(TEXT), MemorySink(atomic=False))
        place.sink.faults.plan("commit", Crash(), nth=2)
        with pytest.raises(Crash):
            await place.run(checkpoint_rows=10)
        assert place.values == values(20)
        seen: list[tuple[str, int | None]] = []
        await place.run(sink=Wrapped(place.sink, seeing(seen)))
        assert seen == [("data", ROWS)]

    async def test_the_hash_does_not_depend_on_chunks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = await Place(source_of(TEXT)).run()
        monkeypatch.setattr(ChunkSize, "bytes", lambda *_: 100)
        of_many = await Place(source_of(TEXT)).run()
        assert of_many.checkpoint.content_hash == whole.checkpoint.content_hash

    async def test_the_hash_does_not_depend_on_commits_or_crashes(self) -> None:
        plain = await Place(source_of(TEXT)).run()
        place = Place(source_of(TEXT))
        place.sink.faults.plan("commit", Crash(), nth=4)
        with pytest.raises(Crash):
            await place.run(checkpoint_rows=7)
        other = await place.run(checkpoint_rows=3)
        assert other.checkpoint.content_hash == plain.checkpoint.content_hash
        assert str(plain.checkpoint.content_hash) != "0" * 32
        changed = await Place(source_of(TEXT.replace(b"name 7", b"name 8"))).run()
        assert changed.checkpoint.content_hash != plain.checkpoint.content_hash


async def test_an_encoder_that_fails_stops_with_everything_before_it_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error of its own, not one of this package's."""
    monkeypatch.setattr(ChunkSize, "bytes", lambda *_: 100)
    place = Place(source_of(TEXT))
    pipeline = place.pipeline()
    encoder = pipeline._reading.encoder

    class Failing:
        settings = encoder.settings

        def encode(self, chunk: Any) -> Records:
            if chunk.offset > 300:
                raise ZeroDivisionError("in a plug-in")
            return encoder.encode(chunk)

    pipeline._reading = evolve(pipeline._reading, encoder=Failing())
    with pytest.raises(ZeroDivisionError):
        await pipeline.run()
    assert 0 < len(place.values) < ROWS
    assert place.values == values(len(place.values))
