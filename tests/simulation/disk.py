"""The system calls of the file sink, over real files, with a memory of what the disk really has.

Each call is a step at which a process can die. When the power fails, of what was not synced anything may be there:
all of it, nothing, a part, or zeros in its place; a file whose directory was not synced may be gone.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.simulation.actors import ACTOR, Actor


@define(eq=False)
class OnDisk:
    """What is there after a power failure for certain."""

    content: bytes = b""
    entry: bool = False  # whether its directory has it


@define(eq=False)
class Disk:
    """Stands in for the module ``os`` in ``csv2kafka.sinks.output``. ``draw``: what a power failure takes.
    ``written`` is told of each write and cut."""

    draw: random.Random
    written: Any = lambda path: None
    files: dict[Path, OnDisk] = field(factory=dict)
    _open: dict[int, tuple[Path, Actor | None]] = field(factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        actor, path = ACTOR.get(), Path(path)
        if not _steps(actor):
            return os.open(os.devnull, os.O_RDWR)
        file = os.open(path, flags, mode)
        self._open[file] = path, actor
        if path.is_file():
            self.files.setdefault(path, OnDisk())
        return file

    def close(self, file: int) -> None:
        actor = ACTOR.get()
        if file in self._open and self._open[file][1] is actor:
            del self._open[file]
            os.close(file)

    def pwrite(self, file: int, data: Any, offset: int) -> int:
        if not _steps(ACTOR.get()):
            return len(data)
        count = os.pwrite(file, data, offset)
        self.written(self._open[file][0])
        return count

    def ftruncate(self, file: int, length: int) -> None:
        if _steps(ACTOR.get()):
            os.ftruncate(file, length)
            self.written(self._open[file][0])

    def fsync(self, file: int) -> None:
        if not _steps(ACTOR.get()):
            return
        path = self._open[file][0]
        if path.is_dir():
            for each in self.files.values():
                each.entry = True
        else:
            self.files[path].content = path.read_bytes()

    def has_open(self, actor: Actor) -> bool:
        return any(each is actor for _, each in self._open.values())

    def died(self, actor: Actor) -> None:
        """The system closes what a process had open."""
        for file in [file for file, (_, each) in self._open.items() if each is actor]:
            del self._open[file]
            os.close(file)

    def power_fails(self) -> None:
        """Behind the death of all processes."""
        for path, known in self.files.items():
            if not path.exists():
                continue
            if not known.entry and self.draw.random() < 0.5:
                path.unlink()
                continue
            now, safe = path.read_bytes(), known.content
            kept = int(self.draw.random() * (len(now) + 1))
            tail = now[len(safe) :]
            found = self.draw.choice(
                [safe, now, now[: max(kept, 0)] if kept > len(safe) else safe, safe + bytes(len(tail))]
            )
            with path.open("r+b") as file:  # the same inode
                file.truncate(0)
                file.write(found)
            known.content, known.entry = found, True
        for path in [path for path in self.files if not path.exists()]:
            del self.files[path]


def _steps(actor: Actor | None) -> bool:
    return actor is None or actor.step()
