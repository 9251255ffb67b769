"""How long a run that was shut out asks who has the job. What it then does: tests/simulation/test_ownership_traps.py"""

from __future__ import annotations

import pytest

from csv2kafka.kafka.ownership import Ownership, ask_after_fence
from tests.simulation.broker import Network
from tests.simulation.clock import now
from tests.simulation.job import CHECKPOINTS
from tests.simulation.play import played


@pytest.mark.parametrize(
    ("fences", "drawn", "seconds"), [(1, 1.0, 2.0), (2, 0.9, 3.6), (3, 0.01, 0.08), (20, 0.5, 30.0), (2000, 0.5, 30.0)]
)
def test_it_asks_for_a_drawn_time_that_grows_with_each_fence_and_only_once(
    fences: int, drawn: float, seconds: float
) -> None:
    async def test(net: Network) -> None:
        net.cluster.make_topic(CHECKPOINTS.topic)
        owner = Ownership(job="job", run_id="run", store_id=None, noted_end=0, fenced=True, fences=fences)
        async with net.factory()() as broker:
            start = now()
            await ask_after_fence(owner, broker, CHECKPOINTS, None, lambda: drawn)
            assert seconds <= now() - start < seconds + 0.01
            start = now()
            await ask_after_fence(owner, broker, CHECKPOINTS, None, lambda: drawn)
            assert now() == start

    played(test)()
