"""Finds out when the package blocks an event loop. ``install`` once; ``take`` gives what was found since.

Two ways, neither of which a busy machine can fool:
- A callback of a loop that took longer than ``LIMIT_SECONDS``, not counting the time in which the thread could
  have run but got no processor, nor that of collecting garbage, of which a process with all tests has much,
  while the package's own code was on the stack. A sampling thread notes the stack while the callback is still
  running; a callback that let nobody look counts, too.
- ``time.sleep`` called by the package in a thread whose loop is running, however short.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import traceback
from asyncio.events import Handle
from pathlib import Path
from types import FrameType

import csv2kafka
from csv2kafka.cli import local_kafka

LIMIT_SECONDS = 0.5
SAMPLE_SECONDS = 0.1
PACKAGE = str(Path(csv2kafka.__file__).parent)
BLOCKS_BY_DESIGN = frozenset({local_kafka.__file__})  # it says so; only tests and the demo use it

_run_handle = Handle._run
_sleep = time.sleep
_running: dict[int, float] = {}  # thread → when its callback began
_sampled: dict[int, tuple[float, list[traceback.FrameSummary]]] = {}  # thread → that time, stack
_found: list[str] = []
_collecting_from = 0.0
_collected: dict[int, float] = {}  # thread → seconds in which it collected garbage


def install() -> None:
    """Watch every event loop of this process from now on."""
    gc.callbacks.append(_note_collection)
    Handle._run = _watched_run  # type: ignore[method-assign]
    time.sleep = _watched_sleep  # type: ignore[assignment]
    threading.Thread(target=_sample, name="blocking-sampler", daemon=True).start()


def take() -> list[str]:
    """What was found since the last call, each with its stack."""
    found = _found.copy()
    _found.clear()
    return found


def _watched_run(self: Handle) -> None:
    thread = threading.get_ident()
    kept_waiting, collected = _seconds_without_processor(), _collected.get(thread, 0.0)
    computing = time.thread_time()
    start = _running[thread] = time.perf_counter()
    try:
        _run_handle(self)
    finally:
        seconds = time.perf_counter() - start
        _running.pop(thread, None)
        if seconds > LIMIT_SECONDS:
            seconds -= _seconds_without_processor() - kept_waiting + _collected.get(thread, 0.0) - collected
            began, stack = _sampled.get(thread, (0.0, []))
            # No stack was seen: it computed without giving the interpreter away, or else the machine stood still.
            is_ours = _is_ours(stack) if began == start else time.thread_time() - computing > LIMIT_SECONDS
            if seconds > LIMIT_SECONDS and is_ours:
                where = "".join(traceback.format_list(stack)) if began == start else "no stack was seen\n"
                _found.append(f"a callback blocked the event loop for {seconds:.2f} s: {self!r}\n{where}")


def _note_collection(phase: str, _: dict[str, int]) -> None:
    global _collecting_from
    if phase == "start":
        _collecting_from = time.perf_counter()
    else:
        thread = threading.get_ident()
        _collected[thread] = _collected.get(thread, 0.0) + time.perf_counter() - _collecting_from


def _seconds_without_processor() -> float:
    """How long this thread has been ready to run, but was not let run; 0 where the system does not tell."""
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        return 0.0
    try:
        return int(os.read(file, 100).split()[1]) / 1e9
    finally:
        os.close(file)


def _sample() -> None:
    while True:
        _sleep(SAMPLE_SECONDS)
        for thread, start in list(_running.items()):
            known = _sampled.get(thread)
            long = time.perf_counter() - start > LIMIT_SECONDS / 2
            frame = sys._current_frames().get(thread) if long and (known is None or known[0] != start) else None
            if frame is not None:
                _sampled[thread] = (start, _inside_callback(frame))


def _inside_callback(frame: FrameType) -> list[traceback.FrameSummary]:
    """The stack, from the running callback on."""
    stack = list(traceback.extract_stack(frame))
    starts = [at for at, entry in enumerate(stack) if entry.name == _watched_run.__name__]
    return stack[starts[-1] + 1 :] if starts else stack


def _is_ours(stack: list[traceback.FrameSummary]) -> bool:
    """Whether the package's code runs in it; what a test itself blocks is the test's own affair, and that a new
    thread waits for a processor the machine's."""
    files = {entry.filename for entry in stack}
    starts_thread = (threading.__file__, "start") in {(entry.filename, entry.name) for entry in stack}
    return any(name.startswith(PACKAGE) for name in files) and not files & BLOCKS_BY_DESIGN and not starts_thread


def _watched_sleep(seconds: float) -> None:
    if asyncio._get_running_loop() is not None:
        frame = sys._getframe(1)
        if frame.f_code.co_filename.startswith(PACKAGE) and frame.f_code.co_filename not in BLOCKS_BY_DESIGN:
            _found.append("time.sleep in a running event loop\n" + "".join(traceback.format_stack(frame)))
    _sleep(seconds)
