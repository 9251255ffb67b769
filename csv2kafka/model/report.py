"""What a run, and a verification, ends with. Schema: docs/report.md."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from attrs import asdict, frozen

from csv2kafka.model.flow import DeadLetter
from csv2kafka.model.state import Checkpoint, Manifest

REPORT_VERSION = 1
BAD_ROWS_NAMED = 10


@frozen(kw_only=True)
class Report:
    """A run's outcome, from ``Pipeline.run()``; ``Pipeline.report`` gives it at any time.

    ``checkpoint``: the last that counts (its counts are the whole job's). ``resumed_from_row``: rows that
    earlier runs had done. ``seconds`` and ``rows_per_second``: of this run alone. ``sessions``: how often a
    session was opened. ``peak_memory_bytes``: of the process. ``bad_rows``: the first ten refused in this run.
    ``already_complete``: there was nothing left to do.
    """

    checkpoint: Checkpoint
    manifest: Manifest
    destination: str
    resumed_from_row: int = 0
    rows_this_run: int = 0
    seconds: float = 0.0
    sessions: int = 0
    peak_memory_bytes: int = 0
    bad_rows: tuple[DeadLetter, ...] = ()
    already_complete: bool = False

    @property
    def rows_per_second(self) -> float:
        return self.rows_this_run / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON object."""
        point, sink = self.checkpoint, self.checkpoint.sink
        return {
            "report_version": REPORT_VERSION,
            "job": point.job,
            "run_id": point.run_id,
            "complete": point.complete,
            "already_complete": self.already_complete,
            "completed_at": point.at.isoformat() if point.complete else None,
            "destination": self.destination,
            "rows": point.counts.rows,
            "bad_rows": point.counts.bad_rows,
            "bytes": point.counts.bytes,
            "content_hash": str(point.content_hash),
            "first_offset": sink.first_offset,
            "last_offset": last_offset(point),
            "transactions": point.transactions,
            "generation": point.generation,
            "resumed_from_row": self.resumed_from_row,
            "rows_this_run": self.rows_this_run,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows_per_second),
            "sessions": self.sessions,
            "peak_memory_bytes": self.peak_memory_bytes,
            "sources": [{"uri": u, "size": s, "version": v} for u, s, v in self.manifest.objects],
            "first_bad_rows": [
                {"source": row.source, "row": row.row, "line": row.line, "byte": row.byte, "reason": row.reason}
                for row in self.bad_rows
            ],
        }

    def to_json(self) -> str:
        """``as_dict`` as indented JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)


@frozen(kw_only=True)
class VerifyReport:
    """What verify found. ``besides``: records of others between the job's first and last, ``behind``: after its
    last. Offsets are Kafka's.

    ``difference``: the first place where topic and CSV are not equal, None if they are.
    """

    rows: int
    bad_rows: int
    besides: int
    behind: int
    first_offset: int | None
    last_offset: int | None
    seconds: float
    difference: str | None = None

    @property
    def equal(self) -> bool:
        return self.difference is None

    def to_json(self) -> str:
        """All fields as indented JSON, ``equal`` among them."""
        return json.dumps({"equal": self.equal, **asdict(self)}, indent=2, ensure_ascii=False)


def last_offset(checkpoint: Checkpoint) -> int | None:
    """Where the job's last row stands at most: one before the sink's next free place (markers take offsets too)."""
    following = checkpoint.sink.offsets.get("data")
    return None if not following or not checkpoint.counts.rows else following - 1


def local_time(moment: datetime) -> str:
    """A time as a person reads it: the local zone, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
