"""Child processes that end with their parent, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from csv2kafka.cli import guarded


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _group_is_gone(group: int) -> bool:
    """Whether no process of it runs; some may still have to be waited for by init."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time; from csv2kafka.cli import guarded\n"
        "with open(sys.argv[1] + '/log', 'wb') as log:\n"
        "    child = guarded.start(['/bin/sleep', '600'], directory=pathlib.Path(sys.argv[1]), output=log)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    _wait(lambda: Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"/bin/sleep"))
    os.kill(child, signal.SIGSTOP)  # not even then
    parent.kill()
    parent.communicate()
    _wait(lambda: _group_is_gone(child))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_it_is_left_when_it_was_ended(tmp_path: Path, how: signal.Signals) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = guarded.start(["/bin/sleep", "600"], directory=tmp_path, output=log)
    guarded.end(process, how, 10)
    assert process.returncode == -how
    _wait(lambda: _group_is_gone(process.pid))


def test_one_that_does_not_end_is_killed(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        script = "trap '' TERM; echo up; sleep 600 & wait; wait"
        process = guarded.start(["/bin/sh", "-c", script], directory=tmp_path, output=log)
    _wait(lambda: (tmp_path / "log").read_text() == "up\n")
    guarded.end(process, signal.SIGTERM, 0.2)
    assert process.returncode == -signal.SIGKILL
    os.killpg(process.pid, signal.SIGKILL)  # its own child, which no real node has


def test_output_ends_with_the_program(tmp_path: Path) -> None:
    process = guarded.start(["/bin/echo", "done"], directory=tmp_path, output=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read() == b"done\n"  # would wait for ever on a watcher that holds the pipe
    process.wait(10)
    guarded.end(process, signal.SIGKILL, 10)
    assert process.returncode == 0
