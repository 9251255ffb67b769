"""Runs a program and all that it starts, and measures them together: time, CPU, memory."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from attrs import frozen

SAMPLE_SECONDS = 0.05
END_SECONDS = 20.0
TAIL_BYTES = 1500


@frozen(kw_only=True)
class Usage:
    """``seconds``: from the start to the end. ``cpu_seconds`` and ``peak_bytes`` (the largest sum of resident
    memory, looked at every 50 ms): of the whole tree. ``output``: the end of what it printed. ``problem``: why it
    did not end well, else None."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str
    problem: str | None


@contextlib.contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """What this thread starts inside runs on these CPUs only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Tree:
    """A program, in a session of its own, and all that it starts.

    ``log``: where its standard error, and its standard output, go.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        cpus: Sequence[int],
        log: Path,
    ) -> None:
        self._log = log
        self._seen: dict[int, psutil.Process] = {}
        self._cpu: dict[int, float] = {}
        self._peak = 0
        with log.open("wb") as output, pinned(cpus):
            self._started = time.perf_counter()
            self._process = subprocess.Popen(
                argv,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._ended = os.pidfd_open(self._process.pid)
        self._seen[self._process.pid] = psutil.Process(self._process.pid)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    def runs(self, wait: float = 0.0) -> bool:
        """Whether it still runs, after at most ``wait`` seconds."""
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        return not poll.poll(wait * 1000)

    def measured(self, limit: float, done: Callable[[], bool] | None = None) -> Usage:
        """Wait for its end, ``limit`` seconds at most. ``done``: of a program that never ends by itself, whether
        all is done; then it is told to end, and its time is until then. Nothing is left of it afterwards."""
        problem = None
        try:
            while self.runs(SAMPLE_SECONDS):
                self._sample()
                if done is not None and done():
                    break
                if self.seconds > limit:
                    problem = f"did not end in {limit:.0f} s"
                    break
            seconds = self.seconds
            stays = done is not None and self.runs()
            if stays:
                self._process.send_signal(signal.SIGTERM)
                self.runs(END_SECONDS)
        finally:
            own = self._end()
        if problem is None and self._process.returncode != 0 and not stays:
            problem = f"ended with {self._process.returncode}"
        if problem is None and done is not None and not stays:
            problem = "ended too early"
        cpu = max(own, sum(self._cpu.values()))
        return Usage(seconds=seconds, cpu_seconds=cpu, peak_bytes=self._peak, output=_tail(self._log), problem=problem)

    def kill(self) -> None:
        """SIGKILL to all of it, at once."""
        self._end()

    def _sample(self) -> None:
        for pid in _descendants(self._process.pid):
            if pid not in self._seen:
                with contextlib.suppress(psutil.Error):
                    self._seen[pid] = psutil.Process(pid)
        total = 0
        for pid, process in self._seen.items():
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                self._cpu[pid] = times.user + times.system
                total += process.memory_info().rss
        self._peak = max(self._peak, total)

    def _end(self) -> float:
        """SIGKILL to what is left. Gives the CPU seconds of all that was waited for."""
        self._sample()
        for process in self._seen.values():
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.returncode is not None:
            return 0.0
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        os.close(self._ended)
        return used.ru_utime + used.ru_stime


def cpu_seconds(pid: int) -> float:
    """Of one running process."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _descendants(pid: int) -> list[int]:
    """Process ids. (psutil's way looks at every process of the machine, which takes a tenth of a CPU at this rate.)"""
    found: list[int] = []
    for told in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, told.read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
