"""SIGTERM and SIGINT: once is a clean stop, twice is the end, and ten seconds are the bound."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from csv2kafka.cli.signals import STOP_SECONDS, Signalled, run_until_signalled

PRELUDE = """
import asyncio, sys, threading, time
from csv2kafka.cli import signals
from csv2kafka.cli.app import leave
from csv2kafka.cli.failure import tell
signals.STOP_SECONDS = {bound}
def run(work):
    try:
        leave(signals.run_until_signalled(work, on_stop=lambda: print("stopping", flush=True), hint="do that"))
    except Exception as error:
        leave(tell(error))
"""

CLEAN = """
async def work():
    print("ready", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        print("let go", flush=True)
run(work)
"""

STUBBORN = """
async def work():
    print("ready", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            print("no", flush=True)
run(work)
"""

BLOCKED = """
async def work():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
run(work)
"""

READING = """
async def work():
    print("ready", flush=True)
    await asyncio.to_thread(threading.Event().wait)
run(work)
"""


@contextmanager
def started(program: str, bound: float = 30.0) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE.format(bound=bound) + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_once_stops_cleanly(number: signal.Signals) -> None:
    with started(CLEAN) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert out == "stopping\nlet go\n"
    assert err.endswith("→ do that\n")
    assert "Traceback" not in err


def test_a_second_sigint_ends_at_once() -> None:
    with started(STUBBORN) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted again: ended at once; do that" in err


def test_a_second_sigterm_changes_nothing() -> None:
    with started(CLEAN) as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (75, "stopping\nlet go\n")


@pytest.mark.parametrize("program", [STUBBORN, BLOCKED], ids=["stubborn", "blocked"])
def test_what_does_not_let_go_is_ended_after_a_bound(program: str) -> None:
    with started(program, bound=0.3) as process:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "ended; do that" in err


def test_a_thread_that_never_ends_does_not_hold_up_the_stop() -> None:
    with started(READING) as process:
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 75
    assert time.monotonic() - begun < 25  # the bound in this program is 30


def test_the_bound_is_below_ten_seconds() -> None:
    assert STOP_SECONDS < 10


def test_results_errors_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def result() -> int:
        return 7

    async def error() -> int:
        raise KeyError("x")

    assert run_until_signalled(result) == 7
    with pytest.raises(KeyError):
        run_until_signalled(error)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_this_process_too() -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(30)

    with pytest.raises(Signalled):
        run_until_signalled(work)


def test_tasks_left_behind_are_cancelled() -> None:
    ended = []

    async def left() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def work() -> None:
        asyncio.get_running_loop().create_task(left())
        await asyncio.sleep(0)

    run_until_signalled(work)
    assert ended == [True]


def test_a_notice_stops_the_work_as_a_signal_does() -> None:
    said: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            said.append("let go")

    async def notice() -> str:
        await asyncio.sleep(0.01)
        return "the machine goes"

    with pytest.raises(Signalled, match=r"^stopped because the machine goes\n  → do that$"):
        run_until_signalled(work, on_stop=lambda: said.append("stopping"), hint="do that", notice=notice)
    assert said == ["stopping", "let go"]


async def nothing_to_watch() -> str | None:
    return None


async def broken_watch() -> str | None:
    raise ValueError("a bug in it")


async def long_watch() -> str | None:
    await asyncio.sleep(60)
    return "too late"


@pytest.mark.parametrize("notice", [nothing_to_watch, broken_watch, long_watch])
def test_a_watch_that_finds_nothing_stops_nothing(
    notice: Callable[[], Coroutine[Any, Any, str | None]], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> str:
        await asyncio.sleep(0.05)
        return "done"

    assert run_until_signalled(work, notice=notice) == "done"
    assert ("a bug in it" in caplog.text) == (notice is broken_watch)


def test_what_does_not_let_go_after_a_notice_is_ended_too() -> None:
    noticed = """
async def notice():
    return "the machine goes"
run_until_signalled = signals.run_until_signalled
signals.run_until_signalled = lambda *args, **more: run_until_signalled(*args, notice=notice, **more)
"""
    with started(noticed + STUBBORN, bound=0.3) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "ended; do that" in err
