"""One run of a peer, its content checked; and all peers in turns, round after round."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
from attrs import define, evolve, field

from benchmarks import content
from benchmarks.broker import Kafka
from benchmarks.content import Hashes, Sends
from benchmarks.data import Table
from benchmarks.figures import Run
from benchmarks.peers.peer import Peer, Place, environment
from benchmarks.processes import Tree

RUN_SECONDS = 900.0


@define(eq=False, kw_only=True)
class Field:
    """Where runs take place: the broker, the peers' CPUs, a directory, and what partitions are to hold."""

    kafka: Kafka
    cpus: Sequence[int]
    directory: Path
    _wanted: dict[tuple[Path, Sends], Hashes] = field(factory=dict)

    @contextmanager
    def place(self, table: Table) -> Iterator[Place]:
        """A new topic and a directory; neither is there afterwards."""
        directory = self.directory / uuid.uuid4().hex[:8]
        directory.mkdir()
        topic = self.kafka.new_topic()
        try:
            yield Place(
                table=table,
                servers=self.kafka.servers,
                topic=topic,
                directory=directory,
                broker_pid=self.kafka.pid,
            )
        finally:
            self.kafka.delete(topic)
            shutil.rmtree(directory, ignore_errors=True)

    def start(self, peer: Peer, place: Place) -> Tree:
        return Tree(
            peer.argv(place),
            directory=place.directory,
            environment=environment(peer, place),
            cpus=self.cpus,
            log=place.directory / "log",
        )

    def wanted(self, peer: Peer, table: Table) -> Hashes:
        """What the partition is to hold, told once for each file and way."""
        sends = Sends.JSON if peer.sends is Sends.JSON_WITH_NULLS else peer.sends
        key = (table.path, sends)
        if key not in self._wanted:
            self._wanted[key] = content.expected(table.path, sends)
        return self._wanted[key]

    def forget(self, table: Table) -> None:
        """Its file is about to be gone."""
        for key in [key for key in self._wanted if key[0] == table.path]:
            del self._wanted[key]

    def found(self, peer: Peer, place: Place) -> Hashes:
        """What it holds."""
        return self.kafka.values(place.topic, content.hash_of(peer.sends, place.table.header, orjson.loads))

    def done(self, peer: Peer, place: Place) -> Callable[[], bool] | None:
        """For a peer that never ends: whether all is there. It may be there more than once."""
        if peer.ends == "itself":
            return None
        return self.arrived(place, len(self.wanted(peer, place.table)))

    def arrived(self, place: Place, records: int) -> Callable[[], bool]:
        """Whether so many records stand in the partition, committed or not."""
        return lambda: self.kafka.end(place.topic) >= records


Check = Callable[[Field, Peer, Place], str | None]


def by_content(field: Field, peer: Peer, place: Place) -> str | None:
    """Every record against what Python's csv module reads."""
    return content.problem(field.wanted(peer, place.table), field.found(peer, place), peer.sends)


def run(
    field: Field,
    peer: Peer,
    table: Table,
    number: int,
    check: Check = by_content,
) -> Run:
    """Measure it once, then check what it did. What goes wrong is in the result, never raised."""
    empty = Run(
        peer=peer.name,
        round=number,
        rows=table.rows,
        bytes=table.bytes,
        seconds=0.0,
        own_seconds=None,
        cpu_seconds=0.0,
        broker_cpu_seconds=0.0,
        peak_bytes=0,
        problem=None,
    )
    try:
        with field.place(table) as place:
            done = field.done(peer, place)
            broker = field.kafka.cpu_seconds()
            usage = field.start(peer, place).measured(RUN_SECONDS, done)
            broker = field.kafka.cpu_seconds() - broker
            if usage.problem is not None:
                return evolve(empty, problem=f"{usage.problem}: {_last_line(usage.output)}")
            own = peer.own(place)
            problem = check(field, peer, place)
    except Exception as error:  # a peer that fails does not end the benchmark
        return evolve(empty, problem=f"{type(error).__name__}: {error}")
    ceiling = peer.kind == "ceiling"
    if ceiling and own is None:
        return evolve(empty, problem="did not say how long it took")
    cpu, broker_cpu = (own.cpu_seconds, own.broker_cpu_seconds) if own else (None, None)
    return evolve(
        empty,
        seconds=own.seconds if ceiling and own else usage.seconds,
        own_seconds=own.seconds if own else None,
        cpu_seconds=usage.cpu_seconds if cpu is None else cpu,
        broker_cpu_seconds=broker if broker_cpu is None else broker_cpu,
        peak_bytes=usage.peak_bytes,
        problem=problem,
    )


def told(made: Run) -> str:
    """In a line."""
    if made.problem is not None:
        return f"not valid: {made.problem}"
    rate, cpu, memory = made.rows / made.seconds, made.cpu_seconds + made.broker_cpu_seconds, made.peak_bytes / 1e6
    return f"{rate:,.0f} rows/s, {made.seconds:.2f} s, {cpu:.2f} CPU s, {memory:.0f} MB"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "said nothing"
