"""A job that things happen to: its runs, each a process of its own, and the judgement of what they left in Kafka."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

from attrs import Factory, define, field, frozen

from csv2kafka.cli import guarded
from tests.chaos.compare import Outcome, compare
from tests.faults.installed import COMMAND, KERNEL, expected_values, write_csv
from tests.reading import each_row

LONGEST_SECONDS = 240.0  # for anything that is waited for; a busy machine is slow
STARTS = 12  # until a job must have come to its end
FINISHING_ROWS = 5000  # in one commit, to be at the end soon
PASSING = (69, 75, 76)  # exit codes after which the same command is to be given again
POLL_SECONDS = 0.005


class Problem(Exception):
    """Something that should not be, besides rows: an end that was not reached, an exit code that is none of ours."""


class Interrupted(Exception):
    """The campaign is to end now."""


@frozen(eq=False, slots=False)
class Source:
    """A CSV that jobs share."""

    path: Path
    rows: int

    @classmethod
    def made(cls, path: Path, rows: int) -> Source:
        write_csv(path, rows)
        return cls(path, rows)

    @cached_property
    def values(self) -> Sequence[bytes]:
        """What each row is to be, by other means than the package's."""
        return list(expected_values(self.path))

    def offset_behind(self, rows: int) -> int:
        """Bytes up to there, nearly: every thousand rows are the same."""
        return self.path.stat().st_size * rows // self.rows


@frozen
class Commit:
    at: float
    rows: int


@define(eq=False)
class Run:
    """One process. It never outlives this one. ``prefix``: a command that runs it, in its own place.
    ``pause``: sleeps; raises Interrupted when all is to end."""

    arguments: Sequence[str]
    log: Path
    pause: Callable[[float], None]
    kernel: str = KERNEL
    prefix: Sequence[str] = ()
    variables: Mapping[str, str] = {}
    commits: list[Commit] = Factory(list)
    opened_at: float | None = None
    started_at: float = 0.0
    _process: subprocess.Popen[bytes] | None = None
    _read: int = 0
    _over: bool = False

    def start(self) -> Run:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CSV2KAFKA_")}
        environment |= {"XDG_STATE_HOME": str(self.log.parent / "state"), "CSV2KAFKA_KERNEL": self.kernel}
        command = [*self.prefix, str(COMMAND), *self.arguments]
        self.started_at = time.time()
        with self.log.open("wb") as log:
            self._process = guarded.start(
                command, directory=self.log.parent, output=log, environment={**environment, **self.variables}
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def rows(self) -> int:
        """Of the last commit it told of; -1 before its first."""
        self._hear()
        return self.commits[-1].rows if self.commits else -1

    def _hear(self) -> None:
        """Take in the lines it has written since."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        whole = text.rfind(b"\n") + 1
        self._read += whole
        for line in text[:whole].splitlines():
            if line.startswith((b'{"event": "committed"', b'{"event": "session"')):
                event = json.loads(line)
                at = datetime.fromisoformat(event["at"]).timestamp()
                if event["event"] == "committed":
                    self.commits.append(Commit(at, event["rows"]))
                elif self.opened_at is None:
                    self.opened_at = at

    def until(self, true: Callable[[], bool], seconds: float = LONGEST_SECONDS, what: str = "") -> bool:
        """Wait for it; False if the run ended before. Problem after the seconds."""
        deadline = time.monotonic() + seconds
        while not true():
            if self.code is not None:
                return true()
            if time.monotonic() > deadline:
                raise Problem(f"waited {seconds:.0f} s {what or 'for a commit'}:\n{self.output[-2000:]}")
            self.pause(POLL_SECONDS)
        return True

    def until_rows(self, more_than: int, seconds: float = LONGEST_SECONDS) -> bool:
        return self.until(lambda: self.rows > more_than, seconds)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGSTOP, and wait until it stands: a busy machine lets it go on for a while."""
        self.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        self.until(lambda: stat.read_text().rpartition(")")[2].split()[0] in "TZ", what="for it to stand")

    def kill(self) -> bool:
        """SIGKILL, and wait; whether it still ran."""
        self._end()
        self._hear()
        return self.process.returncode == -signal.SIGKILL

    def end(self, seconds: float = LONGEST_SECONDS) -> int:
        """Wait for its end by itself; gives the exit code. Problem after the seconds."""
        deadline = time.monotonic() + seconds
        while (code := self.code) is None:
            if time.monotonic() > deadline:
                raise Problem(f"no end in {seconds:.0f} s:\n{self.output[-2000:]}")
            self.pause(0.02)
        self._end()
        self._hear()
        return code

    def _end(self) -> None:
        """Nothing of it is left."""
        if self._process is not None and not self._over:
            self._over = True
            guarded.end(self._process, signal.SIGKILL, LONGEST_SECONDS)


@define(eq=False, kw_only=True)
class Job:
    """``options``: of every run and of verify. ``output``: the file that rows go to instead of Kafka.
    ``url``: where the source is read from, instead of its file."""

    source: Source
    name: str
    servers: str
    topic: str
    directory: Path
    pause: Callable[[float], None]
    delivery: str = "exactly-once"
    options: Sequence[str] = ()
    variables: Mapping[str, str] = {}
    store: Path = field()
    output: Path | None = None
    url: str = ""
    complete: bool = False
    runs: list[Run] = Factory(list)

    @store.default
    def _store(self) -> Path:
        return self.directory / f"{self.name}.db"

    def command(self, verb: str, store: Path | None = None) -> list[str]:
        to = ["-o", str(self.output)] if self.output else ["-b", self.servers, "-t", self.topic]
        common = ["--job", self.name, "--delivery", self.delivery, "--checkpoints", f"sqlite:///{store or self.store}"]
        return [verb, self.url or str(self.source.path), *to, *common, *self.options]

    def start(
        self,
        *more: str,
        commits: int | None = 50,
        store: Path | None = None,
        kernel: str = KERNEL,
        prefix: Sequence[str] = (),
        variables: Mapping[str, str] = {},
    ) -> Run:
        """A run of it. ``commits``: rows in each; None: every second."""
        sized = [] if commits is None else ["--checkpoint-rows", str(commits)]
        run = Run(
            [*self.command("run", store), "--progress", "json", *sized, *more],
            self.directory / f"{self.name}-run-{len(self.runs)}.log",
            self.pause,
            kernel,
            prefix,
            {**self.variables, **variables},
        )
        self.runs.append(run)
        return run.start()

    def finish(self) -> None:
        """Run it until it says that it is complete, as somebody would who knows the exit codes."""
        for _ in range(STARTS):
            run = self.start(commits=FINISHING_ROWS)
            code = run.end()
            if code == 0:
                self.complete = True
                return
            expect(run, *PASSING)
            self.pause(0.5)
        raise Problem(f"not complete after {STARTS} runs:\n{run.output[-2000:]}")

    def judge(self, servers: str = "") -> Outcome:
        """What another client sees against the CSV. Problem where ``csv2kafka verify`` says otherwise."""
        servers = servers or self.servers
        found = self._lines() if self.output else self._records(servers)
        outcome = compare(self.source.values, found, complete=self.complete)
        if self.complete:
            verify = self.verified()
            if (verify.code == 0) != outcome.exact:
                raise Problem(f"verify exits with {verify.code} where {outcome} was found:\n{verify.output[-2000:]}")
        return outcome

    def verified(self) -> Run:
        run = Run(
            [*self.command("verify"), "--progress", "none"],
            self.directory / f"{self.name}-verify.log",
            self.pause,
            variables=self.variables,
        )
        run.start().end()
        if run.code not in (0, 65):
            raise Problem(f"verify ended with {run.code}:\n{run.output[-2000:]}")
        return run

    def close(self) -> None:
        for run in self.runs:
            run.kill()

    def _records(self, servers: str) -> list[bytes | None]:
        return [row.value for row in each_row(servers, self.topic, seconds=LONGEST_SECONDS)]

    def _lines(self) -> list[bytes | None]:
        assert self.output is not None
        return [*self.output.read_bytes().splitlines()] if self.output.exists() else []


def expect(run: Run, *codes: int) -> None:
    """Problem unless it ended with one of these exit codes."""
    if run.code not in codes:
        raise Problem(f"ended with {run.code}, expected {' or '.join(map(str, codes))}:\n{run.output[-2000:]}")
