"""kill -9 to all of a peer's processes when half is there, and the same command again: what is lost, what is double."""

from __future__ import annotations

import time

from attrs import evolve

from benchmarks import content
from benchmarks.data import Table
from benchmarks.peers.peer import Peer
from benchmarks.race import RUN_SECONDS, Field
from benchmarks.results import Crash

HALF_SECONDS = 300.0


def crash(field: Field, peer: Peer, table: Table) -> Crash:
    """Start it, kill it, run it again, and compare. What goes wrong is in the result."""
    wanted = field.wanted(peer, table)
    result = Crash(peer=peer.name, records=len(wanted))
    try:
        with field.place(table) as place:
            first = field.start(peer, place)
            half = field.arrived(place, len(wanted) // 2)
            deadline = time.monotonic() + HALF_SECONDS
            while not half() and first.runs(0.002):
                if time.monotonic() > deadline:
                    first.kill()
                    return evolve(result, problem=f"half of it was not there after {HALF_SECONDS:.0f} s")
            alive = first.runs()
            first.kill()
            standing = field.kafka.end(place.topic)
            if not alive:
                return evolve(result, standing=standing, problem="it had ended before it could be killed")
            place.report.unlink(missing_ok=True)
            done = None if peer.ends == "itself" else lambda: field.kafka.quiet(place.topic, len(wanted))
            again = field.start(peer, place).measured(RUN_SECONDS, done)
            if again.problem is not None:
                return evolve(result, standing=standing, problem=f"the second run: {again.problem}")
            found = field.found(peer, place)
    except Exception as error:
        return evolve(result, problem=f"{type(error).__name__}: {error}")
    return evolve(
        result,
        standing=standing,
        rerun_seconds=again.seconds,
        difference=content.difference(wanted, found),
    )
