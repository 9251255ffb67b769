"""``csv2kafka run``: the pipeline of the configuration, watched, stopped by signals, with a report at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from csv2kafka.cli import importing, log
from csv2kafka.cli.failure import as_error, tell
from csv2kafka.cli.measuring import Metrics, measuring
from csv2kafka.cli.options import config_file, configured, loaded
from csv2kafka.cli.progress import Display, display, ticking
from csv2kafka.cli.progress.words import run_words
from csv2kafka.cli.redact import redacted
from csv2kafka.cli.report_file import ReportFile, taken_by
from csv2kafka.cli.signals import AGAIN, Signalled, run_until_signalled
from csv2kafka.cli.suspicion import wrong_delimiter
from csv2kafka.config import RunConfig
from csv2kafka.errors import Csv2KafkaError, Stopped
from csv2kafka.memory import keep_large_buffers
from csv2kafka.model import Committed, Event, SessionOpened, Started, StoreAway
from csv2kafka.model.report import Report

if TYPE_CHECKING:
    from csv2kafka.pipeline import Pipeline

STDIN = ("-",)
UNREPEATABLE = (
    "standard input cannot be read again, so this run cannot be resumed: another one is a new job, and sends the rows "
    "again"
)
GO_ON = f"{AGAIN} to go on from there"
NO_WAY_ON = "standard input cannot be read again: the same command is a new job, and sends its rows behind these"


@configured("run", RunConfig)
def command(**flags: Any) -> int:
    """Put every data row of SOURCE into one partition of a topic, in order, once.

    Run the same command again after a crash, a kill or a stop: it goes on where it stopped. Started again after
    success it says so, and does nothing.
    """
    config = loaded(RunConfig, flags)
    return run(config, config_file(flags))


def run(config: RunConfig, file: Path | None = None) -> int:
    """Run the job; gives the exit code. What is seen of it goes to standard error. ``file``: that of --config."""
    keep_large_buffers()
    report_file = ReportFile(config.report, taken_by(config, file))
    metrics = measuring(config, file)
    from_stdin = config.sources == STDIN
    if from_stdin:
        log.warning(UNREPEATABLE)
    shown = display(config.progress, run_words(config))
    job = _Job(config, shown, metrics)
    failed: BaseException | None = None
    with shown, closing(metrics):
        try:
            report = run_until_signalled(
                job.run, on_stop=shown.stopping, hint=NO_WAY_ON if from_stdin else GO_ON, notice=_notice(config.watch)
            )
        except (Exception, KeyboardInterrupt) as error:
            failed = error
    if failed is not None and (finished := job.finished_anyway(failed)) is not None:
        report, failed = finished, None
    if failed is None:
        shown.finished(report)
        return _written(report_file, report, None)
    known = job.told(failed)
    shown.failed(known, debug=config.debug)
    return _written(report_file, job.report, known)


def _notice(kind: str) -> Callable[[], Coroutine[Any, Any, str | None]] | None:
    """What --watch asks for, to run beside the job."""
    if kind == "none":
        return None

    async def watch() -> str | None:
        with importing():
            from csv2kafka.aws.notices import notice

        return await notice(kind, os.environ)

    return watch


def _written(report_file: ReportFile, report: Report | None, error: Csv2KafkaError | None) -> int:
    """The exit code: that of the run, or if only the report could not be written, that."""
    code = error.exit_code if error else 0
    try:
        report_file.write(report, error)
    except Csv2KafkaError as failed:
        told = tell(failed)
        return code or told
    return code


class _Job:
    """A pipeline, its display and its metrics."""

    def __init__(self, config: RunConfig, shown: Display, metrics: Metrics) -> None:
        self._config = config
        self._shown = shown
        self._metrics = metrics
        self._pipeline: Pipeline | None = None
        self._header_seen = False

    @property
    def report(self) -> Report | None:
        """How far it came; None before there was a pipeline."""
        return self._pipeline.report if self._pipeline else None

    async def run(self) -> Report:
        with importing():
            from csv2kafka.pipeline import Pipeline  # late, so that a wrong flag is told at once

            self._pipeline = Pipeline.from_config(self._config, on_event=self._on_event)
        async with ticking(self._shown, self._metrics):
            return await self._pipeline.run()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Started):
            event = evolve(event, job=redacted(event.job))  # metrics are named by it
        if isinstance(event, (SessionOpened, Committed)) and event.checkpoint.header and not self._header_seen:
            self._header_seen = True
            if (doubt := wrong_delimiter(event.checkpoint.header)) is not None:
                log.warning(doubt)
        self._metrics(event)
        if isinstance(event, StoreAway):
            log.warning(
                f"the checkpoint store does not answer; rows go on, their checkpoint is in Kafka: {event.reason}"
            )
        self._shown.on_event(event)

    def finished_anyway(self, failed: BaseException) -> Report | None:
        """The report, if the signal came when the last commit was already on its way, and nothing is left to do."""
        done = isinstance(failed, Signalled) and self._complete() and self._config.after is None
        return self.report if done else None

    def told(self, failed: BaseException) -> Csv2KafkaError:
        """The error as it is told: a stop says how many rows are committed, and both whether only --after is left."""
        known = as_error(failed)
        if isinstance(failed, Signalled) and self.report is not None:
            rows = self.report.checkpoint.counts.rows
            known = Stopped(f"{failed.message}: {rows:,} rows are committed", hint=failed.hint)
            known.__cause__ = failed
        if self._complete() and self._config.after is not None:
            left = f"every row is there: what is left is --after {self._config.after}, by the same command again"
            known.hint = f"{known.hint}; {left}" if known.hint and not isinstance(known, Stopped) else left
        return known

    def _complete(self) -> bool:
        return self.report is not None and self.report.checkpoint.complete
