"""An event loop whose time passes only when nothing else is to be done: a lease of 15 s ends in no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """``time()`` begins at 0 and jumps to the next timer when no callback is due and no thread is at work.

    For code that waits by timers and threads alone. What comes over a socket is not waited for: a time-out
    around it is there at once.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._threads = 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now

    def run_in_executor(  # type: ignore[override]  # typeshed's is generic in the function's arguments
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        self._threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._threads -= 1


class _Jumping(selectors.BaseSelector):
    """Waits in earnest while a thread is at work, else moves the loop's clock instead of waiting."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop
        self._selector = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._selector.select(timeout)
        events = self._selector.select(timeout if self._loop._threads else 0)
        if not events:
            self._loop._now += timeout
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._selector.modify(fileobj, events, data)

    def close(self) -> None:
        self._selector.close()

    def get_map(self) -> Any:
        return self._selector.get_map()


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in a VirtualClockLoop."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
