"""The watchers of the test suite itself: do they see what they are for, and only that?"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable

from tests import blocking, leaks


def _package_function(source: str) -> Callable[[], None]:
    """A function that seems to stand in a file of the package."""
    scope: dict[str, Callable[[], None]] = {}
    exec(compile(f"import time\ndef function():\n    {source}\n", f"{blocking.PACKAGE}/pretended.py", "exec"), scope)
    return scope["function"]


BUSY = "end = time.thread_time() + 0.8\n    while time.thread_time() < end: pass"


async def test_busy_package_code_in_the_loop_is_seen_with_its_stack() -> None:
    asyncio.get_running_loop().call_soon(_package_function(BUSY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (found,) = blocking.take()
    assert "blocked the event loop for 0." in found
    assert "pretended.py" in found


async def test_even_a_short_sleep_of_the_package_is_seen() -> None:
    _package_function("time.sleep(0.001)")()
    (found,) = blocking.take()
    assert "time.sleep in a running event loop" in found


async def test_what_a_thread_or_the_test_itself_does_is_not() -> None:
    await asyncio.to_thread(_package_function(BUSY))
    await asyncio.to_thread(_package_function("time.sleep(0.6)"))
    end = asyncio.get_running_loop().time() + 0.8
    while asyncio.get_running_loop().time() < end:
        pass
    await asyncio.sleep(0)
    assert blocking.take() == []


async def test_collecting_garbage_is_not() -> None:
    def collect(phase: str, _: object) -> None:
        _package_function(BUSY)() if phase == "stop" else None

    gc.callbacks.insert(0, collect)  # before the watcher's, as if collecting took that long
    try:
        asyncio.get_running_loop().call_soon(_package_function("import gc; gc.collect()"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        gc.callbacks.remove(collect)
    assert blocking.take() == []


def test_a_task_that_the_loop_had_to_cancel_is_left_behind() -> None:
    async def forget_a_task() -> None:
        task = asyncio.create_task(asyncio.sleep(60), name="forgotten")
        await asyncio.sleep(0)
        assert not task.done()

    before = leaks.Before.now()
    asyncio.run(forget_a_task())
    (found,) = before.left_behind(grace_seconds=0)
    assert "forgotten" in found
    leaks.Before.now()


def test_a_thread_is_left_behind_until_it_ends() -> None:
    before, end = leaks.Before.now(), threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")
    thread.start()
    (found,) = before.left_behind(grace_seconds=0)
    assert "forgotten" in found
    end.set()
    assert before.left_behind() == []


def test_a_process_is_left_behind_until_it_is_waited_for() -> None:
    before = leaks.Before.now()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (found,) = before.left_behind(grace_seconds=0)
    assert f"process {process.pid}" in found
    process.communicate()
    assert before.left_behind() == []
