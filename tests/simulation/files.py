"""The world of the file sink: real files, a disk that forgets what was not synced, and the same processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from csv2kafka.sinks.file import FileSink
from tests.simulation.actors import ActorLoop
from tests.simulation.disk import Disk
from tests.simulation.schedule import Schedule
from tests.simulation.source import bad_of, rows_of
from tests.simulation.world import Process, World


class FileWorld(World):
    """A world whose rows go into ``folder / "rows"``."""

    def __init__(self, schedule: Schedule, loop: ActorLoop, folder: Path) -> None:
        super().__init__(schedule, loop)
        self.path = folder / "rows"
        self.whole = b"".join(row + b"\n" for row in rows_of(schedule))
        self.disk = Disk(self.draw, self._written)

    def sink(self, process: Process) -> Any:
        return FileSink(self.path)

    @contextmanager
    def patched(self) -> Iterator[None]:
        with patch("csv2kafka.sinks.output.os", self.disk):
            yield

    def kill(self, process: Process, how: str = "killed") -> None:
        super().kill(process, how)
        self.disk.died(process.actor)

    def power_fails(self) -> None:
        super().power_fails()
        self.disk.power_fails()

    def check_whole(self) -> None:
        found = self.path.read_bytes() if self.path.exists() else b""
        if found != self.whole:
            self.laws.broken(f"the file is not the rows: {found!r}")
        bad = [json.loads(line)["value"].encode() for line in self._refused()]
        if bad != bad_of(self.schedule):
            self.laws.broken(f"refused rows in the file: {bad}")

    def _refused(self) -> list[bytes]:
        path = Path(f"{self.path}.bad")
        return path.read_bytes().splitlines() if path.exists() else []

    def _written(self, path: Path) -> None:
        """After each write and cut, what is in the file is a prefix of the rows."""
        if path == self.path and not self.whole.startswith(found := path.read_bytes()):
            self.laws.broken(f"the file holds what is no prefix of the rows: {found!r}")

    def saved(self, text: str) -> None:
        """What a checkpoint names is on the disk, whatever happens to the power."""
        made = json.loads(text)
        length, rows = made["sink"]["offsets"].get("data", 0), made["counts"]["rows"]
        known = self.disk.files.get(self.path)
        safe = b"" if known is None or not known.entry else known.content
        if len(safe) < length or safe[:length] != self.whole[:length] or safe[:length].count(b"\n") != rows:
            self.laws.broken(f"a checkpoint names {rows} rows in {length} bytes, on the disk are {safe!r}")
        if made["complete"] and rows != self.schedule.rows:
            self.laws.broken(f"complete is saved at {rows} of {self.schedule.rows} rows")
