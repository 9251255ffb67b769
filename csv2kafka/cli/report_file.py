"""``--report FILE``: the report as JSON, written whole or not at all. Its schema: docs/report.md."""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from csv2kafka import registry
from csv2kafka.cli.failure import error_facts
from csv2kafka.cli.redact import redacted_facts
from csv2kafka.config import RunConfig, options
from csv2kafka.errors import ConfigError, Csv2KafkaError
from csv2kafka.model.report import REPORT_VERSION, Report

STDOUT = "-"
DESCRIPTORS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")
HINT = "give another file, or - for standard output"


class ReportFile:
    """Where the report goes: a file, a device (``/dev/stderr``), standard output (``-``), or nowhere (None).

    ``taken``: paths that are something else, with what each is; a directory or glob stands for its files. Raises
    ConfigError when made, so that nothing else is overwritten, and no long run ends with nowhere to put its report.
    """

    def __init__(self, target: str | None, taken: Iterable[tuple[str | Path, str]] = ()) -> None:
        self._target = target
        if target in (None, STDOUT):
            return
        path = Path(str(target))
        found = f"{options(RunConfig)['report'].label}: expected a file of its own, found {target!r}"
        refuse_taken(path, taken, found, HINT)
        if _is_device(path):
            return
        if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
            raise ConfigError(f"{found}, which cannot be written", hint=HINT)
        if not _is_free(path):
            raise ConfigError(f"{found}, which is there already, and no report of csv2kafka", hint=HINT)

    def write(self, report: Report | None, error: Csv2KafkaError | None) -> None:
        """Replace the file as a whole. Raises Csv2KafkaError if that cannot be done."""
        if self._target is None:
            return
        text = json.dumps(redacted_facts(facts(report, error)), indent=2, ensure_ascii=False) + "\n"
        try:
            if self._target == STDOUT:
                sys.stdout.write(text)
                sys.stdout.flush()
            elif _is_device(Path(self._target)):
                Path(self._target).write_text(text, encoding="utf-8")
            else:
                _replace(Path(self._target), text)
        except OSError as failed:
            raise Csv2KafkaError(
                f"--report {self._target}: {failed.strerror}", hint="the run itself ended as told above"
            ) from failed


def refuse_taken(path: Path, taken: Iterable[tuple[str | Path, str]], found: str, hint: str) -> None:
    """ConfigError if the file is one of those; ``found`` begins its message."""
    for other, what in taken:
        if _is_one_of(path, other):
            raise ConfigError(f"{found}, which is {what}", hint=hint)


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


def _is_one_of(path: Path, other: str | Path) -> bool:
    """The same file; or one that a directory or a glob takes, now or in the next run."""
    if Path(other).is_dir():
        return _same(path.absolute().parent, Path(other)) and not path.name.startswith((".", "_"))
    if _same(path, Path(other)):
        return True
    if not glob.has_magic(str(other)):
        return False
    pattern = str(Path(other).parent.resolve() / Path(other).name)
    resolved = str(path.parent.resolve() / path.name)
    return fnmatch(resolved, pattern) or fnmatch(resolved, pattern.replace("**/", ""))


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there yet
        return path.resolve() == other.resolve()


def _is_device(path: Path) -> bool:
    """Written to as it is, never replaced. ``/dev/stdout`` may lead to a file, and is opened like a device."""
    if str(path).startswith(DESCRIPTORS):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_free(path: Path) -> bool:
    """Nothing is lost if it is replaced: it is not there, or empty, or a report (which begins with its version)."""
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return not head or re.match(rb'\s*\{\s*"report_version"\s*:', head) is not None


def _replace(path: Path, text: str) -> None:
    import tempfile

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
