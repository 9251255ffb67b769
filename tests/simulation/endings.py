"""What must hold when a world has come to its end: how runs ended, and what stands there then."""

from __future__ import annotations

import re

from csv2kafka.errors import Csv2KafkaError, LeaseHeld, TakenOver
from tests.simulation.world import DATA, Process, World

DONE = ("complete", "already complete")
CUT_OFF = ("killed", "killed by a power failure", "ended 9.5 s after the signal", "stopped")
MOST_SESSIONS = 60


def check_endings(world: World, last: Process, *, must_stop: bool) -> None:
    """``last``: the run that nothing disturbed. ``must_stop``: it has to find out that something is lost."""
    for process in world.processes:
        _allowed(world, process, may_stop=must_stop and process is last)
    _nobody_left(world, [process for process in world.processes if process is not last])
    if must_stop:
        if last.ended != "StateContradiction":
            world.laws.broken(f"something was lost, and the last run ends: {last.ended}")
        return
    if last.ended == "SourceChanged" and world.version:
        return
    if last.ended not in DONE:
        world.laws.broken(f"nothing disturbs the last run, and it ends: {last.ended}")
    world.check_whole()
    if last.ended == "already complete":
        world.cover("the last run finds it complete")


def _allowed(world: World, process: Process, *, may_stop: bool) -> None:
    """Is this how a run may end in such a world?"""
    ended = process.ended
    if process.sessions > MOST_SESSIONS:
        world.laws.broken(f"{process.name} has opened {process.sessions} sessions")
    if ended in DONE or ended in CUT_OFF:
        return
    if isinstance(process.error, TakenOver):
        if not _another(world, process):
            world.laws.broken(f"{process.name} says that another run has the job, and there is none: {process.error}")
        if isinstance(process.error, LeaseHeld):
            _left_to_the_living(world, process)
        return
    if ended == "SourceChanged" and world.version:
        return
    if ended == "StateContradiction" and may_stop:
        return
    if ended == "Unreachable" and world.readers_waited():
        return
    told = process.error if isinstance(process.error, Csv2KafkaError) else repr(process.error)
    world.laws.broken(f"{process.name} ends with {ended}, which nothing here can be the reason of: {told}")


def _another(world: World, process: Process) -> bool:
    """Whether another run has claimed the job, or had its lease (or the file)."""
    if any(run_id != process.run_id for run_id, _, _ in world.laws.claims):
        return True
    store = process.plan.store
    owners = world.table(store).owners if store is not None else []
    return any(process.run_id[:8] not in owner for owner in owners)


def _left_to_the_living(world: World, process: Process) -> None:
    """The lease was a run's that lived when this one came, whatever it had sent before it died."""
    for other in world.processes:
        if other.name == _blamed(world, process) and other.ended is not None and other.ended_at < process.began:
            world.laws.broken(f"{process.name} leaves the job to {other.name}, which had ended before it began")


def _nobody_left(world: World, processes: list[Process]) -> None:
    """Who leaves because another run has the job is right only if that one has not left because of him."""
    blamed = {process.name: _blamed(world, process) for process in processes if isinstance(process.error, TakenOver)}
    for name in blamed:
        seen, at = {name}, blamed[name]
        while at in blamed and at not in seen:
            seen.add(at)
            at = blamed[at]
        if at == name:
            world.laws.broken(f"mutual exit: {' and '.join(sorted(seen))} have left because of each other")
            return


def _blamed(world: World, process: Process) -> str | None:
    """The process that an error names."""
    found = re.search(r"run ([0-9a-f]{8})", str(process.error).split("this is run")[0])
    if found is None or process.run_id.startswith(found[1]):
        return None
    return next((each.name for each in world.processes if each.run_id.startswith(found[1])), None)


__all__ = ["DATA", "check_endings"]
