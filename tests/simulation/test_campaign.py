"""Some thousands of the campaign's schedules, and that each law fails where it is broken.

More of them: ``python -m tests.simulation.campaign --minutes 60``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from attrs import evolve
from hypothesis import given, settings

from csv2kafka.errors import LeaseHeld, StateContradiction
from csv2kafka.kafka.port import Producer, TopicPartition
from csv2kafka.kernel import pack_records, stamp
from tests.simulation.actors import ActorLoop
from tests.simulation.campaign import play, schedules
from tests.simulation.cluster import Cluster
from tests.simulation.endings import check_endings
from tests.simulation.files import FileWorld
from tests.simulation.laws import Laws
from tests.simulation.schedule import SCHEDULES, Cut, RunPlan, Schedule, StoreAim, drawn
from tests.simulation.world import CHECKPOINTS, DATA, EVENTS, JOB, LETTERS, World

FIRST_SEED, ITEMS, EACH = 10_000, 60, 50


@pytest.mark.parametrize("item", range(ITEMS))
def test_every_law_holds_in(item: int) -> None:
    for schedule in itertools.islice(schedules(FIRST_SEED + item * EACH), EACH):
        outcome = play(schedule)
        assert not outcome.violations, str(outcome)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SCHEDULES)
def test_every_law_holds_where_hypothesis_looks(schedule: Schedule) -> None:
    outcome = play(schedule)
    assert not outcome.violations, str(outcome)


def test_a_schedule_is_the_same_each_time() -> None:
    for schedule in itertools.islice(schedules(FIRST_SEED), 30):
        again = Schedule.from_json(schedule.to_json())
        assert again == schedule == drawn(schedule.seed)
        first, second = play(schedule), play(again)
        assert (first.trace, first.ended, first.coverage) == (second.trace, second.ended, second.coverage)


WHOLE = Schedule(seed=1, rows=3, bad=(1,), checkpoint_rows=2, pauses=(0.0,))


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once", "file"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_process_dies_at_each_of_its_steps(delivery: str, restart: bool) -> None:
    """The same job, cut before its first step, its second, … to its last; or the ``restart`` of one that is done."""
    before = (RunPlan(start=0.0),) * restart
    ends = []
    for step in itertools.count(1):
        run = RunPlan(start=200.0 * restart, restart=restart, cuts=(Cut(kind="kill", step=step),))
        outcome = play(evolve(WHOLE, delivery=delivery, runs=(*before, run)))
        assert not outcome.violations, str(outcome)
        ends.append(outcome.ended[f"run-{len(before) + 1}"])
        if ends[-1] != "killed":
            break
    assert len(ends) > 50
    assert set(ends[:-1]) == {"killed"}


@pytest.mark.parametrize("nth", range(1, 14))
def test_what_a_run_sent_before_it_died_is_no_sign_of_life(nth: int) -> None:
    """Each request to the store is late once, and comes while the next run watches the lease."""
    killed = RunPlan(start=0.0, cuts=(Cut(kind="kill", at=5.5),))
    late = evolve(WHOLE, pauses=(3.0,), runs=(killed, RunPlan(start=5.6)), store_aims=(StoreAim(nth=nth, delay=10.0),))
    outcome = play(late)
    assert not outcome.violations, str(outcome)
    assert outcome.ended["run-2"] == "complete"


class Broken:
    """A history made by hand, of a CSV with three rows and a bad one."""

    def __init__(self, **options: Any) -> None:
        later: list[Callable[[], None]] = []
        self.cluster = Cluster(later=lambda _, action: later.append(action), verifies=True)
        self.laws = Laws(
            cluster=self.cluster,
            job=JOB,
            data=DATA,
            letters=LETTERS,
            events=EVENTS,
            checkpoints=CHECKPOINTS,
            rows=[b"a", b"b", b"c"],
            bad=[b"?"],
            **options,
        )
        self.later = later
        for target in (DATA, LETTERS, EVENTS, CHECKPOINTS):
            self.cluster.make_topic(target.topic)
        self.sequences: dict[tuple[TopicPartition, Producer], int] = {}

    def begin(self) -> Producer:
        return self.cluster.init_producer(f"csv2kafka.{JOB}", 60_000)

    def commit(self, producer: Producer, *writes: tuple[TopicPartition, bytes, bytes], markers: bool = True) -> None:
        name = f"csv2kafka.{JOB}"
        self.cluster.add_partitions(name, producer, [target for target, _, _ in writes])
        for target, key, value in writes:
            batch = pack_records([(key, value, [])])
            sequence = self.sequences.get((target, producer), 0)
            stamp(
                batch,
                producer_id=producer.producer_id,
                epoch=producer.epoch,
                sequence=sequence,
                timestamp_ms=0,
                transactional=True,
            )
            self.sequences[target, producer] = sequence + 1
            self.cluster.produce(target, bytes(batch), name)
        self.cluster.end_transaction(name, producer, commit=True)
        while markers and self.later:
            self.later.pop(0)()

    def claim(self, producer: Producer, run: str = "one") -> tuple[TopicPartition, bytes, bytes]:
        made = {"run_id": run, "producer_id": producer.producer_id, "producer_epoch": producer.epoch}
        return CHECKPOINTS, b"claim/job", json.dumps(made).encode()


def checkpoint(
    rows: int, bad: int = 0, *, offset: int = 0, run: str = "one", complete: bool = False, generation: int = 0
) -> tuple[TopicPartition, bytes, bytes]:
    made = {
        "run_id": run,
        "generation": generation,
        "complete": complete,
        "counts": {"rows": rows, "bad_rows": bad},
        "sink": {"offsets": {"data": offset}},
    }
    return CHECKPOINTS, b"checkpoint/job", json.dumps(made).encode()


def row(value: bytes) -> tuple[TopicPartition, bytes, bytes]:
    return DATA, b"", value


BEGUN = "a generation that began"


def begun(**options: Any) -> tuple[Broken, Producer]:
    world = Broken(**options)
    producer = world.begin()
    world.commit(producer, checkpoint(0), world.claim(producer))
    assert not world.laws.violations
    return world, producer


def test_laws_hold_of_a_history_that_is_right() -> None:
    world, producer = begun()
    world.commit(producer, row(b"a"), row(b"b"), (LETTERS, b"", b"?"), checkpoint(2, 1, offset=2))
    other = world.begin()
    world.commit(other, world.claim(other, "two"))
    world.commit(other, row(b"c"), checkpoint(3, 1, offset=4, run="two"))
    world.commit(other, (EVENTS, b"", b"{}"), checkpoint(3, 1, offset=4, run="two", complete=True))
    assert not world.laws.violations


@pytest.mark.parametrize(
    ("writes", "told"),
    [
        ([row(b"b"), checkpoint(1)], "where row 0 comes next"),
        ([row(b"a"), row(b"a"), checkpoint(2)], "row 0 again"),
        ([row(b"x"), checkpoint(1)], "no row of the CSV"),
        ([row(b"a")], "without a checkpoint"),
        ([row(b"a"), checkpoint(2)], "a checkpoint counts 2 rows"),
        ([row(b"a"), checkpoint(0)], "a checkpoint counts 0 rows"),
        ([row(b"a"), checkpoint(1, run="two")], "the last claim is"),
        ([row(b"a"), checkpoint(1, generation=1)], "in generation 0"),
        ([row(b"a"), checkpoint(1, offset=7)], "names offset 7"),
        ([checkpoint(0, offset=1)], "names offset 1"),
        ([row(b"a"), checkpoint(1, complete=True)], "before every row is visible"),
        ([(EVENTS, b"", b"{}"), checkpoint(0)], "the completion event is seen before"),
        ([(LETTERS, b"", b"?"), (LETTERS, b"", b"?"), checkpoint(0, 2)], "refused: a reader sees row 0 again"),
    ],
)
def test_a_law_is_broken_by(writes: list[tuple[TopicPartition, bytes, bytes]], told: str) -> None:
    world, producer = begun()
    world.commit(producer, *writes)
    assert any(told in violation for violation in world.laws.violations), world.laws.violations


def test_a_law_is_broken_by_a_commit_under_an_old_claim() -> None:
    world, producer = begun()
    world.commit(producer, row(b"a"), checkpoint(1, offset=1))
    other = world.begin()
    world.commit(other, world.claim(other, "two"))
    world.commit(other, row(b"b"), checkpoint(2, offset=3, run="one"))
    assert "the last claim is ('two'" in world.laws.violations[0]


def test_a_law_is_broken_by_a_second_event_and_by_going_on_behind_the_end() -> None:
    world, producer = begun()
    world.commit(producer, row(b"a"), row(b"b"), row(b"c"), (LETTERS, b"", b"?"), checkpoint(3, 1, offset=3))
    for _ in range(2):
        world.commit(producer, (EVENTS, b"", b"{}"), checkpoint(3, 1, offset=3, complete=True))
    assert "behind the checkpoint that says complete" in world.laws.violations[0]
    assert "seen twice" in world.laws.violations[1]


def test_a_law_is_broken_by_a_store_that_is_ahead() -> None:
    world, producer = begun()
    stored = json.loads(checkpoint(1, offset=1)[2])
    world.laws.stored(stored)
    assert "a store has" in world.laws.violations[0]
    world.commit(producer, row(b"a"), checkpoint(1, offset=1))
    world.laws.violations.clear()
    world.laws.stored(stored)
    assert not world.laws.violations


def test_a_law_is_broken_by_a_store_that_counts_what_is_not_in_the_log() -> None:
    world, _ = begun(exactly_once=False)
    world.laws.stored(json.loads(checkpoint(1, offset=1)[2]))
    assert ["a store counts" in each or "names offset" in each for each in world.laws.violations] == [True, True]


def test_a_law_is_broken_by_a_commit_behind_a_loss() -> None:
    world, producer = begun()
    world.laws.lost = True
    world.commit(producer, row(b"a"), checkpoint(1, offset=1))
    assert "is lost" in world.laws.violations[0]


class TestEndings:
    def ended(self, *errors: Exception | None, changed: bool = False) -> list[str]:
        """What is wrong where runs of an undisturbed world end with these, and the last completes it."""
        loop = ActorLoop()
        world = World(Schedule(seed=0, runs=tuple(RunPlan(start=0.0) for _ in errors)), loop)

        async def main() -> None:
            for number, error in enumerate(errors, 1):
                process = world.begin(f"run-{number}", RunPlan(start=0.0, store=number))
                await process.done.wait()
                if error is not None:
                    process.ended, process.error = type(error).__name__, error
            last = world.begin("last", RunPlan(start=0.0))
            await last.done.wait()
            check_endings(world, last, must_stop=changed)

        numbers = itertools.count(1)
        with patch("uuid.uuid4", lambda: type("Id", (), {"hex": f"{next(numbers):08x}"})()):
            loop.play(main())
        return world.laws.violations

    def test_of_a_world_that_is_right(self) -> None:
        assert self.ended(None) == []

    def test_no_run_leaves_without_a_reason(self) -> None:
        (told,) = self.ended(StateContradiction("records were lost"))
        assert "which nothing here can be the reason of" in told

    def test_nobody_is_told_of_a_run_that_is_not_there(self) -> None:
        assert self.ended(LeaseHeld("run 00000001 has it")) == []

    def test_two_do_not_leave_because_of_each_other(self) -> None:
        told = self.ended(LeaseHeld("run 00000003 has it"), LeaseHeld("run 00000001 has it"))
        assert told == ["mutual exit: run-1 and run-2 have left because of each other"]

    def test_a_loss_is_found_out(self) -> None:
        (told,) = self.ended(None, changed=True)
        assert "something was lost" in told


class TestFiles:
    def world(self, tmp_path: Any) -> FileWorld:
        world = FileWorld(Schedule(seed=0, delivery="file", rows=2), ActorLoop(), tmp_path)
        world.loop.close()
        return world

    def test_what_is_written_is_a_prefix(self, tmp_path: Any) -> None:
        world = self.world(tmp_path)
        world.path.write_bytes(world.whole[:5])
        world._written(world.path)
        assert not world.laws.violations
        world.path.write_bytes(b"else")
        world._written(world.path)
        assert "no prefix" in world.laws.violations[0]

    def test_what_is_saved_is_on_the_disk(self, tmp_path: Any) -> None:
        world = self.world(tmp_path)
        file = world.disk.open(world.path, 0o102)
        world.disk.pwrite(file, world.whole, 0)
        made = json.loads(checkpoint(2, offset=len(world.whole))[2])
        world.saved(json.dumps(made))
        assert "on the disk are b''" in world.laws.violations[0]
        world.laws.violations.clear()
        folder = world.disk.open(tmp_path, 0)
        for each in (file, folder):
            world.disk.fsync(each)
            world.disk.close(each)
        world.saved(json.dumps(made))
        assert not world.laws.violations

    def test_the_file_is_whole_in_the_end(self, tmp_path: Any) -> None:
        world = self.world(tmp_path)
        world.check_whole()
        assert "the file is not the rows" in world.laws.violations[0]
