"""``csv2kafka demo``: the promise, shown on the installed command. Nothing of it stays.

    write a CSV ─▶ run, SIGKILL ─▶ the same run again ─▶ verify ─▶ read all back and count

Into a Kafka that is started for it, or the user's; without Java into a file. The commands are shown as they are
run, and what the table at the end says was counted in what was read back.
"""

from __future__ import annotations

import contextlib
import itertools
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import frozen
from rich.console import Console
from rich.table import Table

from csv2kafka.cli.demo.child import CLOSE_SECONDS, Child, StepFailed, Watch, lines, shown_program, watched
from csv2kafka.cli.demo.places import Place, place
from csv2kafka.cli.demo.rows import Tally, write_csv
from csv2kafka.errors import Difference, Stopped

ROWS = 300_000
COMMIT_INTERVAL = "50ms"
COMMITS_BEFORE_KILL = 3
SOURCE = "orders.csv"


def demo(
    *,
    rows: int = ROWS,
    bootstrap_servers: str | None = None,
    kafka: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> int:
    """Show it with ``rows`` rows; 0 if nothing was lost, doubled or out of order.

    ``bootstrap_servers``, ``kafka``: the user's broker and client options; the demo's two topics there are deleted
    at the end. Raises Difference, or StepFailed with the exit code of the command that failed.
    """
    console = console or Console(highlight=False)
    with _unwound_by_signals(), tempfile.TemporaryDirectory(prefix="csv2kafka-demo-") as name:
        directory = Path(name)
        with place(directory, console, bootstrap_servers, kafka or {}) as where:
            _Story(console, directory, where, Child(directory, where.environment), rows).tell()
    return 0


@frozen
class _Story:
    """The steps, each told on the console as it happens."""

    console: Console
    directory: Path
    where: Place
    child: Child
    rows: int

    def tell(self) -> None:
        self.write()
        self.step("Load it, and kill the loader with SIGKILL on the way")
        first, killed = self.load(kill=True)
        if killed:
            self.say(f"  killed after {first.commits} commits of {first.rows:,} rows together, with more on the way")
        else:
            self.say(f"  it had committed all {first.rows:,} rows before it could be killed; --rows N gives it more")
        self.step("The same command again")
        second, _ = self.load()
        if second.complete_already:
            self.say(f"  says that the job is complete: {second.rows:,} rows")
        else:
            self.say(f"  went on after row {second.resumed_from:,}, and is done: {second.rows:,} rows are committed")
        self.step("Does it hold exactly the rows of the CSV, in order?")
        self.verify()
        self.step("Read everything back with another reader, and count by row number")
        tally = self.count()
        seconds = first.seconds + second.seconds
        self.table(tally, kills=int(killed), rate=self.rows / seconds if seconds else 0.0)
        if not tally.good:
            raise Difference("rows are lost, doubled or out of order", hint="this must never be: please report it")
        self.go_on()

    def say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True, markup=False)

    def step(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]", soft_wrap=True)

    def write(self) -> None:
        self.step(f"A CSV of {self.rows:,} rows: quoted commas, doubled quotes, newlines in quotes, UTF-8")
        source = self.directory / SOURCE
        write_csv(source, self.rows)
        with source.open(encoding="utf-8", newline="") as file:
            for line in itertools.islice(file, 7):
                self.say(f"  | {line.rstrip()}")
        self.say(f"  | …  {source.stat().st_size / 1e6:.1f} MB")

    def load(self, *, kill: bool = False) -> tuple[Watch, bool]:
        """Run to the end, or kill it when some commits are done. Whether it was killed."""
        arguments = ["run", SOURCE, *self.where.flags, *self.where.making]
        arguments += ["--checkpoints", "sqlite:///checkpoints.db", "--checkpoint-interval", COMMIT_INTERVAL]
        self.show(arguments)
        seen = Watch()
        with (
            self.child.started([*arguments, "--progress", "json"]) as process,
            self.console.status("  starting") as status,
        ):
            for seen in watched(process.stderr):
                status.update(f"  {seen.waiting or f'{seen.rows:,} rows committed'}")
                if kill and self.is_time_to_kill(seen):
                    process.kill()
            code = process.wait(CLOSE_SECONDS)
        killed = kill and code == -signal.SIGKILL
        if code and not killed:
            raise StepFailed("the run", code, seen)
        return seen, killed

    def is_time_to_kill(self, seen: Watch) -> bool:
        """Some commits in; or, on a machine that needs few of them, half-way."""
        return seen.rows >= self.rows // 2 or (seen.rows >= self.rows // 4 and seen.commits >= COMMITS_BEFORE_KILL)

    def verify(self) -> None:
        arguments = ["verify", SOURCE, *self.where.flags]
        self.show(arguments)
        with (
            self.child.started([*arguments, "--progress", "none"], output=subprocess.PIPE) as process,
            self.console.status("  comparing"),
        ):
            for line in itertools.chain(lines(process.stdout), lines(process.stderr)):
                self.say(f"  {line.decode(errors='replace').rstrip()}")
            code = process.wait(CLOSE_SECONDS)
        if code:
            raise StepFailed("verify", code)

    def count(self) -> Tally:
        tally = Tally(self.rows)
        with self.console.status("  reading"):
            self.where.count(tally)
        return tally

    def table(self, tally: Tally, *, kills: int, rate: float) -> None:
        table = Table(show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, number in (("rows", self.rows), ("rows a second", rate), ("kills", kills)):
            table.add_row(name, f"{number:,.0f}")
        for name, number in (("lost", tally.lost), ("doubled", tally.doubled), ("out of order", tally.out_of_order)):
            table.add_row(name, f"{number:,}", style="bold red" if number else "bold green")
        self.console.print(table)

    def go_on(self) -> None:
        name = shown_program()
        self.step("Go on with a file of your own")
        for command in (
            "preview FILE.csv",
            "run FILE.csv -b HOST:9092 -t TOPIC --create-topic",
            "verify FILE.csv -b HOST:9092 -t TOPIC",
        ):
            self.say(f"  {name} {command}")

    def show(self, arguments: Sequence[str]) -> None:
        self.say(f"  $ csv2kafka {shlex.join(arguments)}")


@contextlib.contextmanager
def _unwound_by_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Stopped, once, so that everything is cleaned up; then none disturbs that."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(f"the demo was stopped ({signal.Signals(number).name}); nothing of it is left")

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
