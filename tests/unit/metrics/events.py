"""A run as its events tell it, and a clock that is set by hand."""

from __future__ import annotations

from attrs import define

from csv2kafka.model import Checkpoint, Committed, Counts, Event, Progressed, SessionOpened, Started

JOB = "orders"
RUN = "r1"


@define
class Clock:
    """Seconds."""

    at: float = 100.0

    def __call__(self) -> float:
        return self.at


def point(rows: int = 0, bad: int = 0, size: int = 0, commits: int = 0, *, complete: bool = False) -> Checkpoint:
    counts = Counts(rows=rows, bad_rows=bad, bytes=size)
    return Checkpoint(job=JOB, run_id=RUN, counts=counts, transactions=commits, complete=complete)


def started(total: int | None = 1000) -> Event:
    return Started(job=JOB, run_id=RUN, objects=1, total_bytes=total)


def opened(start: Checkpoint, *, number: int = 1, source_bytes: int = 0) -> Event:
    return SessionOpened(number=number, checkpoint=start, source_bytes=source_bytes)


def progressed(source_bytes: int) -> Event:
    return Progressed(rows=0, bad_rows=0, source_bytes=source_bytes, uri="a.csv")


def committed(checkpoint: Checkpoint, seconds: float = 0.02, *, source_bytes: int = 0) -> Event:
    return Committed(checkpoint=checkpoint, seconds=seconds, source_bytes=source_bytes)
