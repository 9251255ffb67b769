"""What a run's events add up to: the numbers behind every metric."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

from attrs import Factory, define, field

from csv2kafka.model import (
    Checkpoint,
    Committed,
    Event,
    LeaseRenewed,
    SessionOpened,
    Started,
    StoreAway,
    Waiting,
)

LATEST_VALUES = 100  # as many as CloudWatch takes in one array
COMMIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


@define
class Distribution:
    """Values by size. ``bounds``: of the buckets, each included; ``counts`` has one more, for what is above them all.

    ``latest``: the last values; whoever tells of each value takes them away.
    """

    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    sum: float = 0.0
    latest: deque[float] = Factory(lambda: deque(maxlen=LATEST_VALUES))

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
        self.latest.append(value)


@define(kw_only=True)
class Measures:
    """The state of a run as far as events tell it. ``clock`` gives seconds.

    Counts are of this run alone, and of what is committed: ``job_rows`` is the whole job's. ``lag_bytes`` is None
    while it is not known, ``lease_age`` is None where no lease was renewed (yet).
    """

    clock: Callable[[], float]
    job: str = ""
    run_id: str = ""
    rows: int = 0
    bad_rows: int = 0
    decoded_bytes: int = 0
    commits: int = 0
    job_rows: int | None = None
    commit_seconds: Distribution = Factory(lambda: Distribution(COMMIT_BUCKETS))
    retries: int = 0
    sessions: int = 0
    store_failures: int = 0
    complete: bool = False
    _total_bytes: int | None = None
    _start: Checkpoint | None = None
    _start_bytes: int = 0  # of the objects' own bytes, as are the next
    _committed_bytes: int = 0
    _renewed_at: float | None = None

    def add(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Started):
            self.job, self.run_id, self._total_bytes = event.job, event.run_id, event.total_bytes
        elif isinstance(event, SessionOpened):
            self.sessions += 1
            self._committed(event.checkpoint, event.source_bytes)
        elif isinstance(event, Committed):
            self.commit_seconds.observe(event.seconds)
            self._committed(event.checkpoint, event.source_bytes)
        elif isinstance(event, Waiting):
            self.retries += 1
        elif isinstance(event, LeaseRenewed):
            self._renewed_at = self.clock()
        elif isinstance(event, StoreAway):
            self.store_failures += 1

    @property
    def source_bytes(self) -> int:
        """The objects' own bytes committed by this run."""
        return self._committed_bytes - self._start_bytes

    @property
    def lag_bytes(self) -> int | None:
        """Own bytes from the last commit to the source's end."""
        if self.complete:
            return 0
        if self._total_bytes is None or self._start is None:
            return None
        return max(0, self._total_bytes - self._committed_bytes)

    @property
    def lease_age(self) -> float | None:
        """Seconds since the lease was renewed."""
        return None if self._renewed_at is None else max(0.0, self.clock() - self._renewed_at)

    def _committed(self, point: Checkpoint, source_bytes: int) -> None:
        """``point`` is durable. That of a new session also counts commits whose answers were lost."""
        self.job = self.job or point.job
        # A compressed object is resumed from before the commit, and so even at its end.
        passed = self._total_bytes if point.complete and self._total_bytes is not None else source_bytes
        if self._start is None:
            self._start, self._start_bytes = point, passed
        start = self._start
        # No count ever falls: the sums of those who watch would be wrong.
        self.rows = max(self.rows, point.counts.rows - start.counts.rows)
        self.bad_rows = max(self.bad_rows, point.counts.bad_rows - start.counts.bad_rows)
        self.decoded_bytes = max(self.decoded_bytes, point.counts.bytes - start.counts.bytes)
        self.commits = max(self.commits, point.transactions - start.transactions)
        self.job_rows, self.complete = point.counts.rows, point.complete
        self._committed_bytes = max(self._committed_bytes, passed)
