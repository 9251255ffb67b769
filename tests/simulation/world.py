"""One world: a cluster, stores, a source, and processes that run the real pipeline over them, as a schedule says."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from attrs import define, field

from csv2kafka.checkpoints.kafka import KafkaStore
from csv2kafka.kafka.port import TopicPartition
from csv2kafka.pipeline import Pipeline
from csv2kafka.sinks.kafka import KafkaSink
from tests.simulation.actors import Actor, ActorLoop
from tests.simulation.broker import Fault, Network, Request
from tests.simulation.cluster import Cluster
from tests.simulation.laws import Laws
from tests.simulation.leaders import MovingLeaders
from tests.simulation.schedule import Cut, RunPlan, Schedule, StoreAim
from tests.simulation.source import SimulatedSource, bad_of, csv_of, rows_of
from tests.simulation.table import Requests, Table, store_of

JOB = "job"
DATA, LETTERS, EVENTS = TopicPartition("rows", 0), TopicPartition("refused", 0), TopicPartition("events", 0)
CHECKPOINTS = TopicPartition("csv2kafka-checkpoints", 0)
FENCED = ("INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED", "INVALID_PRODUCER_ID_MAPPING")
IDLE_SECONDS = 600.0  # after which brokers close a connection (connections.max.idle.ms)
STOP_SECONDS = 9.5  # as the command has it: then the process ends anyway


@define(eq=False)
class Process:
    """A run of the job: what it was told, and how it ended. ``ended``: the error's name, ``complete``, ``killed`` …"""

    plan: RunPlan
    actor: Actor
    began: float
    run_id: str = ""
    pipeline: Pipeline | None = None
    requests: Requests | None = None
    run: asyncio.Task[Any] | None = None
    ended: str | None = None
    ended_at: float = 0.0
    error: BaseException | None = None
    clock_ahead: float = 0.0
    sessions: int = 0
    asleep_until: float = 0.0
    done: asyncio.Event = field(factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.actor.name


@define(eq=False)
class World:
    """See the module. ``trace``: (time, who, what)."""

    schedule: Schedule
    loop: ActorLoop
    draw: random.Random = field(init=False)
    net: Network = field(init=False)
    laws: Laws = field(init=False)
    leaders: MovingLeaders = field(init=False)
    objects: dict[str, bytes] = field(init=False)
    version: int = 0
    reads: int = 0
    tables: dict[int, Table] = field(factory=dict)
    processes: list[Process] = field(factory=list)
    coverage: Counter[str] = field(factory=Counter)
    trace: list[tuple[float, str, str]] = field(factory=list)
    calm: bool = False  # no faults any more
    faults_until: float = 0.0  # when the last fault has passed
    _asked: Counter[str] = field(factory=Counter)
    _aims: dict[tuple[str, int], Fault] = field(init=False)
    _store_aims: dict[int, StoreAim] = field(init=False)
    _marked: int = 0
    _shut_out_by: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        schedule = self.schedule
        self.draw = random.Random(schedule.seed)
        cluster = Cluster(
            later=self.loop.call_later, now=self.now, verifies=schedule.verifies, first_epoch=schedule.first_epoch
        )
        self.leaders = MovingLeaders(self)
        cluster.marker_delay = self._marker_delay
        cluster.noted = self.cover
        cluster.away = lambda: self.leaders.away_until - self.now()
        self.net = Network(cluster=cluster, faults=self._fault_of, leaders=self.leaders, told=self._network_told)
        self.laws = Laws(
            cluster=cluster,
            job=JOB,
            data=DATA,
            letters=LETTERS,
            events=EVENTS,
            checkpoints=CHECKPOINTS,
            rows=rows_of(schedule),
            bad=bad_of(schedule),
            exactly_once=schedule.delivery == "exactly-once",
            strict=is_strict(schedule),
            restarts=sum(run.restart for run in schedule.runs),
            tell=self.tell,
        )
        for target in (DATA, LETTERS, EVENTS):
            cluster.make_topic(target.topic)
        self.objects = csv_of(schedule)
        self._aims = {(aim.operation, aim.nth): aim.fault for aim in schedule.aims}
        self._store_aims = {aim.nth: aim for aim in schedule.store_aims}

    def now(self) -> float:
        return self.loop.time()

    def tell(self, who: str, what: str) -> None:
        self.trace.append((self.now(), who, what))

    def cover(self, what: str) -> None:
        self.coverage[what] += 1

    def fault(self, what: str, seconds: float = 0.0) -> None:
        """A fault is at work, from now on for ``seconds``."""
        self.coverage[what] += 1
        self.faults_until = max(self.faults_until, self.now() + seconds)

    # --- faults of single requests ---

    def _fault_of(self, request: Request) -> Fault | None:
        self._asked[request.operation] += 1
        fault = self._aims.get((request.operation, self._asked[request.operation]))
        if fault is None or self.calm:
            return None
        commit = {True: " (commit)", False: " (abort)", None: ""}[request.commit]
        self.fault(f"{request.operation}{commit}: {kind_of(fault)}", fault.delay + fault.answer_delay)
        return fault

    def _network_told(self, request: Request, what: str) -> None:
        about = request.operation
        if request.commit is not None:
            about += "(commit)" if request.commit else "(abort)"
        if request.target is not None:
            about += f" {request.target}"
        self.trace.append((self.now(), request.name, f"{about}: {what}"))
        self._note_last_word(request, what)
        if what.startswith("answered "):
            self.cover(f"answer: {_code_in(what)}")

    def _note_last_word(self, request: Request, what: str) -> None:
        """A run that has shut out the others looks at once where the checkpoint topic ends: claims before are older."""
        asked = request.operation, request.target, request.name in self._shut_out_by
        if what == "done" and request.operation == "init_producer":
            self._shut_out_by.add(request.name)
        elif what == "done" and asked == ("log_ends", CHECKPOINTS, True):
            self._shut_out_by.discard(request.name)
            (process,) = (each for each in self.processes if each.name == request.name)
            self.laws.words[process.run_id] = len(self.laws.claims)

    def _marker_delay(self, target: TopicPartition) -> float:
        self._marked += 1
        markers = self.schedule.markers
        delay = 0.003 if self.calm else markers[self._marked % len(markers)]
        if delay > 1.0:
            self.fault("markers are late", delay)
        return delay

    def _store_aim(self) -> StoreAim | None:
        self._asked["store"] += 1
        aim = self._store_aims.get(self._asked["store"])
        if aim is None or self.calm:
            return None
        kind = "lost" if aim.lost else "done, answer lost" if aim.answer_lost else "late"
        self.fault(f"store: {kind}", aim.delay)
        return aim

    def table(self, number: int) -> Table:
        if number not in self.tables:
            self.tables[number] = Table(
                number=number,
                aims=self._store_aim,
                saved=self.saved,
                told=self.tell,
                noted=self.cover,
                context=self.net.context,
            )
        return self.tables[number]

    def saved(self, text: str) -> None:
        """A store has taken a checkpoint."""
        self.laws.stored(json.loads(text))

    # --- processes ---

    def begin(self, name: str, plan: RunPlan) -> Process:
        """Start a run of the job as a process."""
        process = Process(plan, Actor(name, self.loop), self.now())
        self.processes.append(process)
        for cut in plan.cuts:
            act = lambda cut=cut: self._befalls(process, cut)  # noqa: E731
            if cut.step is None:
                self.loop.call_later(cut.at, act)
            else:
                process.actor.at_step.setdefault(cut.step, []).append(act)
        process.actor.start(self._work(process))
        return process

    def sink(self, process: Process) -> Any:
        return KafkaSink(
            DATA.topic,
            delivery=self.schedule.delivery,  # type: ignore[arg-type]
            compression="none",
            dead_letter_topic=LETTERS.topic,
            completion_topic=EVENTS.topic,
            broker_factory=self.net.factory(process.name),
            clock=lambda: self._time_of_day(process),
            draw=self.draw.random,
        )

    def _store(self, process: Process) -> Any:
        if process.plan.store is None:
            return KafkaStore(broker_factory=self.net.factory(process.name), clock=self.now)
        store, process.requests = store_of(self.table(process.plan.store), process.name)
        store._now = lambda: datetime.fromtimestamp(self._time_of_day(process), UTC)
        return store

    def _time_of_day(self, process: Process) -> float:
        return 1.7e9 + self.now() + process.clock_ahead

    async def _work(self, process: Process) -> None:
        pipeline = process.pipeline = Pipeline(
            SimulatedSource(self),
            self.sink(process),
            self._store(process),
            job=JOB,
            checkpoint_interval=self.schedule.interval,
            checkpoint_rows=self.schedule.checkpoint_rows,
            on_bad_row="dead-letter",
            restart=process.plan.restart,
            on_foreign=self.schedule.on_foreign,  # type: ignore[arg-type]
            connect_timeout=1e9,
            on_event=lambda event: self._event(process, event),
            draw=self.draw.random,
        )
        process.run_id = pipeline.run_id
        self.tell(process.name, f"starts as run {process.run_id[:8]}{', restart' if process.plan.restart else ''}")
        run = asyncio.ensure_future(pipeline.run())
        process.run = run
        try:
            report = await run
            ended: str = "already complete" if report.already_complete else "complete"
        except asyncio.CancelledError:
            ended = "stopped"
        except Exception as error:
            ended, process.error = type(error).__name__, error
        self._ends(process, ended)

    def _event(self, process: Process, event: Any) -> None:
        kind = type(event).__name__
        if kind == "SessionOpened":
            process.sessions += 1
            self.tell(process.name, f"session {event.number} goes on at row {event.checkpoint.position.rows}")
            self._opened_at(event.checkpoint)
        elif kind == "Waiting":
            self.tell(process.name, f"waits {event.seconds:.2f} s: {event.reason}")
            if any(f"answered {name}" in event.reason for name in FENCED):
                self._is_fenced(process)
        elif kind == "Committed":
            told = ", complete" if event.checkpoint.complete else ""
            self.tell(process.name, f"committed up to row {event.checkpoint.position.rows}{told}")
        elif kind == "StoreAway":
            self.cover("store away, rows go on")

    def _is_fenced(self, process: Process) -> None:
        """It looks next whether another run has claimed the job: if that can be seen, it claims no more itself."""
        if any(each.kind in ("other-job", "old-leader") for each in self.schedule.happenings):
            return  # those can hide it
        log = self.net.cluster.log(CHECKPOINTS)
        if log.stable == log.end:
            stores = {each.run_id: each.plan.store for each in self.processes}
            self.laws.fenced(process.run_id, stores)

    def _opened_at(self, checkpoint: Any) -> None:
        if self.schedule.delivery == "at-least-once":
            behind = self.net.cluster.log(DATA).end - checkpoint.sink.offsets.get("data", 0)
            if behind > 0 and not checkpoint.complete:
                self.cover("rows stand behind the checkpoint already")

    def _ends(self, process: Process, how: str) -> None:
        if process.ended is None:
            process.ended, process.ended_at = how, self.now()
            told = f": {process.error}".partition("\n")[0] if process.error is not None else ""
            self.tell(process.name, f"ends: {how}{told}")
            self.cover(f"ends: {how}")
            process.done.set()

    def _befalls(self, process: Process, cut: Cut) -> None:
        if process.ended is not None or process.actor.dead or self.calm:
            return
        self.tell(process.name, f"{cut.kind} at its step {process.actor.steps}")
        if cut.kind == "kill":
            self.kill(process)
        elif cut.kind == "power":
            self.power_fails()
        elif cut.kind == "clock":
            process.clock_ahead += cut.seconds
            self.fault("its clock jumps")
        elif cut.kind == "sleep":
            self._sleeps(process, cut.seconds)
        else:
            self.fault("stopped", STOP_SECONDS)
            if process.run is None:
                self.kill(process)
                return
            # A signal's handler is the loop's own business, not a step of the task it cancels.
            self.loop.call_soon(process.run.cancel, context=self.net.context)
            self.loop.call_later(STOP_SECONDS, self._stopped_too_long, process)

    def _stopped_too_long(self, process: Process) -> None:
        if process.ended is None:
            self.kill(process, "ended 9.5 s after the signal")

    def _sleeps(self, process: Process, seconds: float) -> None:
        self.fault(f"asleep for {'days' if seconds > 86_400 else f'{seconds:g} s'}", seconds)
        process.actor.sleep()
        process.asleep_until = self.now() + seconds
        self.loop.call_later(seconds, self._wakes, process, seconds, context=self.net.context)

    def _wakes(self, process: Process, seconds: float) -> None:
        if process.ended is not None:
            return
        self.tell(process.name, "wakes up")
        if seconds >= IDLE_SECONDS:
            for client in self.net.clients:
                if client.name == process.name:
                    client.disconnect()
        process.actor.wake()

    def kill(self, process: Process, how: str = "killed") -> None:
        """As SIGKILL does: nothing is sent any more, what is in the network arrives."""
        self.fault(how)
        process.actor.kill()
        self._ends(process, how)

    def power_fails(self) -> None:
        for process in self.processes:
            if process.ended is None:
                self.kill(process, "killed by a power failure")

    def source_changes(self) -> None:
        """Only of a job that has begun: else it begins with the new one, and there is nothing to say."""
        begun = self.laws.standing.generation >= 0 or self.table(0).checkpoint(JOB) is not None
        if not self.calm and begun:
            self.version += 1
            self.objects = csv_of(self.schedule, self.version)
            self.tell("source", "is another version")
            self.fault("source: another version")

    # --- the end ---

    def check_whole(self) -> None:
        """Every row is there, each once, and the event; nothing is open any more."""
        laws, schedule = self.laws, self.schedule
        if not laws.all_visible():
            laws.broken(f"the job is complete, and readers see {laws.where()}")
        if laws.events_seen < 1:
            laws.broken("the job is complete, and there is no event")
        for target in (DATA, LETTERS, EVENTS, CHECKPOINTS):
            if target.topic in self.net.cluster.topics and self.net.cluster.log(target).open:
                laws.broken(f"{target}: a transaction is open for good: readers wait behind it")
        rows = {
            process.pipeline.report.checkpoint.counts.rows
            for process in self.processes
            if process.pipeline and process.ended and "complete" in process.ended
        }
        if rows - {schedule.rows}:
            laws.broken(f"runs that are complete report {rows} rows of {schedule.rows}")

    def readers_waited(self) -> bool:
        """Whether anything hid records for so long that a run may give up."""
        return any(
            each.kind in ("other-job", "coordinator-away") and each.seconds > 900 for each in self.schedule.happenings
        )

    @contextmanager
    def patched(self) -> Iterator[None]:
        """What has to be replaced in the package for this world."""
        few = self.schedule.sequences
        with patch("csv2kafka.kafka.writer._SEQUENCES", few), patch("tests.simulation.partition.SEQUENCES", few):
            yield


def is_strict(schedule: Schedule) -> bool:
    """Whether no row may be seen twice. At-least-once is not proof against what arrives later than a request's
    time-out, nor against a sleeper that still writes."""
    if schedule.delivery != "at-least-once":
        return True
    late = any(aim.fault.delay >= 29.0 for aim in schedule.aims if aim.operation == "produce")
    sleeper = any(cut.kind == "sleep" and cut.seconds >= 5 for run in schedule.runs for cut in run.cuts)
    return not late and not sleeper


def kind_of(fault: Fault) -> str:
    """Of a fault, for counting."""
    if fault.code is not None:
        return f"{'done, but ' if fault.done else ''}answered with an error"
    if fault.cut:
        return "cut, never arrived" if fault.lost else "cut, arrived"
    if fault.lost:
        return "lost"
    if fault.answer_lost:
        return "done, answer lost"
    if fault.answer_delay:
        return "answer late"
    return "late past its time-out" if fault.delay >= 29 else "late"


def _code_in(text: str) -> str:
    words = text.partition("the broker answered ")[2].split()
    return words[0] if words else "other"
