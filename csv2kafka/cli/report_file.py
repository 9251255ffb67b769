"""``--report FILE``: the report as JSON, written whole or not at all. Its schema: docs/report.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from csv2kafka import registry
from csv2kafka.cli.echo import as_json
from csv2kafka.cli.failure import error_facts
from csv2kafka.cli.result_file import ResultFile
from csv2kafka.config import RunConfig, options
from csv2kafka.errors import Csv2KafkaError
from csv2kafka.model.report import REPORT_VERSION, Report

STDOUT = "-"
HINT = "give another file, or - for standard output"


class ReportFile:
    """Where the report goes: a file, a device (``/dev/stderr``), standard output (``-``), or nowhere (None).

    ``taken``: paths that are something else, with what each is; a directory or glob stands for its files. Raises
    ConfigError when made, so that nothing else is overwritten, and no long run ends with nowhere to put its report.
    """

    def __init__(self, target: str | None, taken: Iterable[tuple[str | Path, str]] = ()) -> None:
        self._target = target
        self._file: ResultFile | None = None
        if target not in (None, STDOUT):
            label = options(RunConfig)["report"].label
            self._file = ResultFile(str(target), taken, label=label, what="report", begins="report_version", hint=HINT)

    def write(self, report: Report | None, error: Csv2KafkaError | None) -> None:
        """Replace the file as a whole. Raises Csv2KafkaError if that cannot be done."""
        if self._target is None:
            return
        text = as_json(facts(report, error), indent=2) + "\n"
        try:
            if self._file is None:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                self._file.write(text.encode())
        except OSError as failed:
            raise Csv2KafkaError(
                f"--report {self._target}: {failed.strerror}", hint="the run itself ended as told above"
            ) from failed


def taken_by(config: RunConfig, config_file: Path | None) -> Iterator[tuple[str | Path, str]]:
    """All files that a run of this configuration reads or writes, besides its report."""
    if config_file is not None:
        yield config_file, "the file of --config"
    for path in registry.source_paths(config):
        yield path, f"of SOURCE {path!r}"
    output = registry.output_file(config)
    if output is not None:
        yield output, "the file of --output"
        yield Path(f"{output}.bad"), "where --output puts bad rows"
    store = registry.store_file(config)
    if store is not None:
        yield store, "the store of --checkpoints"


def facts(report: Report | None, error: Csv2KafkaError | None) -> dict[str, Any]:
    """The report with how the run ended: ``exit_code``, and ``error`` (null when all went well)."""
    said = report.as_dict() if report else {"report_version": REPORT_VERSION}
    return {**said, "exit_code": error.exit_code if error else 0, "error": error_facts(error) if error else None}
