"""csv2kafka's small figures: how soon it answers, how soon the first batch is in Kafka, how fast verify and the kernel
are."""

from __future__ import annotations

import json
import subprocess
import time

from benchmarks import data, kernel
from benchmarks.data import Table
from benchmarks.figures import Spread
from benchmarks.peers.peer import Peer, Place, environment
from benchmarks.peers.table import COMMAND
from benchmarks.processes import pinned
from benchmarks.race import RUN_SECONDS, Field
from benchmarks.results import Startup

TIMES = 10
KERNEL_ROWS = 200_000
FIRST_SECONDS = 30.0
STAGE = ("frame", "encode json", "pack json none")


def measure(field: Field, peer: Peer, table: Table, rounds: int) -> Startup:
    """``peer``: the default command."""
    problems: list[str] = []
    first, whole, own = [], [], []
    for _ in range(rounds):
        try:
            with field.place(table) as place:
                first.append(_first_batch(field, peer, place))
                seconds, own_seconds = _verify(field, peer, place)
                whole.append(table.rows / seconds)
                own.append(table.rows / own_seconds)
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
    return Startup(
        version_seconds=_version(field),
        first_batch_seconds=Spread.of(first),
        verify_rate=Spread.of(whole),
        verify_own_rate=Spread.of(own),
        native_rate=_native(field, rounds),
        problems=tuple(problems),
    )


def _version(field: Field) -> Spread | None:
    seconds = []
    with pinned(field.cpus):
        for _ in range(TIMES):
            began = time.perf_counter()
            subprocess.run([str(COMMAND), "--version"], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began)
    return Spread.of(seconds)


def _first_batch(field: Field, peer: Peer, place: Place) -> float:
    """Seconds from the start until the partition holds something; the run then goes on to its end."""
    tree = field.start(peer, place)
    arrived = field.arrived(place, 1)
    while not arrived() and tree.runs(0.002) and tree.seconds < FIRST_SECONDS:
        pass
    seconds = tree.seconds
    usage = tree.measured(RUN_SECONDS)
    if usage.problem is not None:
        raise RuntimeError(f"the run {usage.problem}")
    return seconds


def _verify(field: Field, peer: Peer, place: Place) -> tuple[float, float]:
    """Seconds of the process, and as it says itself. RuntimeError if the topic does not hold what it should."""
    argv = [str(COMMAND), "verify", str(place.table.path), "-b", place.servers, "-t", place.topic, "--json"]
    with pinned(field.cpus):
        began = time.perf_counter()
        done = subprocess.run(
            [*argv, "--progress", "none"],
            env=environment(peer, place),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"verify ended with {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")
    told = json.loads(done.stdout)
    if not told["equal"] or told["rows"] != place.table.rows:
        raise RuntimeError(f"verify: {told}")
    return seconds, float(told["seconds"])


def verified(field: Field, peer: Peer, place: Place) -> str | None:
    """A check of a run's content by csv2kafka's own verify, for files that are too large for another one."""
    try:
        _verify(field, peer, place)
    except RuntimeError as error:
        return str(error)
    return None


def _native(field: Field, rounds: int) -> Spread | None:
    """By ``benchmarks.kernel``, on one of the CPUs."""
    made = data.table(KERNEL_ROWS)
    with pinned(field.cpus[:1]):
        watch = kernel.measure(made, ["none"], rounds)
    return Spread.of(KERNEL_ROWS / sum(each[stage] for stage in STAGE) for each in watch.rounds)
