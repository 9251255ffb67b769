"""Finds what a test leaves behind: tasks that were still going when their loop ended, threads, child processes."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import runners
from pathlib import Path

from attrs import frozen

GRACE_SECONDS = 5.0  # for what was told to end and is about to

_cancel_all_tasks = runners._cancel_all_tasks  # type: ignore[attr-defined]
_left_tasks: list[str] = []


def install() -> None:
    """Note, from now on, the tasks that asyncio has to cancel because a loop is closed."""
    runners._cancel_all_tasks = _noting_cancel_all_tasks  # type: ignore[attr-defined]


def _noting_cancel_all_tasks(loop: asyncio.AbstractEventLoop) -> None:
    _left_tasks.extend(f"task {task!r}" for task in asyncio.all_tasks(loop))
    _cancel_all_tasks(loop)


@frozen
class Before:
    """What there was before a test."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]

    @classmethod
    def now(cls) -> Before:
        """As it is now; forgets the tasks noted so far."""
        _left_tasks.clear()
        return cls(frozenset(threading.enumerate()), _children())

    def left_behind(self, grace_seconds: float = GRACE_SECONDS) -> list[str]:
        """What is there now and was not before, after a moment of grace."""
        deadline = time.monotonic() + grace_seconds
        while (new := self._new()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return [*_left_tasks, *new]

    def _new(self) -> list[str]:
        threads = [thread for thread in threading.enumerate() if thread not in self.threads]
        return [f"thread {thread!r}" for thread in threads] + [
            f"process {child} {_command(child)}" for child in _children() - self.children
        ]


def _children() -> frozenset[int]:
    """This process's own child processes."""
    children: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            children.update(map(int, path.read_text().split()))
        except OSError:  # the thread has ended meanwhile
            continue
    return frozenset(children)


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ").strip()[:200] or "(not waited for)"
    except OSError:
        return "(gone)"
