"""The installed command as a process of its own: started, watched by its JSON lines, killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from attrs import define, frozen

from csv2kafka.cli import guarded
from csv2kafka.config import PREFIX
from csv2kafka.errors import Csv2KafkaError

RUN_SECONDS = 900.0
CLOSE_SECONDS = 30.0


@define
class Watch:
    """What a run's JSON lines have told. ``rows``: committed. ``seconds``: from its first session on, to its last
    commit. ``complete_already``: there was nothing to do. ``failure``: why it failed, if it said so."""

    commits: int = 0
    rows: int = 0
    resumed_from: int = 0
    seconds: float = 0.0
    waiting: str = ""
    complete_already: bool = False
    failure: Mapping[str, Any] | None = None
    _begun: float | None = None

    def note(self, line: bytes, now: float) -> None:
        """A line of standard error; what is not JSON is not for us."""
        try:
            event = json.loads(line)
        except ValueError:
            return
        kind = event.get("event") if isinstance(event, dict) else None
        self.waiting = event["reason"] if kind == "waiting" else ""
        if kind == "session":
            self.rows = event["rows"]
            self.resumed_from = self.resumed_from or self.rows
            self._begun = self._begun or now
        elif kind == "committed":
            self.commits += 1
            self.rows = event["rows"]
            self.seconds = now - (self._begun or now)
        elif kind == "finished":
            self.rows, self.complete_already = event["report"]["rows"], event["report"]["already_complete"]
        elif kind == "failed":
            self.failure = event


@frozen
class Child:
    """Runs ``csv2kafka`` in ``directory``, with ``environment`` added to ours."""

    directory: Path
    environment: Mapping[str, str]

    @contextlib.contextmanager
    def started(
        self, arguments: Sequence[str], *, output: int = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[bytes]]:
        """It ends with this block at the latest, and RUN_SECONDS after it began."""
        process = too_late = None
        try:  # from here on: a signal may end it anywhere
            process = guarded.start(
                [*program(), *arguments],
                directory=self.directory,
                output=output,
                errors=subprocess.PIPE,
                environment=self._environment(),
            )
            too_late = threading.Timer(RUN_SECONDS, process.kill)
            too_late.daemon = True
            too_late.start()
            yield process
        finally:
            if too_late is not None:
                too_late.cancel()
            if process is not None:
                guarded.end(process, signal.SIGKILL, CLOSE_SECONDS)

    def _environment(self) -> dict[str, str]:
        """Settings of the user's own jobs are not for the demo's; how to reach Kafka is, if it is the user's."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return {**ours, **self.environment}


def lines(stream: IO[bytes] | None) -> Iterator[bytes]:
    """A process's output until it ends."""
    assert stream is not None
    yield from stream


def watched(stream: IO[bytes] | None) -> Iterator[Watch]:
    """What is known after each line, always the same object."""
    seen = Watch()
    yield seen
    for line in lines(stream):
        seen.note(line, time.monotonic())
        yield seen


def program() -> list[str]:
    """The installed command that belongs to this Python."""
    script = Path(sys.executable).with_name("csv2kafka")
    return [str(script)] if script.exists() else [sys.executable, "-m", "csv2kafka"]


def shown_program() -> str:
    """How the user can call it: by its name if that is on the path, else by its place."""
    ours = program()
    if shutil.which("csv2kafka") == ours[0]:
        return "csv2kafka"
    if len(ours) > 1:
        return " ".join(ours)
    here = Path.cwd()
    return str(Path(ours[0]).relative_to(here)) if Path(ours[0]).is_relative_to(here) else ours[0]


class StepFailed(Csv2KafkaError):
    """A command of the demo did not end well; the exit code is its own."""

    def __init__(self, step: str, code: int, seen: Watch | None = None) -> None:
        told = (seen and seen.failure) or {}
        super().__init__(f"{step} ended with {code}: {told.get('message', 'see above')}", hint=told.get("hint", ""))
        self.exit_code = code if code > 0 else 1
