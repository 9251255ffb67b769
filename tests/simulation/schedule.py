"""A schedule: everything that is drawn about one world, as a value that can be written down and read back.

``drawn(seed)`` makes one from a number, for the campaign; ``SCHEDULES`` is the same for hypothesis, which shrinks.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from attrs import asdict, evolve, frozen
from cattrs import Converter
from hypothesis import strategies as st

from tests.simulation.broker import Fault

T = TypeVar("T")

REQUEST_SECONDS = 30.0
DAY = 86_400.0
OPERATIONS = ("init_producer", "add_partitions", "produce", "end_transaction")
READING = ("topic", "log_ends", "read", "create_topic")
DELIVERIES = ("exactly-once", "at-least-once", "file")
FEW_SEQUENCES = 40
LOSSES = ("truncate", "recreate", "forget-checkpoints", "retention")


@frozen(kw_only=True)
class Cut:
    """What befalls a run. ``kind``: ``kill``, ``power`` (all runs, and what no disk had yet), ``stop`` (as SIGTERM
    does), ``sleep`` (for ``seconds``), ``clock`` (its wall clock jumps by ``seconds``). ``step``: just before that step
    of the run; else ``at`` seconds after its start."""

    kind: str
    step: int | None = None
    at: float = 0.0
    seconds: float = 0.0


@frozen(kw_only=True)
class RunPlan:
    """A process. ``store``: which of several; None: the checkpoint topic itself (``kafka://``)."""

    start: float
    store: int | None = 0
    restart: bool = False
    cuts: tuple[Cut, ...] = ()


@frozen(kw_only=True)
class Aim:
    """A fault of the ``nth`` request of its kind in the whole schedule, counted from 1."""

    operation: str
    nth: int
    fault: Fault


@frozen(kw_only=True)
class StoreAim:
    """A fault of the ``nth`` request to stores. ``lost``: it never arrives; ``answer_lost``; ``delay``: of both."""

    nth: int
    lost: bool = False
    answer_lost: bool = False
    delay: float = 0.0


@frozen(kw_only=True)
class Happening:
    """Of the cluster or a store, at a moment. See ``world.py`` for the kinds."""

    at: float
    kind: str
    seconds: float = 0.0
    number: int = 0


@frozen(kw_only=True)
class Schedule:
    """``rows``: of the CSV; ``bad``: before which of them stands a bad one; ``objects``: files it is cut into.
    ``pauses``: seconds before each block of the source, over and over; ``failing``: which reads of it fail.
    ``changes_at``: when another version takes the source's place. ``markers``: how long each takes, over and over.
    ``loss``: what is lost between the runs and the last one, of LOSSES. ``blind``: reading does not
    notice that the source is another version. ``on_foreign``: as the pipeline's. ``sequences``: how many numbers
    batches have before they begin again at 0."""

    seed: int
    delivery: str = "exactly-once"
    rows: int = 16
    bad: tuple[int, ...] = ()
    objects: int = 1
    checkpoint_rows: int | None = None
    interval: float = 0.1
    pauses: tuple[float, ...] = (0.0,)
    runs: tuple[RunPlan, ...] = (RunPlan(start=0.0),)
    aims: tuple[Aim, ...] = ()
    store_aims: tuple[StoreAim, ...] = ()
    happenings: tuple[Happening, ...] = ()
    failing: tuple[int, ...] = ()
    changes_at: float | None = None
    markers: tuple[float, ...] = (0.003,)
    verifies: bool = True
    first_epoch: int = 0
    loss: str | None = None
    blind: bool = False
    on_foreign: str = "stop"
    sequences: int = 1 << 31

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Schedule:
        return _converter().structure(json.loads(text), Schedule)


@cache
def _converter() -> Converter:
    return Converter()


class Drawn:
    """Where values come from: a seeded generator, or hypothesis."""

    def __init__(self, draw: random.Random | Any) -> None:
        self._random = draw if isinstance(draw, random.Random) else None
        self._draw = draw

    def of(self, values: Sequence[T]) -> T:
        if self._random is not None:
            return values[int(self._random.random() * len(values))]
        return self._draw(st.sampled_from(values))  # type: ignore[no-any-return,operator]

    def number(self, least: int, most: int) -> int:
        if self._random is not None:
            return self._random.randint(least, most)
        return self._draw(st.integers(least, most))  # type: ignore[no-any-return,operator]

    def chance(self, of_hundred: int) -> bool:
        return self.number(1, 100) > 100 - of_hundred

    def moment(self, most: float = 60.0) -> float:
        """Small ones as likely as large ones."""
        return round(math.exp(self.number(0, 1000) / 1000 * math.log(most * 1000)) / 1000, 4)

    def some(self, most: int, each: Any) -> tuple[Any, ...]:
        return tuple(each() for _ in range(self.number(0, most)))


def drawn(seed: int, delivery: str | None = None) -> Schedule:
    """The schedule of a seed."""
    return _schedule(Drawn(random.Random(seed)), seed, delivery)


@st.composite
def _composite(draw: Any) -> Schedule:
    return _schedule(Drawn(draw), draw(st.integers(0, 999)), None)


SCHEDULES: st.SearchStrategy[Schedule] = _composite()


def _schedule(d: Drawn, seed: int, delivery: str | None) -> Schedule:
    delivery = delivery or d.of(("exactly-once",) * 7 + ("at-least-once",) * 2 + ("file",))
    stormy = d.of((0, 1, 1, 2))
    rows = d.number(1, 24)
    loss = d.of(LOSSES) if delivery != "file" and d.chance(4) else None
    kafka = delivery != "file"
    runs = _runs(d, delivery, lossy=loss is not None, stormy=stormy)
    restartless = not any(run.restart for run in runs)
    made = Schedule(
        seed=seed,
        delivery=delivery,
        rows=rows,
        bad=tuple(sorted({d.number(0, rows) for _ in range(d.of((0, 0, 1, 3)))})),
        objects=d.of((1, 1, 2)),
        checkpoint_rows=d.of((None, 1, 3, 5, 7)),
        interval=d.of((0.1, 0.1, 1.0)),
        pauses=d.of(((0.0,), (0.0,), (0.02,), (0.0, 0.4), (0.0, 0.0, 3.0), (0.0, 0.0, 0.0, 17.0), (6.0, 0.0))),
        runs=runs,
        aims=tuple(_aim(d) for _ in range(d.number(0, 4 * stormy))) if kafka else (),
        store_aims=d.some(3, lambda: _store_aim(d)) if d.chance(40) and stormy else (),
        happenings=() if loss else tuple(_happening(d, delivery) for _ in range(d.number(0, 2 * stormy))),
        failing=tuple(d.number(1, 12) for _ in range(d.of((0, 0, 0, 1, 2)))),
        changes_at=d.moment(20.0) if restartless and loss is None and d.chance(4) else None,
        markers=tuple(d.of((0.003, 0.003, 0.003, 0.05, 0.05, 2.0, 2.0, 20.0)) for _ in range(d.number(1, 4)))
        if stormy
        else (0.003,),
        verifies=d.chance(50),
        first_epoch=d.of((0,) * 9 + (32760,)),
        loss=loss,
    )
    if kafka and d.chance(5):  # more rows than sequence numbers, which are more than any five batches have
        made = evolve(made, rows=made.rows + FEW_SEQUENCES, sequences=FEW_SEQUENCES)
    # Only where rows are seen with their commit, behind the last look at the source.
    blind = made.changes_at is not None and d.chance(60) and delivery == "exactly-once"
    resend = delivery == "at-least-once" and d.chance(30)
    made = evolve(made, blind=blind, on_foreign="resend" if resend else "stop")
    return _taken_over(d, made) if delivery == "at-least-once" and len(runs) > 1 and d.chance(20) else made


def _taken_over(d: Drawn, made: Schedule) -> Schedule:
    """The first run dies, the next watches its lease from then on, and a batch of it arrives when that is over."""
    dies = round(0.5 + d.moment(10.0), 4)
    first = evolve(made.runs[0], cuts=(Cut(kind="kill", at=dies),))
    second = evolve(made.runs[1], start=dies + 0.1)
    late = Aim(operation="produce", nth=d.number(2, 9), fault=Fault(delay=d.number(145, 185) / 10))
    pauses = d.of(((0.5,), (0.5, 0.5, 6.0), (3.0, 0.5)))
    return evolve(made, runs=(first, second, *made.runs[2:]), aims=(late, *made.aims), pauses=pauses)


def _runs(d: Drawn, delivery: str, *, lossy: bool, stormy: int) -> tuple[RunPlan, ...]:
    count = 1 if lossy else d.of((1, 2, 2, 3))
    stores: tuple[int | None, ...] = (0,) * count
    if delivery == "exactly-once" and not lossy:
        kind = d.of(("shared", "shared", "own", "kafka", "mixed"))
        if kind == "own":
            stores = tuple(range(count))
        elif kind == "kafka":
            stores = (None,) * count
        elif kind == "mixed":
            stores = tuple(d.of((0, 1, None)) for _ in range(count))
    restarts = not lossy and d.chance(8)
    return tuple(
        RunPlan(
            start=0.0 if number == 0 else d.of((0.0, d.moment(2.0), d.moment(100.0))),
            store=store,
            restart=restarts and d.chance(60),
            cuts=tuple(_cut(d, delivery, count) for _ in range(d.of((0, 1, 1, 2) if stormy else (0, 0, 1)))),
        )
        for number, store in enumerate(stores)
    )


def _cut(d: Drawn, delivery: str, count: int) -> Cut:
    kind = d.of(("kill", "kill", "kill", "sleep", "sleep", "stop", "clock"))
    if delivery == "file" and kind == "kill":
        kind = d.of(("kill", "power"))
    seconds = 0.0
    if kind == "sleep":
        seconds = d.of((0.05, 5.0, 5.0, 20.0, 20.0, 40.0, 40.0, 100.0, 900.0, 8 * DAY))
    elif kind == "clock":
        seconds = d.of((-1, 1)) * d.of((1.0, 60.0, 3600.0, 10 * 3600.0))
    step = None if d.chance(25) else d.number(1, d.of((40, 300, 900)))
    return Cut(kind=kind, step=step, at=0.0 if step else d.moment(40.0), seconds=seconds)


def _aim(d: Drawn) -> Aim:
    operation = d.of(OPERATIONS) if d.chance(85) else d.of(READING)
    most = {"init_producer": 3, "create_topic": 1, "topic": 12}.get(operation, 14)
    return Aim(operation=operation, nth=d.number(1, most), fault=_fault(d, operation))


def _fault(d: Drawn, operation: str) -> Fault:
    kind = d.of(("delay", "answer_delay", "lost", "answer_lost", "cut", "cut-lost", "code", "done"))
    if kind == "delay":
        return Fault(delay=d.of((0.01, 0.3, 5.0, 29.9, 30.5, 33.0, 45.0, 100.0)))
    if kind == "answer_delay":
        return Fault(answer_delay=d.of((0.01, 2.0, 29.0, 45.0)))
    if kind == "lost":
        return Fault(lost=True)
    if kind == "answer_lost":
        return Fault(answer_lost=True, delay=d.of((0.0, 0.0, 3.0)))
    if kind == "cut":
        return Fault(cut=True, delay=d.of((0.0, 0.3, 10.0, 35.0)))
    if kind == "cut-lost":
        return Fault(cut=True, lost=True)
    if kind == "code":
        codes = {"produce": (6, 7, 19), "end_transaction": (14, 15, 16, 51), "read": (6,), "log_ends": (6,)}
        return Fault(code=d.of(codes.get(operation, (14, 15, 16, 51) if operation in OPERATIONS else (7,))))
    codes = {"produce": (20, 7), "end_transaction": (15, 16), "add_partitions": (15, 16)}
    return Fault(code=d.of(codes.get(operation, (7,))), done=True)


def _store_aim(d: Drawn) -> StoreAim:
    kind = d.of(("lost", "answer", "late"))
    late = d.of((0.5, 4.0, 8.0, 25.0)) if kind == "late" else 0.0
    return StoreAim(nth=d.number(1, 25), lost=kind == "lost", answer_lost=kind == "answer", delay=late)


def _happening(d: Drawn, delivery: str) -> Happening:
    at = d.moment(40.0)
    if delivery == "file":
        return Happening(at=at, kind="store-away", seconds=d.of((1.0, 8.0, 20.0, 70.0, 200.0)), number=0)
    kind = d.of(
        (
            *("leader", "old-leader", "coordinator", "compaction", "other-job", "store-away") * 2,
            *("coordinator-away", "cluster-away"),
        )
    )
    seconds = {
        "old-leader": (1.0, 10.0, 45.0, 200.0),
        "coordinator": (0.0, 0.2, 5.0),
        "coordinator-away": (2.0, 20.0, 80.0),
        "other-job": (0.5, 10.0, 50.0, 50.0, 300.0),
        "store-away": (1.0, 8.0, 20.0, 70.0, 200.0),
        "cluster-away": (1.0, 10.0, 100.0),
    }.get(kind, (0.0,))
    return Happening(at=at, kind=kind, seconds=d.of(seconds), number=d.number(0, 2))
