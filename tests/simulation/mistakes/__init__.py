"""Mistakes that somebody could make in the package. The campaign has to find each of them, or it does not see enough.

    python -m tests.simulation.mistakes                  # all of them, and how many schedules each took
    python -m tests.simulation.mistakes --only NAME --trace

They are grouped by what they spoil. ``within``: the budget of schedules, from seed 0 on, of the mistake's way to
deliver. Of those, the ones that cannot show the mistake (``where``) are counted and not played. ``test_mistakes.py``
plays those that are found soon, and that the schedules which found them break no law without a mistake.
"""

from __future__ import annotations

import builtins
import itertools
import time

from attrs import frozen

from tests.simulation.campaign import Outcome, play, schedules
from tests.simulation.mistakes import at_least_once, ownership, progress, transactions
from tests.simulation.mistakes.mistake import SOON as SOON
from tests.simulation.mistakes.mistake import Mistake as Mistake
from tests.simulation.planting import planted

MISTAKES: tuple[Mistake, ...] = (
    *transactions.MISTAKES,
    *ownership.MISTAKES,
    *progress.MISTAKES,
    *at_least_once.MISTAKES,
)


@frozen(kw_only=True)
class Found:
    """``drawn``: schedules until a law was broken; ``played``: those that could show it. ``outcome``: of the last, None
    if no law was broken."""

    mistake: Mistake
    drawn: int
    played: int
    seconds: float
    outcome: Outcome | None


def search(mistake: Mistake, within: int | None = None, start: int = 0) -> Found:
    """Play schedules with the mistake in the package until a law is broken, or the budget is used up."""
    began = time.monotonic()
    drawn = played = 0
    outcome: Outcome | None = None
    with planted(*mistake.edits):
        for schedule in itertools.islice(schedules(start, delivery=mistake.delivery), within or mistake.within):
            drawn += 1
            if not mistake.where(schedule):
                continue
            played += 1
            made = play(schedule)
            if clumsy := [f"{who} ends with {how}" for who, how in made.ended.items() if hasattr(builtins, how)]:
                raise AssertionError(f"{mistake.name}: {clumsy}: the mistake itself is no Python\n{made}")
            if made.violations:
                outcome = made
                break
    return Found(mistake=mistake, drawn=drawn, played=played, seconds=time.monotonic() - began, outcome=outcome)
