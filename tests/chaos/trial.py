"""One fault, brought about once: what it may use, and what it leaves as its result."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from attrs import Factory, define, frozen

from csv2kafka.errors import Unreachable
from tests.chaos.compare import Outcome
from tests.chaos.job import LONGEST_SECONDS, Interrupted, Job, Problem, Run, Source
from tests.chaos.places import Place

NOTHING_FOUND = Outcome()
NO_BROKER = "a broker did not come up in time"


@frozen(kw_only=True)
class Result:
    """``times``: it was brought about. ``kills``: of the job, by SIGKILL. ``go_on``: seconds to the first new row that
    was committed, each time.
    ``read_again``: bytes of the source, after each kill that was looked at. ``problem``: what was wrong besides rows.
    ``skipped``: why it could not be brought about here."""

    fault: str
    seed: int
    seconds: float
    times: int = 0
    kills: int = 0
    outcome: Outcome = NOTHING_FOUND
    go_on: Sequence[float] = ()
    read_again: Sequence[int] = ()
    codes: Sequence[int] = ()
    problem: str = ""
    skipped: str = ""

    @property
    def clean(self) -> bool:
        return self.outcome.exact and not self.problem


class Skip(Exception):
    """It cannot be brought about on this machine."""


@define(eq=False, kw_only=True)
class Trial:
    """``brief``: as short as it can be. ``directory``: of its own. ``small``, ``middle``, ``large``: CSVs."""

    fault: str
    seed: int
    place: Place
    directory: Path
    stopping: threading.Event
    brief: bool
    small: Source
    middle: Source
    large: Source
    draw: random.Random = Factory(lambda self: random.Random(self.seed), takes_self=True)
    times: int = 0
    kills: int = 0
    go_on: list[float] = Factory(list)
    read_again: list[int] = Factory(list)
    jobs: list[Job] = Factory(list)
    outcome: Outcome = NOTHING_FOUND
    _judged: set[str] = Factory(set)
    _given_up: bool = False

    def job(
        self, *, source: Source | None = None, servers: str = "", output: Path | None = None, **more: object
    ) -> Job:
        """A job with a topic of its own. More: of ``Job``."""
        name = f"{self.fault}-{self.seed}-{len(self.jobs)}"
        if output is None:
            self.place.create_topic(name)
        job = Job(
            source=source or self.middle,
            name=name,
            servers=servers or self.place.servers,
            topic=name,
            directory=self.directory,
            pause=self.pause,
            output=output,
            **more,  # type: ignore[arg-type]
        )
        self.jobs.append(job)
        return job

    def pause(self, seconds: float) -> None:
        """Sleep, unless all is to end."""
        if self.stopping.wait(seconds):
            raise Interrupted

    def until(self, true: Callable[[], bool], what: str, seconds: float = LONGEST_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise Problem(f"waited {seconds:.0f} s until {what}")
            self.pause(0.05)

    def kill(self, run: Run) -> bool:
        """SIGKILL; counted if it struck."""
        struck = run.kill()
        self.kills += struck
        return struck

    def goes_on(self, run: Run, since: float, *, after: float | None = None) -> None:
        """Wait for the first new row that is committed behind ``after`` (default: ``since``), and note how long it was
        from ``since``. Nothing is noted if the run ends before."""
        behind = since if after is None else after
        if run.until(lambda: run.rows >= 0 and run.commits[-1].at > behind):
            self.go_on.append(next(commit.at for commit in run.commits if commit.at > behind) - since)

    def settle(self) -> None:
        """Bring every job to its end, and judge it: while the place is there."""
        for job in self.jobs:
            if job.name not in self._judged and not self._given_up:
                job.close()
                job.finish()
        self.judge()

    def judge(self) -> None:
        """Every job that was not, as it is."""
        for job in self.jobs:
            if job.name not in self._judged:
                self._judged.add(job.name)
                job.close()
                self.outcome += job.judge(self.place.servers)

    def give_up(self) -> None:
        """Something went wrong: jobs are judged where they stand."""
        self._given_up = True

    def close(self) -> None:
        for job in self.jobs:
            job.close()

    def stands_still(self, run: Run, since: float, *, until: float) -> None:
        """Wait for a commit behind ``until``, and note the longest time from ``since`` to then without one."""
        if run.until(lambda: run.rows >= 0 and run.commits[-1].at > until):
            times = [since, *(commit.at for commit in run.commits if commit.at > since)]
            last = next(number for number, at in enumerate(times) if at > until)
            self.go_on.append(max(later - earlier for earlier, later in pairwise(times[: last + 1])))

    def lasts(self, brief: float, long: float) -> float:
        return brief if self.brief else long


def tried(trial: Trial, fault: Callable[[Trial], None]) -> Result:
    """Bring it about, bring its jobs to their ends, and judge them. Raises Interrupted only."""
    began = time.monotonic()
    problems, skipped = [], ""
    try:
        steps: tuple[Callable[[], None], ...] = (partial(fault, trial), trial.settle, trial.judge)
        for step in steps:
            try:
                step()
            except Skip as error:
                skipped = str(error)
            except Unreachable:  # of ours: jobs are processes of their own
                skipped = NO_BROKER
            except Problem as error:
                problems.append(str(error))
            except Interrupted:
                raise
            except Exception:
                problems.append(traceback.format_exc())
            if skipped:
                break
            if problems:
                trial.give_up()
    finally:
        trial.close()
    return Result(
        fault=trial.fault,
        seed=trial.seed,
        seconds=time.monotonic() - began,
        times=trial.times,
        kills=trial.kills,
        outcome=trial.outcome,
        go_on=trial.go_on,
        read_again=trial.read_again,
        codes=[run.code for job in trial.jobs for run in job.runs if run.code is not None],
        problem="\n".join(problems).strip(),
        skipped=skipped,
    )
