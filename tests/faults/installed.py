"""The installed command as its users run it: a process of its own, killed, stopped and started again."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define

COMMAND = Path(sysconfig.get_path("scripts")) / "csv2kafka"
HEADER = ["id", "name", "note", "amount", "city", "when", "flag", "text", "code", "last"]
LONGEST_SECONDS = 120.0


def write_csv(path: Path, rows: int, *, seed: int = 1) -> None:
    """Rows with quoted commas, doubled quotes, newlines in quotes and UTF-8; ``id`` counts from 0."""
    draw = random.Random(seed)
    notes = ["plain", "a, comma", 'a "quote"', "two\nlines", "naïve café ☕", "", "crlf\r\ninside", "tab\there"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for row in range(rows):
            note, text = draw.choice(notes), draw.choice(notes)
            amount = row * 7 % 1000
            writer.writerow([row, f"name {row % 977}", note, amount, "Köln", "2024-01-01", "Y", text, "x" * 12, "z"])


def expected_values(path: Path) -> Iterator[bytes]:
    """What each row is as JSON, by Python's own csv and json."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader)
        for row in reader:
            yield json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False, separators=(",", ":")).encode()


@define
class Installed:
    """One run of ``csv2kafka run`` with progress as JSON lines; the state directory is the test's own."""

    arguments: Sequence[str]
    directory: Path
    _process: subprocess.Popen[bytes] | None = None
    _log: Path | None = None

    def start(self, stdin: int = subprocess.DEVNULL) -> Installed:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CSV2KAFKA_")}
        environment["XDG_STATE_HOME"] = str(self.directory / "state")
        environment["CSV2KAFKA_KERNEL"] = "python"  # the native one is done before it can be killed in the middle
        self._log = self.directory / f"run-{len(list(self.directory.glob('run-*')))}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(COMMAND), *self.arguments], stdout=log, stderr=log, stdin=stdin, env=environment
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def output(self) -> str:
        assert self._log is not None
        return self._log.read_text(errors="replace")

    def committed_rows(self) -> int:
        """Rows of the last commit that this run has told of; -1 before its first."""
        rows = -1
        for line in self.output.splitlines():
            if '"committed"' in line:
                rows = json.loads(line)["rows"]
        return rows

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait(LONGEST_SECONDS)

    def end(self, seconds: float = LONGEST_SECONDS) -> int:
        """Wait for the exit code."""
        return self.process.wait(seconds)
