"""Processes in one event loop: each can be killed, put to sleep and woken at any of its steps, on a virtual clock.

Whatever a process does runs in a context of its own, so the loop knows at each callback whose step it is. One
callback is one step: between two of them a process can die, which is as fine as "cut at every await" can be.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from attrs import define, field

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ACTOR: contextvars.ContextVar[Actor | None] = contextvars.ContextVar("actor", default=None)
MOST_STEPS = 2_000_000  # of a whole schedule


class Endless(Exception):
    """More steps than any schedule can need, or everybody waits for something that has no bound."""


@define(eq=False)
class Actor:
    """A process. ``at_step``: what happens to it just before that step of its own, counted from 1."""

    name: str
    loop: ActorLoop
    steps: int = 0
    dead: bool = False
    asleep: bool = False
    at_step: dict[int, list[Callable[[], None]]] = field(factory=dict)
    tasks: list[asyncio.Task[Any]] = field(factory=list)
    _parked: list[asyncio.Handle] = field(factory=list)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Its main task."""
        context = contextvars.copy_context()
        context.run(ACTOR.set, self)
        return self.loop.create_task(work, context=context)

    def kill(self) -> None:
        """Not one step more. What it has sent is on its way all the same."""
        self.dead = True

    def sleep(self) -> None:
        self.asleep = True

    def wake(self) -> None:
        """Everything that came due meanwhile runs now, in its order."""
        self.asleep = False
        if not self.dead:
            self.loop.put_back(self._parked)

    def step(self) -> bool:
        """Count a step that does not go through the loop (a call to the system); whether it still happens."""
        if self.dead:
            return False
        self.steps += 1
        for act in self.at_step.pop(self.steps, ()):
            act()
        return not self.dead

    def may_run(self, handle: asyncio.Handle) -> bool:
        """Whether this callback runs now; if not, it is kept."""
        if self.asleep or self.dead:
            self._parked.append(handle)
            return False
        self.steps += 1
        if self.steps not in self.at_step:
            return True
        self.steps -= 1
        if self.step() and not self.asleep:
            return True
        self._parked.append(handle)
        return False

    async def dispose(self) -> None:
        """Let its coroutines unwind, so that nothing is left for the garbage collector to complain of."""
        self.at_step.clear()
        self.dead = self.asleep = False
        self.loop.put_back(self._parked)
        for _ in range(20):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=10.0)


class ActorLoop(asyncio.BaseEventLoop):
    """Time passes only when nobody has anything to do. Threads run inline: a schedule is the same each time."""

    _ready: deque[asyncio.Handle]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []  # those of one time in the order they were made
        self._made = itertools.count()
        self._steps = 0
        self.failures: list[str] = []  # of callbacks that are no process's: the world itself is wrong
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._made), timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def put_back(self, handles: list[asyncio.Handle]) -> None:
        """Before everything else that is ready."""
        self._ready.extendleft(reversed(handles))
        handles.clear()

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def play(self, main: Coroutine[Any, Any, T]) -> T:
        """Run ``main``; the loop is closed behind it."""
        try:
            return self.run_until_complete(main)
        finally:
            self._ready.clear()
            self._timers.clear()
            self.close()

    def _complain(self, _: Any, context: dict[str, Any]) -> None:
        if "handle" in context:
            self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _make_task(self, loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        context = options.get("context")
        actor = ACTOR.get() if context is None else context.get(ACTOR)
        if actor is not None:
            actor.tasks.append(task)
        return task

    def _run_once(self) -> None:
        ready, timers, pop = self._ready, self._timers, heapq.heappop
        while timers and timers[0][2]._cancelled:
            pop(timers)
        if not ready:
            if not timers:
                raise Endless("everybody waits for something that has no bound")
            self._now = max(self._now, timers[0][0])
        until = self._now + 1e-9
        while timers and timers[0][0] <= until:
            ready.append(pop(timers)[2])
        for _ in range(len(ready)):
            if not ready:
                break
            handle = ready.popleft()
            if handle._cancelled:
                continue
            actor = handle._context.get(ACTOR)  # type: ignore[attr-defined]
            if actor is None or actor.may_run(handle):
                handle._run()
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Endless("no end of steps")

    def _write_to_self(self) -> None:
        """Nobody waits in a selector."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is dropped when its time comes."""
