"""Seeds, one after another, into a part of the campaign, until the time is over."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from attrs import Factory, define

Part = Callable[[int], str]


@define
class Tally:
    """What was tried, and what came of it."""

    seeds: int = 0
    ends: Counter[str] = Factory(Counter)

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {end}" for end, count in self.ends.most_common())
        return f"{self.seeds:,} tried: {told}"


def campaign(
    name: str, part: Part, *, seconds: float = 0.0, count: int = 0, first: int | None = None, tally: Tally | None = None
) -> Tally:
    """``count`` seeds, or as many as ``seconds`` allow, from ``first`` or a random one on.

    AssertionError with the seed at the first one that is not met as it should be, whatever it raised."""
    tally = tally or Tally()
    seed = random.randrange(1 << 40) if first is None else first
    stop = time.monotonic() + seconds
    while tally.seeds < count or time.monotonic() < stop:
        try:
            end = part(seed)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic in Rust is no Exception
            again = f"python -m tests.hostile --only {name} --seed {seed} --count 1"
            raise AssertionError(f"{type(error).__name__}: {error}\nagain: {again}") from error
        tally.ends[end] += 1
        tally.seeds += 1
        seed += 1
    return tally
