"""The campaign: schedules drawn from numbers, each played in a world of its own, and the laws held against it.

    python -m tests.simulation.campaign --schedules 100000            # from seed 0 on
    python -m tests.simulation.campaign --minutes 60 --start 500000
    python -m tests.simulation.campaign --seed 4711 --trace           # one of them, as a sequence of events

``schedules(start)`` gives the schedules of the seeds from ``start`` on, ``play(schedule)`` plays one and gives an
``Outcome``, whose ``violations`` is empty where every law held. A schedule is a value (``schedule.py``): it can be
changed, written as JSON and played again; hypothesis draws the same ones. The package is looked up at each call, so
what a test has patched is what runs.

A world (``world.py``) runs its processes to their ends; then faults stop, one more run follows that has to complete
the job, and what is still in the network arrives.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from attrs import define, field

from csv2kafka.chunk_size import ChunkSize
from tests.simulation.actors import ActorLoop, Endless
from tests.simulation.endings import check_endings
from tests.simulation.files import FileWorld
from tests.simulation.happenings import happens, lose
from tests.simulation.schedule import DELIVERIES, LOSSES, RunPlan, Schedule, drawn
from tests.simulation.world import World

SETTLE_SECONDS = 1000.0  # for what is in the network, and for time-outs of transactions
MOST_SECONDS = 1500.0  # of virtual time, for a run to end once the last fault has passed
CHUNK_BYTES = 60
COLLECT_EACH = 50  # schedules
ENOUGH = 2_000  # schedules in which each of these has to happen
FAULTS = (
    *("late", "late past its time-out", "answer late", "lost", "done, answer lost", "cut, arrived"),
    *("cut, never arrived", "answered with an error", "done, but answered with an error"),
)
WRITING = ("init_producer", "add_partitions", "produce", "end_transaction (commit)")
EXPECTED = (
    *(f"{operation}: {fault}" for operation in WRITING for fault in FAULTS),
    *("store: lost", "store: late", "store: done, answer lost", "store-away", "store away, rows go on"),
    *("killed", "killed by a power failure", "stopped", "its clock jumps", "asleep for days", "asleep for 40 s"),
    *("leader", "old-leader", "old leader answers", "coordinator", "coordinator-away", "cluster-away"),
    *("compaction took records", "other-job", "markers are late", "a transaction timed out"),
    *("a transaction is ended by a second coordinator", "a claim is hidden by another job's transaction"),
    *("a claim behind another run's", "a silent lease is taken over", "rows stand behind the checkpoint already"),
    *("source: a read failed", "source: another version", *(f"loss: {kind}" for kind in LOSSES)),
    *(f"answer: {name}" for name in ("CONCURRENT_TRANSACTIONS", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR")),
    *(f"answer: {name}" for name in ("PRODUCER_FENCED", "INVALID_PRODUCER_EPOCH", "OUT_OF_ORDER_SEQUENCE_NUMBER")),
    *(f"answer: {name}" for name in ("NOT_LEADER_OR_FOLLOWER", "INVALID_TXN_STATE")),
    *(f"ends: {how}" for how in ("complete", "already complete", "LeaseHeld", "StaleLease", "TakenOver")),
    *(f"ends: {how}" for how in ("SourceChanged", "StateContradiction")),
)


@define
class Outcome:
    """``violations``: of laws. ``ended``: how each process did. ``coverage``: faults that were at work, and what came
    of them. ``trace``: (virtual seconds, who, what)."""

    schedule: Schedule
    violations: list[str]
    ended: dict[str, str] = field(factory=dict)
    coverage: Counter[str] = field(factory=Counter)
    trace: list[tuple[float, str, str]] = field(factory=list)

    def __str__(self) -> str:
        """What went wrong, how it came about, and how to see it again."""
        told: list[str] = []
        repeated = 0
        for (at, who, what), following in itertools.pairwise([*self.trace, (0.0, "", "")]):
            if (who, what) == following[1:]:
                repeated += 1
                continue
            told.append(f"{at:12.4f}  {who:<9} {what}{f' (the last of {repeated + 1})' if repeated else ''}")
            repeated = 0
        told += [f"VIOLATED: {each}" for each in self.violations]
        told.append(f"schedule: {self.schedule.to_json()}")
        told.append(f"again: python -m tests.simulation.campaign --seed {self.schedule.seed} --trace")
        return "\n".join(told)


def schedules(start_seed: int = 0, *, delivery: str | None = None) -> Iterator[Schedule]:
    """The schedules of the seeds from there on."""
    return (drawn(seed, delivery) for seed in itertools.count(start_seed))


def play(schedule: Schedule) -> Outcome:
    """Everything that the schedule says, and whether the laws held."""
    numbers = itertools.count(1)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # what a run warns of is in the trace
    with (
        patch.object(ChunkSize, "bytes", lambda *_: CHUNK_BYTES),
        patch("uuid.uuid4", lambda: _Id(next(numbers))),
        patch("csv2kafka.pipeline.peak_bytes", lambda: 0),  # it reads a file each time
        tempfile.TemporaryDirectory(dir=_memory()) if schedule.delivery == "file" else _Nowhere() as folder,
    ):
        loop = ActorLoop()
        world = FileWorld(schedule, loop, Path(folder)) if folder else World(schedule, loop)
        try:
            with world.patched():
                loop.play(_played(world))
        except Endless as error:
            world.laws.broken(f"no end: {error}")
        finally:
            logging.disable(level)
        for failure in loop.failures:
            world.laws.broken(f"the world itself fails: {failure}")
    return Outcome(
        schedule,
        violations=world.laws.violations,
        ended={process.name: process.ended or "" for process in world.processes},
        coverage=world.coverage,
        trace=world.trace,
    )


async def _played(world: World) -> None:
    schedule, loop = world.schedule, world.loop
    for happening in schedule.happenings:
        loop.call_later(happening.at, happens, world, happening)
    if schedule.changes_at is not None:
        loop.call_later(schedule.changes_at, world.source_changes)
    begun = asyncio.Event()
    waiting = len(schedule.runs)

    def begin(number: int, plan: RunPlan) -> None:
        nonlocal waiting
        world.begin(f"run-{number}", plan)
        waiting -= 1
        if not waiting:
            begun.set()

    for number, plan in enumerate(schedule.runs, 1):
        loop.call_later(plan.start, begin, number, plan)
    await begun.wait()
    if await _all_ended(world):
        await _to_the_end(world)
    await _disposed(world)


async def _to_the_end(world: World) -> None:
    """No faults any more, and one more run, which has to complete the job."""
    schedule = world.schedule
    # What is late arrives first: a dead run's heartbeat would be taken for life (which is told of in the guarantees).
    await asyncio.sleep(max(0.0, world.faults_until - world.now()))
    world.calm = True
    if schedule.loss is not None:
        await asyncio.sleep(SETTLE_SECONDS)
    must_stop = lose(world, schedule.loss) if schedule.loss is not None else False
    world.laws.lost = must_stop
    last = world.begin("last", RunPlan(start=0.0, store=schedule.runs[0].store))
    if await _all_ended(world):
        await asyncio.sleep(SETTLE_SECONDS)
        check_endings(world, last, must_stop=must_stop)


async def _all_ended(world: World) -> bool:
    """Wait for all processes. A law too: a run that can go on does go on."""
    for process in world.processes:
        while process.ended is None:
            until = max(world.faults_until, process.began) + MOST_SECONDS
            try:
                async with asyncio.timeout(max(0.0, until - world.now())):
                    await process.done.wait()
            except TimeoutError:
                if world.now() >= max(world.faults_until, process.began) + MOST_SECONDS:
                    world.laws.broken(f"{process.name} has not ended {MOST_SECONDS:.0f} s after the last fault")
                    return False
    return True


async def _disposed(world: World) -> None:
    world.net.told = None
    for process in world.processes:
        world.net.dead.add(process.name)
        if process.requests is not None:
            process.requests.dead = True
        await process.actor.dispose()


class _Nowhere:
    def __enter__(self) -> str:
        return ""

    def __exit__(self, *_: object) -> None:
        return None


class _Id:
    """What stands in for a random UUID: the next number."""

    def __init__(self, number: int) -> None:
        self.hex = f"{number:08x}{0:024x}"

    def __str__(self) -> str:
        return self.hex


def _memory() -> str | None:
    """A folder that is no disk, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit code 1 if a law was broken, or a kind of fault or outcome never came."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.campaign", description="Deterministic simulation")
    parser.add_argument("--schedules", type=int, help="how many")
    parser.add_argument("--minutes", type=float, help="for how long")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--delivery", choices=DELIVERIES)
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--schedule", help="this one alone, as JSON")
    parser.add_argument("--trace", action="store_true", help="show what happened")
    parser.add_argument("--failures", type=int, default=5, help="stop after so many")
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    if given.seed is not None or given.schedule:
        schedule = Schedule.from_json(given.schedule) if given.schedule else drawn(given.seed, given.delivery)
        outcome = play(schedule)
        print(outcome if given.trace or outcome.violations else f"every law held: {outcome.ended}")
        return 1 if outcome.violations else 0
    return _campaign(given)


def _campaign(given: argparse.Namespace) -> int:
    began, worked, told, done = time.monotonic(), time.process_time(), 0.0, 0
    coverage: Counter[str] = Counter()
    failures: list[Outcome] = []
    most = given.schedules or (2_000 if given.minutes is None else sys.maxsize)
    gc.disable()  # what dead processes leave behind is in cycles; once in a while is enough
    for schedule in itertools.islice(schedules(given.start, delivery=given.delivery), most):
        if done % COLLECT_EACH == 0:
            gc.collect()
        outcome = play(schedule)
        done += 1
        coverage.update(outcome.coverage)
        coverage[f"schedules: {schedule.delivery}"] += 1
        if outcome.violations:
            failures.append(outcome)
            print(outcome, flush=True)
        seconds = time.monotonic() - began
        if seconds - told > 60:
            told = seconds
            rate = f"{done / seconds:.1f} per second, {done / (time.process_time() - worked):.1f} of the CPU's"
            print(f"{done:,} schedules, {rate}, {len(failures)} failed", flush=True)
        if len(failures) >= given.failures or (given.minutes is not None and seconds > 60 * given.minutes):
            break
    seconds = time.monotonic() - began
    for kind, count in sorted(coverage.items()):
        print(f"{count:>10,}  {kind}")
    worked = time.process_time() - worked
    print(f"{done:,} schedules from seed {given.start} in {seconds:.0f} s: {done / seconds:.1f} per second")
    print(f"{worked:.0f} s of one CPU: {done / worked:.1f} per second of it")
    print(f"{len(failures)} failed: {[outcome.schedule.seed for outcome in failures]}")
    missing = [kind for kind in EXPECTED if not coverage[kind]] if done >= ENOUGH and given.delivery is None else []
    if missing:
        print(f"never happened: {', '.join(missing)}")
    return 1 if failures or missing else 0


if __name__ == "__main__":
    sys.exit(main())
