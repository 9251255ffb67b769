"""Displays that write lines: plain for logs, JSON for programs, and none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self

from csv2kafka.cli.echo import as_json
from csv2kafka.cli.failure import error_facts, tell
from csv2kafka.cli.printable import lines_of_it
from csv2kafka.cli.progress.outcome import counted, outcome
from csv2kafka.cli.progress.tally import Tally, clock_time, megabytes
from csv2kafka.cli.progress.words import Words
from csv2kafka.cli.redact import redacted
from csv2kafka.errors import Csv2KafkaError
from csv2kafka.model import (
    Committed,
    Event,
    LeaseRenewed,
    Progressed,
    RowRefused,
    SessionOpened,
    Started,
    StoreAway,
    Waiting,
)
from csv2kafka.model.report import Report

PLAIN_SECONDS = 10.0
SILENT_SECONDS = 2.0  # then it is said what is being waited for
JSON_SECONDS = 1.0


class QuietDisplay:
    """Nothing but errors. The others build on it."""

    def __init__(self, *, clock: Callable[[], float], words: Words) -> None:
        self._tally = Tally(clock=clock)
        self._words = words
        self._clock = clock
        self._next = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on_event(self, event: Event) -> None:
        self._tally.add(event)

    def tick(self) -> None:
        pass

    def stopping(self) -> None:
        pass

    def finished(self, report: Report) -> None:
        pass

    def failed(self, error: Csv2KafkaError, *, debug: bool) -> None:
        tell(error, debug=debug)

    def _doing(self) -> str:
        """What goes on while nothing moves yet."""
        return self._words.opening if self._tally.job else self._words.looking

    def _write(self, line: str) -> None:
        """A reader that went away is no reason to stop the run."""
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def _due(self, every: float) -> bool:
        if self._clock() < self._next:
            return False
        self._next = self._clock() + every
        return True


class PlainDisplay(QuietDisplay):
    """A line every ten seconds, and one for each thing that happens."""

    def __init__(self, *, clock: Callable[[], float], words: Words) -> None:
        super().__init__(clock=clock, words=words)
        self._begun = clock()
        self._next = self._begun + SILENT_SECONDS

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if isinstance(event, Started):
            size = "of unknown size" if event.total_bytes is None else megabytes(event.total_bytes)
            self._write(f"job {event.job}: {counted(event.objects, 'object')}, {size}")
        elif isinstance(event, SessionOpened):
            self._next = self._clock() + PLAIN_SECONDS
            rows = event.checkpoint.counts.rows
            if rows or event.number > 1:
                self._write(f"going on after row {rows + event.checkpoint.counts.bad_rows:,}")
        elif isinstance(event, Waiting):
            self._write(f"waiting: {event.reason}; trying again in {event.seconds:.1f} s")

    def tick(self) -> None:
        if not self._due(PLAIN_SECONDS):
            return
        waiting = self._tally.waiting
        if self._tally.moving:
            self._write(progress_line(self._tally))
        else:
            doing = f"waiting: {waiting.reason}" if waiting else self._doing()
            self._write(f"{doing} … ({self._clock() - self._begun:.0f} s)")

    def _write(self, line: str) -> None:
        super()._write(lines_of_it(redacted(line)))

    def stopping(self) -> None:
        self._write(self._words.stopping)

    def finished(self, report: Report) -> None:
        for line in outcome(report, self._words):
            self._write(line)


class JsonDisplay(QuietDisplay):
    """One object a line, each with ``event`` and ``at``; docs/report.md has them all."""

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if isinstance(event, Progressed):
            self.tick()
        elif not isinstance(event, LeaseRenewed | StoreAway):  # the latter is a warning
            self._tell(**_facts(event))

    def tick(self) -> None:
        tally = self._tally
        if not tally.moving or not self._due(JSON_SECONDS):
            return
        rates = tally.rates()
        left = tally.seconds_left()
        self._tell(
            event="progress",
            rows=tally.rows,
            bad_rows=tally.bad_rows,
            committed_rows=tally.committed_rows,
            source_bytes=tally.source_bytes,
            total_bytes=tally.total_bytes,
            rows_per_second=round(rates[0]) if rates else None,
            bytes_per_second=round(rates[1]) if rates else None,
            seconds_left=None if left is None else round(left, 1),
        )

    def stopping(self) -> None:
        self._tell(event="stopping")

    def finished(self, report: Report) -> None:
        self._tell(event="finished", report=report.as_dict())

    def failed(self, error: Csv2KafkaError, *, debug: bool) -> None:
        self._tell(event="failed", **error_facts(error))

    def _tell(self, **facts: Any) -> None:
        event = facts.pop("event")
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._write(as_json({"event": event, "at": at, **facts}))


def progress_line(tally: Tally) -> str:
    """``45 %  1,200,000 rows  120,000 rows/s  14.2 MB/s  1:20 left  committed 1,190,000``."""
    rates = tally.rates()
    parts = [] if tally.share is None else [f"{tally.share:.0%}"]
    parts.append(f"{tally.rows:,} rows")
    if rates is not None:
        parts += [f"{rates[0]:,.0f} rows/s", f"{rates[1] / 1e6:.1f} MB/s"]
    left = tally.seconds_left()
    if left is not None:
        parts.append(f"{clock_time(left)} left")
    if tally.sessions:
        parts.append(f"committed {tally.committed_rows:,}")
    if tally.bad_rows:
        parts.append(f"{tally.bad_rows:,} bad")
    if tally.waiting is not None:
        parts.append(f"waiting: {tally.waiting.reason}")
    return "  ".join(parts)


def _facts(event: Event) -> dict[str, Any]:
    if isinstance(event, Started):
        return {
            "event": "started",
            "job": event.job,
            "run_id": event.run_id,
            "objects": event.objects,
            "total_bytes": event.total_bytes,
        }
    if isinstance(event, SessionOpened):
        counts = event.checkpoint.counts
        return {"event": "session", "number": event.number, "rows": counts.rows, "bad_rows": counts.bad_rows}
    if isinstance(event, Committed):
        point = event.checkpoint
        return {
            "event": "committed",
            "rows": point.counts.rows,
            "next_offset": point.sink.offsets.get("data"),
            "complete": point.complete,
            "seconds": round(event.seconds, 3),
        }
    if isinstance(event, RowRefused):
        row = event.row
        return {
            "event": "bad_row",
            "source": row.source,
            "row": row.row,
            "line": row.line,
            "byte": row.byte,
            "reason": row.reason,
        }
    assert isinstance(event, Waiting)
    return {"event": "waiting", "reason": event.reason, "seconds": round(event.seconds, 1), "attempt": event.attempt}
