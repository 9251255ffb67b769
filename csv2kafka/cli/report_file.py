"""``--report FILE``: the report as JSON, written whole or not at all. Its schema: docs/report.md."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from csv2kafka.cli.failure import error_facts
from csv2kafka.errors import ConfigError, Csv2KafkaError
from csv2kafka.model.report import REPORT_VERSION, Report

STDOUT = "-"


class ReportFile:
    """Where the report goes: a file, standard output (``-``), or nowhere (None).

    Raises ConfigError when made, so that a long run does not end with nowhere to put its report.
    """

    def __init__(self, target: str | None) -> None:
        self._target = target
        if target in (None, STDOUT):
            return
        path = Path(str(target))
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            raise ConfigError(f"--report: expected a file that can be written, found {target!r}")

    def write(self, report: Report | None, error: Csv2KafkaError | None) -> None:
        """Replace the file as a whole. Raises Csv2KafkaError if that cannot be done."""
        if self._target is None:
            return
        text = json.dumps(facts(report, error), indent=2, ensure_ascii=False) + "\n"
        try:
            if self._target == STDOUT:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                _replace(Path(self._target), text)
        except OSError as failed:
            raise Csv2KafkaError(
                f"--report {self._target}: {failed.strerror}", hint="the run itself ended as told above"
            ) from failed


def facts(report: Report | None, error: Csv2KafkaError | None) -> dict[str, Any]:
    """The report with how the run ended: ``exit_code``, and ``error`` (null when all went well)."""
    said = report.as_dict() if report else {"report_version": REPORT_VERSION}
    return {**said, "exit_code": error.exit_code if error else 0, "error": error_facts(error) if error else None}


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # as any new file; mkstemp's is for its owner alone
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
