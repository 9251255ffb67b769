"""What events add up to: rows, rates, the estimated end, the last commit, what is being waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field

from csv2kafka.model import Committed, Event, Progressed, SessionOpened, Started, Waiting

WINDOW_SECONDS = 15.0
SAMPLE_SECONDS = 0.1  # small chunks come oftener
_WINDOW_SAMPLES = 256  # more than the window has
SURE_SECONDS = 1.0  # a rate over less says nothing


@define(kw_only=True)
class Tally:
    """The state of a run as far as events tell it. ``clock`` gives seconds."""

    clock: Callable[[], float]
    job: str = ""
    objects: int = 0
    total_bytes: int | None = None
    rows: int = 0
    bad_rows: int = 0
    source_bytes: int = 0
    sessions: int = 0
    committed_rows: int = 0
    committed_at: float | None = None
    waiting: Waiting | None = None
    waiting_since: float = 0.0
    _samples: deque[tuple[float, int, int]] = field(factory=lambda: deque(maxlen=_WINDOW_SAMPLES))

    def add(self, event: Event) -> None:
        """Take an event in. Of some there is nothing to be shown."""
        if isinstance(event, Started):
            self.job, self.objects, self.total_bytes = event.job, event.objects, event.total_bytes
        elif isinstance(event, SessionOpened):
            point = event.checkpoint
            self.sessions, self.waiting = event.number, None
            self.rows = self.committed_rows = point.counts.rows
            self.bad_rows = point.counts.bad_rows
            # What was done before this session is no measure of its speed.
            self._samples.clear()
            if point.position.object_index == 0:
                self.source_bytes = point.position.resume.offset
                self._sample()
        elif isinstance(event, Progressed):
            self.rows, self.bad_rows, self.source_bytes = event.rows, event.bad_rows, event.source_bytes
            self._sample()
        elif isinstance(event, Committed):
            self.committed_rows, self.committed_at = event.checkpoint.counts.rows, self.clock()
        elif isinstance(event, Waiting):
            self.waiting, self.waiting_since = event, self.clock()

    @property
    def moving(self) -> bool:
        """Whether there is progress to tell of. A verification has no sessions."""
        return self.sessions > 0 or self.rows > 0

    def _sample(self) -> None:
        now = self.clock()
        if len(self._samples) > 1 and now - self._samples[-2][0] < SAMPLE_SECONDS:
            self._samples.pop()
        self._samples.append((now, self.rows, self.source_bytes))

    def rates(self) -> tuple[float, float] | None:
        """Rows and source bytes a second, over the last seconds; None in a session's first second."""
        now = self.clock()
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_SECONDS:
            self._samples.popleft()
        if not self._samples or now - self._samples[0][0] < SURE_SECONDS:
            return None
        (since, rows, size), last = self._samples[0], self._samples[-1]
        return max(0.0, (last[1] - rows) / (now - since)), max(0.0, (last[2] - size) / (now - since))

    @property
    def share(self) -> float | None:
        """The part of the source that is passed, 0 to 1; None while its size is not known."""
        if self.total_bytes is None:
            return None
        return min(1.0, self.source_bytes / self.total_bytes) if self.total_bytes else 1.0

    def seconds_left(self) -> float | None:
        """An estimate from the last seconds' rate."""
        rates = self.rates()
        if self.total_bytes is None or rates is None or not rates[1]:
            return None
        return max(0, self.total_bytes - self.source_bytes) / rates[1]

    def commit_age(self) -> float | None:
        """Seconds since the last commit of this run."""
        return None if self.committed_at is None else self.clock() - self.committed_at

    def wait_left(self) -> float:
        """Seconds until the next attempt."""
        return 0.0 if self.waiting is None else max(0.0, self.waiting.seconds - (self.clock() - self.waiting_since))


def megabytes(count: float) -> str:
    """1,500,000 → ``1.5 MB``."""
    for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {name}"
    return f"{count:.0f} bytes"


def clock_time(seconds: float) -> str:
    """3661 → ``1:01:01``, 75 → ``1:15``."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
