"""Whole runs of the installed command into a topic, each with its exit code checked."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from tests.faults.installed import Installed
from tests.reading import Row, read_partition


@frozen(kw_only=True)
class Job:
    """A source and a topic; ``directory`` has the runs' state and what they print."""

    source: Path
    servers: str
    topic: str
    directory: Path

    def start(self, *more: str, progress: str = "plain") -> Installed:
        """A run that goes on by itself."""
        return self._installed("run", "--progress", progress, *more).start()

    def run(self, *more: str, code: int = 0) -> str:
        """What a run prints from its start to its end, which is to be with ``code``."""
        return ended(self.start(*more), code)

    def verify(self, *more: str, code: int = 0) -> str:
        """The same of ``verify``."""
        return ended(self._installed("verify", "--progress", "none", *more).start(), code)

    def rows(self) -> list[Row]:
        """What another client sees of the topic."""
        return read_partition(self.servers, self.topic)

    def values(self) -> list[bytes | None]:
        return [row.value for row in self.rows()]

    def _installed(self, command: str, *more: str) -> Installed:
        return Installed([command, str(self.source), "-b", self.servers, "-t", self.topic, *more], self.directory)


def ended(run: Installed, code: int) -> str:
    """What it printed, with what the console wrapped on one line."""
    found = run.end()
    assert found == code, f"ended with {found}, expected {code}:\n{run.output[-3000:]}"
    return " ".join(run.output.split())
