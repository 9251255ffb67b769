"""Several runs of one job at once, with requests lost, late and cut, and runs that die: what a reader sees is
every row once and in order, not everybody leaves, and nobody fences for ever.
"""

from __future__ import annotations

import asyncio
import itertools
import random

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from csv2kafka.errors import Csv2KafkaError, TakenOver
from tests.simulation.broker import Fault, Network, network
from tests.simulation.clock import simulate
from tests.simulation.job import DATA, MemoryStore, Run, expected, visible

ROWS = 16
LATE = 100.0  # behind every time-out but the transaction's own

FAULTS = st.one_of(
    st.builds(Fault, delay=st.sampled_from([0.01, 5.0, 29.9, 30.5, 45.0, LATE])),
    st.builds(Fault, answer_delay=st.sampled_from([0.01, 29.0, 45.0])),
    st.just(Fault(lost=True)),
    st.just(Fault(answer_lost=True)),
    st.builds(Fault, cut=st.just(True), delay=st.sampled_from([0.0, 0.5, 10.0, 35.0])),
    st.just(Fault(cut=True, lost=True)),
    st.builds(Fault, code=st.sampled_from([14, 16, 51])),
)
WRITING = ("init_producer", "add_partitions", "produce", "end_transaction")


@frozen(kw_only=True)
class Schedule:
    """``starts``: when each run begins. ``faults``: by the number of the writing request in the whole schedule.
    ``deaths``: when a run is killed. ``shared``: whether runs share a store (a later one takes the lease over)."""

    starts: tuple[float, ...]
    faults: dict[int, Fault]
    deaths: dict[int, float]
    shared: bool
    verifies: bool
    seed: int
    marker_delays: tuple[float, ...]


SCHEDULES = st.builds(
    Schedule,
    starts=st.lists(st.sampled_from([0.0, 0.001, 0.003, 0.01, 0.02, 0.5, 3.0, 31.0]), min_size=2, max_size=3).map(
        tuple
    ),
    faults=st.dictionaries(st.integers(0, 60), FAULTS, max_size=8),
    deaths=st.dictionaries(st.integers(0, 2), st.sampled_from([0.01, 0.05, 0.6, 1.2, 40.0]), max_size=1),
    shared=st.booleans(),
    verifies=st.booleans(),
    seed=st.integers(0, 1000),
    marker_delays=st.lists(st.sampled_from([0.003, 0.05, 2.0, 20.0]), min_size=1, max_size=4).map(tuple),
)


async def play(schedule: Schedule) -> tuple[Network, list[Run], list[object]]:
    """All runs to their ends; what each came to: a checkpoint, an error, or None if it was killed."""
    net = network(verifies=schedule.verifies)
    net.cluster.make_topic(DATA.topic)
    drawn = random.Random(schedule.seed)
    net.cluster.marker_delay = lambda _: drawn.choice(schedule.marker_delays)
    numbers = itertools.count()
    net.faults = lambda request: schedule.faults.get(next(numbers)) if request.operation in WRITING else None
    store = MemoryStore()
    runs: list[Run] = []
    tasks: list[asyncio.Task[object]] = []

    async def run(number: int, start: float) -> object:
        await asyncio.sleep(start)
        own = store if schedule.shared else MemoryStore(store_id=f"store of {number}")
        made = Run(network=net, name=f"run-{number}", rows=ROWS, store=own, draw=drawn.random)
        runs.append(made)
        try:
            return await made.run()
        except Csv2KafkaError as error:
            return error

    for number, start in enumerate(schedule.starts):
        tasks.append(asyncio.create_task(run(number, start)))
    for number, moment in schedule.deaths.items():
        if number < len(tasks):
            asyncio.get_running_loop().call_later(schedule.starts[number] + moment, _kill, net, number, tasks[number])
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return net, runs, [None if isinstance(result, asyncio.CancelledError) else result for result in results]


def _kill(net: Network, number: int, task: asyncio.Task[object]) -> None:
    """As SIGKILL does: nothing is sent any more, what is in the network arrives."""
    net.dead.add(f"run-{number}")
    task.cancel()


@settings(max_examples=100, deadline=None)
@given(SCHEDULES)
def test_every_row_once_whatever_happens(schedule: Schedule) -> None:
    async def main() -> None:
        net, runs, results = await play(schedule)
        for result in results:
            assert result is None or isinstance(result, TakenOver) or not isinstance(result, BaseException), result
        if not schedule.deaths:  # who was told that another run has the job is right, even if that one dies
            assert any(not isinstance(result, BaseException) for result in results), "everybody left"
        net.faults = lambda _: None
        last = Run(network=net, name="last", rows=ROWS)
        await last.run()
        await asyncio.sleep(1000)
        assert visible(net) == expected(ROWS)
        assert all(run.sessions < 40 for run in runs), "no end of sessions"

    simulate(main())
