"""Errors, delays and deaths on demand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import frozen


class Crash(BaseException):
    """As if the process had died here: not an Exception, so that nobody handles it."""


@frozen(kw_only=True)
class _Fault:
    call: str
    nth: int
    error: BaseException | None
    done: bool
    seconds: float


class Faults:
    """The faults planned for one fake. ``counts``: how often each call was made."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._planned: list[_Fault] = []

    def plan(
        self, call: str, error: BaseException | None = None, *, nth: int = 1, done: bool = False, seconds: float = 0.0
    ) -> None:
        """At the ``nth`` ``call`` from now: wait ``seconds``, then raise ``error``. ``done``: only after the call
        has had its effect, as an answer that was lost."""
        self._planned.append(_Fault(call=call, nth=self.counts[call] + nth, error=error, done=done, seconds=seconds))

    @asynccontextmanager
    async def around(self, call: str) -> AsyncIterator[None]:
        """For a fake: what ``call`` does goes inside."""
        self.counts[call] += 1
        due = [fault for fault in self._planned if (fault.call, fault.nth) == (call, self.counts[call])]
        for fault in due:
            await asyncio.sleep(fault.seconds)
            if fault.error is not None and not fault.done:
                raise fault.error
        yield
        for fault in due:
            if fault.error is not None and fault.done:
                raise fault.error
