"""Brings faults about, several at a time, until the time is over; leaves nothing behind but what was found."""

from __future__ import annotations

import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import Factory, define

from tests.chaos.job import Interrupted, Source
from tests.chaos.places import OneBroker, Place, ThreeBrokers
from tests.chaos.table import FAULTS, Lane
from tests.chaos.trial import Result, Trial, tried

ROWS = {"small": 300, "middle": 60_000, "large": 400_000}
BRIEF_ROWS = {"small": 300, "middle": 30_000, "large": 30_000}
THREADS: dict[Lane, int] = {"kills": 4, "broker": 2, "own": 1, "cluster": 1}
POLL_SECONDS = 0.1


@define(kw_only=True, eq=False)
class Campaign:
    """``minutes``: None for one brief round. ``kills``: after so many, the lane of kills is done.
    ``trial``: the seed of one, which alone is tried, as often as ``only`` has names."""

    seed: int
    minutes: float | None
    kills: int
    only: Collection[str]
    trial: int | None = None
    keep: Path
    results: list[Result] = Factory(list)
    stopping: threading.Event = Factory(threading.Event)
    _lock: threading.Lock = Factory(threading.Lock)
    _failed: list[BaseException] = Factory(list)

    def run(self) -> None:
        """Until it is over or interrupted; what was found so far is in ``results``."""
        deadline = time.monotonic() + 60 * (self.minutes or 0)
        directory = Path(tempfile.mkdtemp(prefix="csv2kafka-chaos-"))
        try:
            sources = tuple(
                Source.made(directory / f"{name}.csv", rows)
                for name, rows in (BRIEF_ROWS if self.minutes is None else ROWS).items()
            )
            groups: list[tuple[type[OneBroker] | type[ThreeBrokers], list[Lane]]] = [
                (OneBroker, ["kills", "broker", "own"]),
                (ThreeBrokers, ["cluster"]),
            ]
            over = [threading.Event() for _ in groups]
            for end, (kind, lanes) in zip(over, groups, strict=True):
                threading.Thread(target=self._guarded, args=(end, kind, lanes, directory, sources, deadline)).start()
            try:
                _wait(over)
            finally:
                self.stopping.set()
                _wait(over)
            if self._failed:
                raise self._failed[0]
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _guarded(self, end: threading.Event, *args: object) -> None:
        try:
            self._at_place(*args)  # type: ignore[arg-type]
        except Interrupted:
            pass
        except BaseException as error:
            self._failed.append(error)
            self.stopping.set()
        finally:
            end.set()

    def _at_place(
        self,
        kind: type[OneBroker] | type[ThreeBrokers],
        lanes: Sequence[Lane],
        directory: Path,
        sources: tuple[Source, Source, Source],
        deadline: float,
    ) -> None:
        """Start the place, if anything is to be done there, and work in it with several threads."""
        wanted = [lane for lane in lanes if any(FAULTS[name].lane == lane for name in self.only)]
        if not wanted:
            return
        with kind.at(directory / kind.__name__).running() as place:
            threads = []
            for lane in wanted:
                due = self._due(lane)
                threads += [
                    threading.Thread(target=self._lane, args=(lane, due, place, directory, sources, deadline))
                    for _ in range(THREADS[lane])
                ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _due(self, lane: Lane) -> Iterator[tuple[str, int]]:
        """Faults in rounds, each with a seed of its own; once each in a brief campaign."""
        names = [name for name, fault in FAULTS.items() if name in self.only and fault.lane == lane]
        if self.trial is not None:
            yield from ((name, self.trial) for name in names)
            return
        if self.minutes is None:
            yield from ((name, self._seed(name, 0)) for name in names)
            return
        for number in itertools.count():
            for name in names:
                if number % FAULTS[name].every == 0:
                    yield name, self._seed(name, number)

    def _seed(self, name: str, number: int) -> int:
        return random.Random(f"{self.seed} {name} {number}").randrange(10**8)

    def _lane(
        self,
        lane: Lane,
        due: Iterator[tuple[str, int]],
        place: Place,
        directory: Path,
        sources: tuple[Source, Source, Source],
        deadline: float,
    ) -> None:
        try:
            while not self.stopping.is_set():
                with self._lock:
                    enough = lane == "kills" and sum(each.kills for each in self.results) >= self.kills > 0
                    next_one = None if enough else next(due, None)
                if next_one is None or (self.minutes is not None and time.monotonic() > deadline):
                    return
                self._one(*next_one, place, directory, sources)
        except Interrupted:
            pass
        except BaseException as error:
            self._failed.append(error)
            self.stopping.set()

    def _one(self, name: str, seed: int, place: Place, directory: Path, sources: tuple[Source, Source, Source]) -> None:
        own = directory / f"{name}-{seed}"
        own.mkdir()
        trial = Trial(
            fault=name,
            seed=seed,
            place=place,
            directory=own,
            stopping=self.stopping,
            brief=self.minutes is None,
            small=sources[0],
            middle=sources[1],
            large=sources[2],
        )
        result = tried(trial, FAULTS[name].bring)
        with self._lock:
            self.results.append(result)
            tell(result)
        if not result.clean:
            _keep(own, self.keep / own.name)
        if trial.place is place and not result.skipped:
            for job in trial.jobs:
                with suppress(Exception):  # it only takes room
                    place.delete_topic(job.topic)
        shutil.rmtree(own, ignore_errors=True)


def _wait(ends: Sequence[threading.Event]) -> None:
    """Not by ``join``: interrupted amid it, Python takes a living thread for one that has ended."""
    while not all(end.is_set() for end in ends):
        time.sleep(POLL_SECONDS)


def tell(result: Result) -> None:
    """A line, when it is over."""
    found = result.outcome
    counts = f"{found.rows} rows, {found.lost} lost, {found.doubled} doubled, {found.disordered} disordered"
    if found.foreign:
        counts += f", {found.foreign} foreign"
    told = (result.skipped and f"skipped: {result.skipped}") or f"{counts}, {result.kills} kills"
    stamp = time.strftime("%H:%M:%S")
    print(f"{stamp} {result.fault} (seed {result.seed}, {result.seconds:.0f} s): {told}", flush=True)
    if not result.clean:
        print(f"  NOT AS IT SHOULD BE: {result.problem}", file=sys.stderr, flush=True)


def _keep(directory: Path, there: Path) -> None:
    """Logs of what went wrong, and checkpoint databases."""
    there.mkdir(parents=True, exist_ok=True)
    for path in directory.rglob("*"):
        if path.suffix in (".log", ".db", ".other") and path.is_file() and "data" not in path.parts:
            shutil.copy(path, there / path.name)
