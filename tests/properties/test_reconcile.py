"""At-least-once under one lease: runs that die one after another, requests lost, late and cut. On a partition that
the job alone writes every row stands once and in order; where a request was later than the time waited for it,
the job may stop and say that something does not fit, but never doubles a row in silence.
"""

from __future__ import annotations

import asyncio
import itertools

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from csv2kafka.errors import StateContradiction
from tests.simulation.broker import REQUEST_SECONDS, Fault, network
from tests.simulation.clock import simulate
from tests.simulation.job import DATA, MemoryStore, Run, expected, visible

ROWS = 16

FAULTS = st.one_of(
    st.builds(Fault, delay=st.sampled_from([0.01, 1.0, 29.0, 29.9, 31.0, 100.0])),
    st.builds(Fault, answer_delay=st.sampled_from([0.01, 29.0, 45.0])),
    st.just(Fault(lost=True)),
    st.just(Fault(answer_lost=True)),
    st.builds(Fault, cut=st.just(True), delay=st.sampled_from([0.0, 0.5, 10.0, 29.0])),
    st.just(Fault(cut=True, lost=True)),
    st.just(Fault(code=16)),
)


@frozen(kw_only=True)
class Schedule:
    """``faults``: by the number of the produce request. ``deaths``: after how many seconds each run is killed, the
    next beginning at once; the last one lives. ``interval``: payloads in a commit."""

    faults: dict[int, Fault]
    deaths: tuple[float, ...]
    interval: int


SCHEDULES = st.builds(
    Schedule,
    faults=st.dictionaries(st.integers(0, 30), FAULTS, max_size=6),
    deaths=st.lists(st.sampled_from([0.01, 0.02, 0.5, 30.02, 30.03, 31.0, 61.0]), max_size=3).map(tuple),
    interval=st.integers(1, 6),
)


@settings(max_examples=150, deadline=None)
@given(SCHEDULES)
def test_every_row_once_or_a_stop_that_says_so(schedule: Schedule) -> None:
    late = any(fault.delay >= REQUEST_SECONDS for fault in schedule.faults.values())

    async def main() -> None:
        net = network()
        net.cluster.make_topic(DATA.topic)
        numbers = itertools.count()
        net.faults = lambda request: schedule.faults.get(next(numbers)) if request.operation == "produce" else None
        store = MemoryStore()
        for number, death in enumerate((*schedule.deaths, None)):
            run = Run(
                network=net,
                name=f"run-{number}",
                rows=ROWS,
                interval=schedule.interval,
                store=store,
                delivery="at-least-once",
            )
            task = asyncio.create_task(run.run())
            await asyncio.wait({task}, timeout=death)
            if not task.done():
                net.dead.add(run.name)
                task.cancel()
                await asyncio.wait({task})
                continue
            if isinstance(task.exception(), StateContradiction):
                assert late, "nothing was later than what is waited for"
                return
            assert task.result().complete
            break
        await asyncio.sleep(1000)
        assert visible(net) == expected(ROWS)

    simulate(main())
