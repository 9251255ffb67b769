"""What the benchmark has to know of a peer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from attrs import frozen

from benchmarks.content import Sends
from benchmarks.data import Table

# What is the user's or the benchmark's own is not the peers' business. Python may keep compiled files, as it does
# for a user.
NOT_PASSED_ON = ("CSV2KAFKA_", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "KAFKA_", "SPARK_")


@frozen(kw_only=True)
class Place:
    """One run's surroundings. ``directory`` is fresh for a run, and the same for the run after a kill."""

    table: Table
    servers: str
    topic: str
    directory: Path
    broker_pid: int

    @property
    def report(self) -> Path:
        """Where a peer that measures itself says so."""
        return self.directory / "report.json"


@frozen(kw_only=True)
class Own:
    """What a peer says of its own run. CPU seconds None: the tree's and the broker's are as they were measured."""

    seconds: float
    cpu_seconds: float | None = None
    broker_cpu_seconds: float | None = None


@frozen(kw_only=True)
class Peer:
    """``name``: for ``--only``. ``settings``: how it is run, for the table. ``argv``: of one run. ``missing``: why it
    cannot be had here, None if it can; asked once, may fetch. ``ends``: "itself", or "stopped" once all is there.
    ``kind``: "ours", "other", or "ceiling" (which counts its own seconds, without what it prepares).
    ``killed``: whether killing it and running it again says something. ``slow``: kill it with fewer rows."""

    name: str
    title: str
    settings: str
    sends: Sends
    argv: Callable[[Place], Sequence[str]]
    missing: Callable[[], str | None] = lambda: None
    environment: Mapping[str, str] = {}
    own: Callable[[Place], Own | None] = lambda place: None
    kind: Literal["ours", "other", "ceiling"] = "other"
    ends: Literal["itself", "stopped"] = "itself"
    killed: bool = True
    slow: bool = False
    most_rows: int | None = None


def environment(peer: Peer, place: Place) -> dict[str, str]:
    """What the peer's process gets: state and temporary files in the run's own directory."""
    passed = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
    own = {"XDG_STATE_HOME": str(place.directory), "TMPDIR": str(place.directory)}
    return {**passed, **own, **peer.environment}


def own_report(place: Place) -> Own | None:
    """From ``place.report``, None if there is none."""
    if not place.report.exists():
        return None
    told = json.loads(place.report.read_text())
    return Own(
        seconds=told["seconds"],
        cpu_seconds=told.get("cpu_seconds"),
        broker_cpu_seconds=told.get("broker_cpu_seconds"),
    )
