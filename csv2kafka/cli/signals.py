"""Run a coroutine so that SIGTERM, SIGINT or a notice stop it cleanly, and within a bound whatever happens.

first SIGTERM or SIGINT, ──▶ cancel the task: it commits what is on the way and lets go
or a notice
second SIGINT            ──▶ end at once, exit 130
STOP_SECONDS later       ──▶ end anyway, exit 75 (a thread, so that a blocked loop cannot hold it up)
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

from csv2kafka.errors import Stopped

T = TypeVar("T")


class Signalled(Stopped):
    """A signal or a notice ended the work."""


STOP_SECONDS = 9.5  # the promise is ten
CLOSE_SECONDS = 1.0
AT_ONCE = 130  # 128 + SIGINT, as a shell has it
AGAIN = "run the same command again"


def run_until_signalled(
    work: Callable[[], Coroutine[Any, Any, T]],
    *,
    on_stop: Callable[[], None] = lambda: None,
    hint: str = AGAIN,
    notice: Callable[[], Coroutine[Any, Any, str | None]] | None = None,
) -> T:
    """The coroutine's result. ``on_stop`` is told of the first signal. ``hint``: what to do after a stop.
    ``notice``: runs beside it; a reason that it gives stops the work as a first signal does.

    Raises Signalled if a signal or notice ended it, else what the coroutine raises.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work())
    stopper = _Stopper(loop, task, on_stop, hint)
    if notice is not None:
        watching = loop.create_task(notice())  # by a name: the loop itself does not keep tasks alive
        watching.add_done_callback(stopper.noticed)
    before = {number: signal.signal(number, stopper.signalled) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        why = f"because {stopper.reason}" if stopper.reason else "before the end"
        raise Signalled(f"stopped {why}", hint=hint) from None
    finally:
        _close(loop)
        for number, handler in before.items():
            signal.signal(number, handler)
        stopper.ended()


class _Stopper:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any], on_stop: Callable[[], None], hint: str
    ) -> None:
        self._loop = loop
        self._task = task
        self._on_stop = on_stop
        self._hint = hint
        self._deadline: threading.Timer | None = None
        self.reason = ""

    def signalled(self, number: int, _: FrameType | None) -> None:
        """A plain handler, not the loop's: it is called even while the loop is busy."""
        if self._deadline is not None:
            if number == signal.SIGINT:
                _end(AT_ONCE, f"interrupted again: ended at once; {self._hint}")
            return
        self._bound()
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._stop)

    def noticed(self, watching: asyncio.Task[str | None]) -> None:
        """The watch is over: with a reason, or because there is nothing to watch, or the work has ended."""
        if watching.cancelled() or (reason := watching.result()) is None or self._deadline is not None:
            return
        self.reason = reason
        self._bound()
        self._stop()

    def _bound(self) -> None:
        self._deadline = threading.Timer(
            STOP_SECONDS, _end, (Stopped.exit_code, f"not let go after {STOP_SECONDS} s: ended; {self._hint}")
        )
        self._deadline.daemon = True
        self._deadline.start()

    def ended(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()

    def _stop(self) -> None:
        self._on_stop()
        self._task.cancel()


def _end(code: int, line: str) -> None:
    with suppress(OSError, ValueError):
        shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # the cursor, which a bar has hidden
        sys.stderr.write(f"{shown}\n{line}\n")
        sys.stderr.flush()
    os._exit(code)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, with a bound. Threads are not waited for: one may be in a read that never ends."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CLOSE_SECONDS))
    with suppress(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), CLOSE_SECONDS))
    loop.close()
