"""A store that is slow, away, or another's: what that means for the rows, and for its copy of the progress."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from csv2kafka.errors import Doubt, StaleLease
from csv2kafka.model import Committed, LeaseRenewed, StoreAway, Waiting
from csv2kafka.protocols import HEARTBEAT_SECONDS, LEASE_SECONDS
from csv2kafka.testing import MemorySink, MemoryStore, run_virtual
from tests.pipelines import Place, csv_text, source_of, until, values

ROWS = 200
TEXT = csv_text(ROWS)
SAVES, RENEWALS = 1000, 100  # more than any test makes


def slow_place(*, atomic: bool = True) -> Place:
    """A hundred bytes, thus a commit, every second: about 30 s of work."""
    source = source_of(TEXT, block_bytes=100)
    for nth in range(1, len(TEXT) // 100 + 2):
        source.faults.plan("read", nth=nth, seconds=1.0)
    return Place(source, sink=MemorySink(atomic=atomic))


def away(store: MemoryStore, *calls: str, first: int, count: int) -> None:
    """From the ``first`` call on it does not answer ``count`` times."""
    for call in calls:
        for nth in range(first, first + count):
            store.faults.plan(call, Doubt("the store does not answer"), nth=nth)


class TestASinkThatKeepsTheCheckpoint:
    def test_rows_go_on_while_the_store_does_not_take_the_progress(self) -> None:
        place = slow_place()
        away(place.store, "save", first=3, count=10)
        report = run_virtual(place.run(checkpoint_interval=0.5))
        assert (report.sessions, place.told(Waiting)) == (1, [])
        assert place.values == values(ROWS)
        assert [event.reason for event in place.told(StoreAway)] == ["the store does not answer"]
        stored = run_virtual(place.store.load("job"))
        assert stored is not None
        assert stored.complete

    def test_they_end_when_the_lease_can_have_been_taken_and_go_on_when_the_store_is_back(self) -> None:
        place = slow_place()
        commits: list[float] = []

        async def main() -> None:
            def note(event: object) -> None:
                place.events.append(event)  # type: ignore[arg-type]
                if isinstance(event, Committed):
                    commits.append(asyncio.get_running_loop().time())

            run = asyncio.create_task(place.run(checkpoint_interval=0.5, on_event=note))
            await until(lambda: len(commits) == 3)
            away(place.store, "save", "renew", first=1, count=SAVES)
            silent_from = asyncio.get_running_loop().time()
            await until(lambda: bool(place.told(Waiting)), seconds=LEASE_SECONDS + HEARTBEAT_SECONDS)
            assert silent_from + LEASE_SECONDS - HEARTBEAT_SECONDS <= commits[-1] <= silent_from + LEASE_SECONDS
            seen = len(commits)
            await asyncio.sleep(60)
            assert len(commits) == seen
            place.store.faults._planned.clear()
            report = await run
            assert report.sessions == 2

        run_virtual(main())
        assert place.values == values(ROWS)

    def test_a_store_that_takes_its_time_does_not_hold_up_commits(self) -> None:
        place = slow_place()
        for nth in range(2, SAVES):  # the first is before the first row
            place.store.faults.plan("save", nth=nth, seconds=4.0)

        async def main() -> float:
            await place.run(checkpoint_interval=0.5)
            return asyncio.get_running_loop().time()

        seconds = run_virtual(main())
        assert len(place.told(Committed)) > 20
        assert place.store.faults.counts["save"] < 15  # of several that wait only the last
        assert seconds < len(TEXT) / 100 + 4 * 4

    def test_what_the_store_says_of_another_run_ends_this_one(self) -> None:
        place = slow_place()
        place.store.faults.plan("save", StaleLease("another run has it"), nth=4)
        with pytest.raises(StaleLease, match="another run"):
            run_virtual(place.run(checkpoint_interval=0.5))
        assert place.values == values(len(place.values))

    def test_a_stopped_run_leaves_its_last_commit_in_the_store(self) -> None:
        place = slow_place()

        async def main() -> None:
            run = asyncio.create_task(place.run(checkpoint_interval=30.0))
            await until(lambda: bool(place.sink.session and place.sink.session.staged))
            await asyncio.sleep(10)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            stored = await place.store.load("job")
            assert stored is not None
            assert stored.counts.rows == len(place.values) > 0

        run_virtual(main())


class TestASinkThatDoesNot:
    def test_the_session_ends_with_the_first_progress_that_the_store_does_not_take(self) -> None:
        place = slow_place(atomic=False)
        away(place.store, "save", first=3, count=1)
        report = run_virtual(place.run(checkpoint_interval=0.5))
        assert (report.sessions, len(place.told(Waiting)), place.told(StoreAway)) == (2, 1, [])
        assert place.values == values(ROWS)


def test_each_heartbeat_is_told_with_the_leases_epoch() -> None:
    place = slow_place()
    run_virtual(place.run())
    assert {event.epoch for event in place.told(LeaseRenewed)} == {1}
    assert len(place.told(LeaseRenewed)) == pytest.approx(len(TEXT) / 100 / HEARTBEAT_SECONDS, abs=2)


def test_a_lease_that_was_silent_for_long_is_asked_for_before_a_commit() -> None:
    """As after a process that was stopped for a minute: the other run is seen before anything is committed."""
    place = slow_place()

    async def main() -> None:
        run = asyncio.create_task(place.run(checkpoint_interval=0.5))
        await until(lambda: len(place.told(Committed)) == 3)
        before = len(place.values)
        for nth in range(1, 4):
            place.store.faults.plan("renew", Doubt("asleep"), nth=nth)
        epoch = place.store._epochs["job"] = 2
        holder = place.store._holders["job"]
        away(place.store, "save", first=1, count=SAVES)
        await asyncio.sleep(LEASE_SECONDS - HEARTBEAT_SECONDS)
        place.store._holders["job"] = evolve(holder, epoch=epoch, owner="another")
        with pytest.raises(StaleLease, match="another"):
            await run
        assert before < len(place.values) < ROWS

    run_virtual(main())
