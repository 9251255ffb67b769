"""A program is measured, and ended, with all that it started."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.processes import Tree

SECONDS = 30.0
Start = Callable[[str], Tree]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def start(script: str) -> Tree:
        return Tree(
            ["bash", "-c", script],
            directory=tmp_path,
            environment=dict(os.environ),
            cpus=sorted(os.sched_getaffinity(0))[:1],
            log=tmp_path / "log",
        )

    return start


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_memory_and_cpu_of_what_it_started_count(start: Start) -> None:
    busy = (
        "import time; b = bytearray(80_000_000); end = time.process_time() + .4\nwhile time.process_time() < end: pass"
    )
    usage = start(f"{python(busy)} | cat; echo done").measured(SECONDS)
    assert usage.problem is None
    assert usage.output == "done"
    assert usage.peak_bytes > 80_000_000
    assert usage.cpu_seconds >= 0.4


def test_it_has_only_the_cpus_it_is_given(start: Start) -> None:
    usage = start(python("import os; print(len(os.sched_getaffinity(0)))")).measured(SECONDS)
    assert usage.output == "1"


def test_how_it_failed_is_said(start: Start) -> None:
    usage = start("echo no such topic; exit 3").measured(SECONDS)
    assert usage.problem == "ended with 3"
    assert usage.output == "no such topic"
    assert start("sleep 60").measured(0.1).problem == "did not end in 0 s"


def test_one_that_never_ends_is_told_to_when_all_is_done(start: Start) -> None:
    began = time.monotonic()
    usage = start("sleep 60").measured(SECONDS, lambda: True)
    assert usage.problem is None
    assert time.monotonic() - began < SECONDS
    assert start("exit 0").measured(SECONDS, lambda: False).problem == "ended too early"


def test_a_kill_leaves_nothing(start: Start, tmp_path: Path) -> None:
    tree = start(f"{python('import time; time.sleep(60)')} & echo $! > {tmp_path}/child; wait")
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        assert tree.runs(0.01)
    tree.kill()
    child = int((tmp_path / "child").read_text())
    for _ in range(200):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail("the child still runs")
