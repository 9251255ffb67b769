"""The installed command as its users run it: a process of its own, killed, stopped and started again."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import Factory, define

from tests import twins

COMMAND = Path(sysconfig.get_path("scripts")) / "csv2kafka"
KERNEL = "python" if twins.native is None and not twins.REQUIRED else "native"
HEADER = ["id", "name", "note", "amount", "city", "when", "flag", "text", "code", "last"]
LONGEST_SECONDS = 120.0
BLOCK_ROWS = 1000


def write_csv(path: Path, rows: int, *, seed: int = 1) -> None:
    """Rows with quoted commas, doubled quotes, newlines in quotes and UTF-8; ``id`` counts from 0.

    But for it, every thousand rows are the same: millions take a second or two.
    """
    block = _block(seed)
    with path.open("wb") as file:
        file.write(",".join(HEADER).encode() + b"\r\n")
        for first in range(0, rows, BLOCK_ROWS):
            wanted = min(BLOCK_ROWS, rows - first)
            file.write(b"".join(block[:wanted]) % tuple(range(first, first + wanted)))


def _block(seed: int) -> list[bytes]:
    """A thousand rows, with ``%d`` for the id."""
    draw = random.Random(seed)
    notes = ["plain", "a, comma", 'a "quote"', "two\nlines", "naïve café ☕", "", "crlf\r\ninside", "tab\there"]
    rows: list[bytes] = []
    for row in range(BLOCK_ROWS):
        note, text = draw.choice(notes), draw.choice(notes)
        cells = ["%d", f"name {row % 977}", note, row * 7 % 1000, "Köln", "2024-01-01", "Y", text, "x" * 12, "z"]
        line = io.StringIO(newline="")
        csv.writer(line).writerow(cells)
        rows.append(line.getvalue().encode())
    return rows


def expected_values(path: Path) -> Iterator[bytes]:
    """What each row is as JSON, by Python's own csv and json."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader)
        for row in reader:
            yield encode(dict(zip(header, row, strict=True))).encode()


@define
class Installed:
    """One run of ``csv2kafka run`` with progress as JSON lines; the state directory is the test's own.

    ``kernel``: the native one where it was built. ``variables``: of the environment, besides this process's own.
    """

    arguments: Sequence[str]
    directory: Path
    kernel: str = KERNEL
    variables: Mapping[str, str] = {}
    _process: subprocess.Popen[bytes] | None = None
    _log: Path | None = None

    def start(self, stdin: int = subprocess.DEVNULL) -> Installed:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CSV2KAFKA_")}
        environment["XDG_STATE_HOME"] = str(self.directory / "state")
        environment["CSV2KAFKA_KERNEL"] = self.kernel
        environment.update(self.variables)
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


@define
class Killing:
    """Kills one run of a job after the other. ``rows``: committed so far. ``hits``: kills amid rows, by kernel."""

    draw: random.Random
    rows: int = 0
    hits: Counter[str] = Factory(Counter)

    def while_starting(self, run: Installed, seconds: tuple[float, float]) -> None:
        """Somewhere in these seconds, or once the run has committed rows."""
        self._wait(run, self.draw.uniform(*seconds))
        self._kill(run)

    def amid_rows(self, run: Installed, seconds: float) -> None:
        """After the run's first commit of rows, within the seconds behind it or at the next commit."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while run.committed_rows() <= self.rows:
            assert run.process.poll() is None, f"ended with {run.process.poll()}:\n{run.output[-3000:]}"
            assert time.monotonic() < deadline, run.output[-3000:]
            time.sleep(0.005)
        self.rows = run.committed_rows()
        self._wait(run, self.draw.uniform(0, seconds))
        self._kill(run)
        self.hits[run.kernel] += 1

    def _wait(self, run: Installed, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and run.committed_rows() <= self.rows:
            time.sleep(0.005)

    def _kill(self, run: Installed) -> None:
        run.kill()
        assert run.process.returncode == -signal.SIGKILL, f"it was over before it was killed:\n{run.output[-3000:]}"
        self.rows = max(self.rows, run.committed_rows())
