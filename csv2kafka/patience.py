"""How long a run goes on trying: pauses that grow, and when to give up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define, field

from csv2kafka.errors import Csv2KafkaError, NotReachable, Stopped, Unreachable
from csv2kafka.model import Waiting

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0  # with an opening behind it, rows flow within five seconds of a broker's return


@define(kw_only=True, eq=False)
class Patience:
    """``connect_timeout``: seconds for something to answer at all. ``give_up_after``: seconds from a loss on in
    which a commit must succeed again; None: for ever. ``stop`` ends a pause; ``tell`` hears of each.
    ``draw``: 0 to 1, shortens pauses by up to a half."""

    connect_timeout: float
    give_up_after: float | None
    stop: asyncio.Event
    tell: Callable[[Waiting], None]
    draw: Callable[[], float]
    _began_at: float = 0.0
    _lost_at: float | None = None
    _opened_at: float | None = None  # of a session in which no row has come yet
    _answered: bool = False
    _attempt: int = 0
    _next: float = field(default=FIRST_PAUSE_SECONDS)

    def begin(self) -> None:
        """What is asked from now on has ``connect_timeout`` to answer."""
        self._began_at = asyncio.get_running_loop().time()

    def answered(self) -> None:
        """Something is there: from now on it can be lost."""
        self._answered = True

    def opened(self) -> None:
        """A session is open. It may be long until its first row: a compressed object is passed up to there."""
        self._opened_at = asyncio.get_running_loop().time()

    def rows_come(self) -> None:
        """So what it took until the first of the session came is no time in which anything was lost."""
        if self._opened_at is not None and self._lost_at is not None:
            self._lost_at += asyncio.get_running_loop().time() - self._opened_at
        self._opened_at = None

    def committed(self) -> None:
        """All is well again."""
        self._lost_at, self._attempt, self._next = None, 0, FIRST_PAUSE_SECONDS

    async def pause(self, error: Csv2KafkaError, *, rows: int) -> None:
        """Wait before the next attempt, longer each time. ``rows``: committed so far.

        Raises ``error`` itself if it cannot pass, Unreachable to give up, Stopped when asked to stop.
        """
        if not error.retryable:
            raise error
        now = asyncio.get_running_loop().time()
        self._lost_at = now if self._lost_at is None else self._lost_at
        self._answered = self._answered or not isinstance(error, NotReachable)
        seconds = self._next * (1 + self.draw()) / 2
        if not self._answered:
            left = self._began_at + self.connect_timeout - now
            if left <= 0:
                raise Unreachable(
                    f"nothing answered within {self.connect_timeout:g} s: {error.message}",
                    hint=error.hint or "see that the address is right and the server is up",
                ) from error
            seconds = min(seconds, left)
        elif self.give_up_after is not None:
            left = self._lost_at + self.give_up_after - now
            if left <= 0:
                raise Unreachable(
                    f"gave up after {now - self._lost_at:.0f} s without a commit: {error.message}",
                    hint=f"{rows:,} rows are committed; run the same command again to go on",
                ) from error
            seconds = min(seconds, left)
        self._attempt += 1
        self._next = min(LONGEST_PAUSE_SECONDS, 2 * self._next)
        self.tell(Waiting(reason=error.message, seconds=seconds, attempt=self._attempt))
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped(f"stopped while waiting: {rows:,} rows are committed", hint="run again to go on") from error
