"""How long a run goes on trying: what is waited for, for how long, and what does not count as lost."""

from __future__ import annotations

import asyncio

import pytest

from csv2kafka.errors import Doubt, NotReachable, Unreachable
from csv2kafka.model import Waiting
from csv2kafka.testing import FakeSource, run_virtual
from tests.pipelines import Place, csv_text, source_of, values

ROWS = 50
TEXT = csv_text(ROWS)


@pytest.fixture
def place() -> Place:
    return Place(source_of(TEXT))


class TestGivingUp:
    def test_when_nothing_ever_answered(self, place: Place) -> None:
        for nth in range(1, 100):
            place.sink.faults.plan("open", NotReachable("nobody at broker:9092"), nth=nth)

        async def main() -> float:
            with pytest.raises(Unreachable, match="nothing answered within 60 s: nobody at broker:9092") as raised:
                await place.run()
            assert raised.value.exit_code == 69
            return asyncio.get_running_loop().time()

        assert 60 <= run_virtual(main()) < 61  # no pause goes beyond it

    def test_what_answered_once_is_waited_for(self, place: Place) -> None:
        place.sink.faults.plan("open", Doubt("something answered"), nth=1)
        for nth in range(2, 30):
            place.sink.faults.plan("open", NotReachable("nobody there"), nth=nth)
        run_virtual(place.run(connect_timeout=1.0))
        assert place.values == values(ROWS)

    @pytest.mark.parametrize("call", ["load", "take", "save"])
    def test_a_store_that_is_away_for_a_while_is_waited_for(self, place: Place, call: str) -> None:
        for nth in range(1, 5):
            place.store.faults.plan(call, NotReachable("the store does not answer"), nth=nth)

        async def main() -> None:
            await asyncio.sleep(1000)  # the loop's clock is not the run's
            assert 0 < (await place.run()).seconds < 10

        run_virtual(main())
        assert len(place.told(Waiting)) == 4
        assert place.values == values(ROWS)

    def test_what_a_lease_took_is_not_counted_against_the_sink(self, place: Place) -> None:
        place.store.faults.plan("take", seconds=30.0)
        for nth in range(1, 4):
            place.sink.faults.plan("open", NotReachable("nobody there"), nth=nth)
        run_virtual(place.run(connect_timeout=20.0))
        assert place.values == values(ROWS)

    @pytest.mark.parametrize("call", ["load", "take"])
    def test_a_store_that_never_answers_is_not(self, place: Place, call: str) -> None:
        for nth in range(1, 100):
            place.store.faults.plan(call, NotReachable("the store does not answer"), nth=nth)
        with pytest.raises(Unreachable, match="nothing answered within 5 s: the store does not answer"):
            run_virtual(place.run(connect_timeout=5.0))

    def test_when_what_was_lost_does_not_come_back(self, place: Place) -> None:
        place.sink.faults.plan("commit", Doubt("gone"), nth=2)
        for nth in range(2, 100):
            place.sink.faults.plan("open", NotReachable("still gone"), nth=nth)

        async def main() -> float:
            with pytest.raises(Unreachable, match="gave up after 20 s") as raised:
                await place.run(checkpoint_rows=7, give_up_after=20.0)
            assert "7 rows are committed" in raised.value.hint
            return asyncio.get_running_loop().time()

        assert 20 <= run_virtual(main()) < 25
        assert place.values == values(7)

    def test_is_counted_from_the_loss_not_from_the_last_commit(self) -> None:
        """A source that stalled for a minute is no reason not to try again."""
        source = source_of(TEXT, block_bytes=100)
        place = Place(source)
        source.faults.plan("read", nth=4, seconds=60.0)
        place.sink.faults.plan("commit", Doubt("gone for a moment"), nth=2)
        run_virtual(place.run(give_up_after=10.0))
        assert place.values == values(ROWS)

    def test_at_once_where_standard_input_cannot_be_read_again(self) -> None:
        place = Place(source_of(TEXT, replayable=False))
        place.sink.faults.plan("commit", Doubt("no answer"), nth=3)
        with pytest.raises(Unreachable, match="standard input cannot be read again: 14 rows are committed") as raised:
            run_virtual(place.run(checkpoint_rows=7))
        assert raised.value.exit_code == 69
        assert place.values == values(14)

    def test_but_not_before_anything_of_standard_input_was_read(self) -> None:
        place = Place(source_of(TEXT, replayable=False))
        place.sink.faults.plan("open", Doubt("no answer"), nth=1)
        run_virtual(place.run())
        assert place.values == values(ROWS)


def slow_to_begin() -> Place:
    """A moment's loss at the opening; then it takes long until rows come, and the first commit is in doubt."""
    place = Place(source := FakeSource({"rows.csv": csv_text(50)}))
    place.sink.faults.plan("open", Doubt("a moment"))
    source.faults.plan("read", seconds=700.0)
    return place


def test_what_came_back_long_ago_is_not_what_is_lost_now() -> None:
    place = slow_to_begin()
    place.sink.faults.plan("commit", Doubt("a moment"))
    run_virtual(place.run(give_up_after=600.0))
    assert place.values == values(50)


def test_sessions_that_open_and_never_commit_do_not_go_on_for_ever() -> None:
    place = slow_to_begin()
    for nth in range(1, 1000):
        place.sink.faults.plan("commit", Doubt("no answer"), nth=nth)
    with pytest.raises(Unreachable, match="gave up after 600 s"):
        run_virtual(place.run(give_up_after=600.0))
