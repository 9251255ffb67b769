"""What is counted: each run's figures, their medians and spread, ratios within a round, and the bars. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from attrs import field, frozen


@frozen(kw_only=True)
class Run:
    """One run of one peer. ``rows``, ``bytes``: of the CSV. ``seconds``: from the start of the process to its end,
    of the ceiling only the sending. ``own_seconds``: as the peer says, None if it does not. ``problem``: why the
    figures do not count, None if they do."""

    peer: str
    round: int
    rows: int
    bytes: int
    seconds: float
    own_seconds: float | None
    cpu_seconds: float
    broker_cpu_seconds: float
    peak_bytes: int
    problem: str | None

    def limit(self, cores: int) -> float:
        """Rows/s if nothing but the CPU seconds of both held it up."""
        return cores * self.rows / (self.cpu_seconds + self.broker_cpu_seconds)


@frozen(kw_only=True)
class Spread:
    """The median of some rounds, and the smallest and largest."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """None of nothing."""
        found = list(values)
        if not found:
            return None
        return cls(median=statistics.median(found), least=min(found), most=max(found), rounds=len(found))


@frozen(kw_only=True)
class Summary:
    """A peer's valid runs together. ``reported_rate``: rows/s by the time that the peer says itself. ``of_limit``:
    rows/s as a part of what the CPU allows. Everything None where no run counts; ``problems`` says why."""

    rate: Spread | None
    seconds: Spread | None
    megabytes: Spread | None
    reported_rate: Spread | None
    peak_bytes: Spread | None
    cpu_seconds: Spread | None
    broker_cpu_seconds: Spread | None
    limit: Spread | None
    of_limit: Spread | None
    rows: int
    problems: Sequence[str]


def summary(runs: Sequence[Run], cores: int) -> Summary:
    valid = [run for run in runs if run.problem is None]

    def spread(value: Callable[[Run], float | None]) -> Spread | None:
        return Spread.of(each for run in valid if (each := value(run)) is not None)

    return Summary(
        rate=spread(lambda run: run.rows / run.seconds),
        seconds=spread(lambda run: run.seconds),
        megabytes=spread(lambda run: run.bytes / run.seconds / 1e6),
        reported_rate=spread(lambda run: run.rows / run.own_seconds if run.own_seconds else None),
        peak_bytes=spread(lambda run: run.peak_bytes),
        cpu_seconds=spread(lambda run: run.cpu_seconds),
        broker_cpu_seconds=spread(lambda run: run.broker_cpu_seconds),
        limit=spread(lambda run: run.limit(cores)),
        of_limit=spread(lambda run: run.rows / run.seconds / run.limit(cores)),
        rows=max((run.rows for run in runs), default=0),
        problems=sorted({run.problem for run in runs if run.problem is not None}),
    )


def ratio(runs: Sequence[Run], one: str, other: str, *, reported: bool = False) -> Spread | None:
    """How many times the rows/s of ``other`` one has, each round by itself. None if there is no such round.

    ``reported``: by the time that each says itself.
    """

    def rates(peer: str) -> dict[int, float]:
        counted = [run for run in runs if run.peer == peer and run.problem is None]
        seconds = {run.round: run.own_seconds if reported else run.seconds for run in counted}
        return {run.round: run.rows / each for run in counted if (each := seconds[run.round])}

    ours, theirs = rates(one), rates(other)
    return Spread.of(ours[each] / theirs[each] for each in sorted(ours.keys() & theirs.keys()))


@frozen(kw_only=True)
class Bar:
    """What is asked for and what was measured. ``passed``: None if it was not measured, which ``why`` explains."""

    what: str
    unit: str
    bound: float
    sense: Literal["at least", "at most"] = "at least"
    aim: float | None = None
    measured: Spread | None
    why: str = ""
    passed: bool | None = field(init=False)

    @passed.default
    def _passes(self) -> bool | None:
        if self.measured is None:
            return None
        return self.reaches(self.bound)

    def reaches(self, bound: float) -> bool:
        """Whether the median does."""
        assert self.measured is not None
        return self.measured.median >= bound if self.sense == "at least" else self.measured.median <= bound
