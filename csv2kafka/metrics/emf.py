"""CloudWatch's Embedded Metric Format: a JSON object a line, from which CloudWatch Logs makes metrics.

A line has what counters have grown by since the line before, so that CloudWatch's Sum is right; one that could not be
written is made up for by the next. CloudWatch keeps such metrics by the minute.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from csv2kafka.errors import ConfigError
from csv2kafka.metrics.measures import LATEST_VALUES, Distribution, Measures
from csv2kafka.metrics.table import METRICS, PREFIX, Kind
from csv2kafka.model import Event

EVERY_SECONDS = 10.0
DIMENSION = "Job"

_log = logging.getLogger(__name__)


class EmfMetrics:
    """Writes a line every ``every`` seconds and one at the end, once the job's name is known.

    path: appended to; None is standard error. clock gives seconds, now those since 1970.
    An event, or ``tick()``, is what a line may be written at; where events may be far apart, call ``tick`` each second.
    A file that fails later is told of once, by a warning. Raises ConfigError if it cannot be opened.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        every: float = EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._measures = Measures(clock=clock)
        self._out: _Out = _Stderr() if path is None else _File(Path(path))
        self._every = every
        self._clock = clock
        self._now = now
        self._due_at = clock() + every
        self._told: dict[str, float] = {}  # counters as the lines written so far have them
        self._closed = False

    def __call__(self, event: Event) -> None:
        self._measures.add(event)
        if len(self._measures.commit_seconds.latest) == LATEST_VALUES:
            self._write()
        else:
            self.tick()

    def tick(self) -> None:
        """Write a line, if it is time."""
        if self._clock() >= self._due_at:
            self._write()

    def close(self) -> None:
        """Write the last line. What was not told yet is in it."""
        if not self._closed:
            self._closed = True
            self._write()
            self._out.close()

    def _write(self) -> None:
        self._due_at = self._clock() + self._every
        if not self._measures.job:
            return
        values, totals = self._values()
        # No value of a distribution may stand in two lines, but what a counter lacks the next line can have.
        if self._out.write(json.dumps(self._document(values)) + "\n"):
            self._told = totals
        for metric in METRICS:
            if isinstance(value := metric.read(self._measures), Distribution):
                value.latest.clear()

    def _values(self) -> tuple[dict[str, Any], dict[str, float]]:
        """What the line has by metric, and the counters' totals with it."""
        values: dict[str, Any] = {}
        totals: dict[str, float] = {}
        for metric in METRICS:
            value = metric.read(self._measures)
            if isinstance(value, Distribution):
                if value.latest:
                    values[metric.emf] = [round(each, 6) for each in value.latest]
            elif value is not None and metric.kind is Kind.COUNTER:
                totals[metric.emf] = value
                values[metric.emf] = value - self._told.get(metric.emf, 0)
            elif value is not None:
                values[metric.emf] = round(value, 3)
        return values, totals

    def _document(self, values: dict[str, Any]) -> dict[str, Any]:
        """``event`` and ``at`` are those of all JSON lines of the command."""
        at = self._now()
        directive = {
            "Namespace": PREFIX,
            "Dimensions": [[DIMENSION]],
            "Metrics": [{"Name": m.emf, "Unit": m.unit.value} for m in METRICS if m.emf in values],
        }
        return {
            "event": "metrics",
            "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
            "_aws": {"Timestamp": int(at * 1000), "CloudWatchMetrics": [directive]},
            DIMENSION: self._measures.job,
            "RunId": self._measures.run_id,
            **values,
        }


class _Out(Protocol):
    def write(self, line: str) -> bool:
        """Whether the whole line was written."""
        ...

    def close(self) -> None: ...


class _Stderr:
    """Standard error as it is now: a progress display may stand in its place for a while."""

    def write(self, line: str) -> bool:
        try:
            sys.stderr.write(line)
            sys.stderr.flush()
        except (OSError, ValueError):  # nobody reads any more: no reason to stop the run
            return False
        return True

    def close(self) -> None:
        pass


class _File:
    """A file that lines are appended to, each by one call, so that those of several runs do not mix.

    A pipe is never waited for: its reader has to be there, and what it does not take is left out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._warned = False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        except OSError as error:
            why = "nothing reads this pipe" if error.errno == errno.ENXIO else error.strerror
            raise ConfigError(
                f"metrics: expected a file that can be appended to, found {str(path)!r}: {why}",
                hint="give another file",
            ) from error
        self._torn = self._ends_amid_a_line()

    def write(self, line: str) -> bool:
        data = b"\n" * self._torn + line.encode()
        try:
            written = os.write(self._file, data)
            if written < len(data):
                self._torn = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # what else ends a write early
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning("metrics cannot be written to %s: %s; the run goes on", self._path, error.strerror)
            return False
        self._torn = False
        return True

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._file)

    def _ends_amid_a_line(self) -> bool:
        """Of an earlier run, whose disk was full."""
        there = os.fstat(self._file)
        if not stat.S_ISREG(there.st_mode) or not there.st_size:
            return False
        with suppress(OSError), self._path.open("rb") as file:  # it may be for writing only
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
        return False
