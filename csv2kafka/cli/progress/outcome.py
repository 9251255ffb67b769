"""A run's outcome as a person reads it."""

from __future__ import annotations

from csv2kafka.cli.progress.tally import megabytes
from csv2kafka.cli.progress.words import Words
from csv2kafka.model.report import Report, last_offset, local_time


def outcome(report: Report, words: Words) -> list[str]:
    """A few lines: what was done, where it stands, how fast, and what to look at."""
    point = report.checkpoint
    rows = counted(point.counts.rows, "row")
    after = [f"--after {words.after}: done"] if words.after else []
    if report.already_complete:
        return [
            f"complete already, since {local_time(point.at)}: {rows} in {report.destination}",
            f"job {point.job}; no row was sent. --restart {words.restart}",
            *after,
        ]
    lines = [f"done: {rows} in {report.destination}{_offsets(report)}"]
    resumed = f", {report.resumed_from_row:,} of them by earlier runs" if report.resumed_from_row else ""
    speed = f"{report.rows_per_second:,.0f} rows/s"
    now = counted(report.rows_this_run, "row")
    lines.append(f"job {point.job}: {now} in {report.seconds:.1f} s, {speed}{resumed}")
    sessions = f"{report.sessions} sessions, " if report.sessions > 1 else ""
    memory = megabytes(report.peak_memory_bytes)
    commits = counted(point.transactions, "commit")
    lines.append(f"{sessions}{commits}, at most {memory} of memory, content hash {point.content_hash}")
    return lines + after + bad_rows(report, words)


def bad_rows(report: Report, words: Words) -> list[str]:
    """The refused rows, the first of them by place and reason; and a word where there was nothing at all."""
    counts = report.checkpoint.counts
    if not counts.rows and not counts.bad_rows:
        return ["warning: the source has no data rows"]
    if not counts.bad_rows:
        return []
    kept = f"; dead letters are in {words.dead_letters}" if words.dead_letters else ""
    lines = [f"warning: {counted(counts.bad_rows, 'bad row')} refused{kept}"]
    lines += [
        f"  {row.source}: row {row.row} (line {row.line}, byte {row.byte}): {row.reason}" for row in report.bad_rows
    ]
    more = counts.bad_rows - len(report.bad_rows)
    return lines + ([f"  and {more:,} more"] if report.bad_rows and more else [])


def counted(count: int, thing: str) -> str:
    """``1 row``, ``1,200 rows``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _offsets(report: Report) -> str:
    first, last = report.checkpoint.sink.first_offset, last_offset(report.checkpoint)
    if first is None or last is None or "kafka" not in report.destination:
        return ""
    return f", offsets {first:,} to {last:,}"
