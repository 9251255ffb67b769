"""``csv2kafka run``: the pipeline of the configuration, watched, stopped by signals, with a report at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog

from csv2kafka.cli import log
from csv2kafka.cli.failure import as_error, tell
from csv2kafka.cli.options import configured, loaded
from csv2kafka.cli.progress import Display, display
from csv2kafka.cli.report_file import ReportFile
from csv2kafka.cli.signals import Signalled, run_until_signalled
from csv2kafka.config import RunConfig, unknown_variables
from csv2kafka.errors import Csv2KafkaError, Stopped
from csv2kafka.model.report import Report

if TYPE_CHECKING:
    from csv2kafka.pipeline import Pipeline

TICK_SECONDS = 1.0


@configured("run", RunConfig)
def command(**flags: Any) -> int:
    """Put every data row of SOURCE into one partition of a topic, in order, once.

    Run the same command again after a crash, a kill or a stop: it goes on where it stopped. Started again after
    success it says so, and does nothing.
    """
    config = loaded(RunConfig, flags)
    log.configure(json_lines=config.progress == "json", debug=config.debug)
    for warning in unknown_variables(os.environ):
        structlog.get_logger().warning(warning)
    return run(config)


def run(config: RunConfig) -> int:
    """Run the job; gives the exit code. What is seen of it goes to standard error."""
    report_file = ReportFile(config.report)
    shown = display(config.progress)
    job = _Job(config, shown)
    failed: BaseException | None = None
    with shown:
        try:
            report = run_until_signalled(job.run, on_stop=shown.stopping)
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
    """A pipeline, with a tick each second for its display."""

    def __init__(self, config: RunConfig, shown: Display) -> None:
        self._config = config
        self._shown = shown
        self._pipeline: Pipeline | None = None

    @property
    def report(self) -> Report | None:
        """How far it came; None before there was a pipeline."""
        return self._pipeline.report if self._pipeline else None

    async def run(self) -> Report:
        from csv2kafka.pipeline import Pipeline  # late, so that a wrong flag is told at once

        self._pipeline = Pipeline.from_config(self._config, on_event=self._shown.on_event)
        async with _ticking(self._shown):
            return await self._pipeline.run()

    def finished_anyway(self, failed: BaseException) -> Report | None:
        """The report, if the signal came when the last commit was already on its way."""
        complete = isinstance(failed, Signalled) and self.report is not None and self.report.checkpoint.complete
        return self.report if complete else None

    def told(self, failed: BaseException) -> Csv2KafkaError:
        """The error as it is told: a stop says how many rows are committed."""
        if not isinstance(failed, Signalled) or self.report is None:
            return as_error(failed)
        rows = self.report.checkpoint.counts.rows
        stopped = Stopped(f"stopped before the end: {rows:,} rows are committed", hint=failed.hint)
        stopped.__cause__ = failed
        return stopped


@asynccontextmanager
async def _ticking(shown: Display) -> AsyncIterator[None]:
    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            shown.tick()

    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
