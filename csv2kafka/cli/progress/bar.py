"""The display on a terminal: one bar by bytes, one line on rows and commits, one on what is waited for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from csv2kafka.cli.console import Console
from csv2kafka.cli.printable import lines_of_it, printable
from csv2kafka.cli.progress.lines import QuietDisplay
from csv2kafka.cli.progress.outcome import outcome
from csv2kafka.cli.progress.tally import clock_time, megabytes
from csv2kafka.cli.progress.words import Words
from csv2kafka.cli.redact import redacted
from csv2kafka.model.report import Report


class BarDisplay(QuietDisplay):
    """Drawn by rich's own thread a few times a second, from what events left in the tally."""

    def __init__(self, *, clock: Callable[[], float], words: Words, console: Console | None = None) -> None:
        super().__init__(clock=clock, words=words)
        self._console = console or Console(stderr=True, highlight=False)
        self._spinner = Spinner("dots")
        self._stopping = False
        # Lines written meanwhile (logs) appear above it; standard output is the results' and stays as it is.
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, ValueError):  # the terminal is gone
            self._live.stop()

    def stopping(self) -> None:
        self._stopping = True

    def finished(self, report: Report) -> None:
        self.__exit__()
        first, *more = (lines_of_it(redacted(line)) for line in outcome(report, self._words))
        with suppress(OSError, ValueError):
            self._console.print(Text.assemble(("✓ ", "bold green"), (first, "bold")), soft_wrap=True)
            for line in more:
                style = "yellow" if line.startswith("warning") else "dim"
                self._console.print(Text("  " + line, style), soft_wrap=True)

    def render(self) -> RenderableType:
        """What stands on the terminal now."""
        tally = self._tally
        if not tally.job:
            return Text.assemble(self._spin(), f" {printable(self._doing())}")
        lines: list[RenderableType] = [self._bar(), self._numbers()]
        state = self._state()
        if state is not None:
            lines.append(state)
        return Group(*lines)

    def _bar(self) -> RenderableType:
        tally, line = self._tally, Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True, justify="right")
        left = tally.seconds_left()
        done = megabytes(tally.source_bytes)
        if tally.share is None:
            size = Text(done)
        else:
            size = Text(f"{tally.share:4.0%}  {done} of {megabytes(tally.total_bytes or 0)}")
        if left is not None:
            size.append(f"  {clock_time(left)} left", "cyan")
        bar = ProgressBar(total=None if tally.share is None else 1.0, completed=tally.share or 0.0)
        line.add_row(Text(printable(redacted(tally.job)), "bold", overflow="ellipsis"), bar, size)
        return line

    def _numbers(self) -> Text:
        tally = self._tally
        rates = tally.rates()
        text = Text.assemble((f"{tally.rows:,} rows", "bold"), overflow="ellipsis")
        if rates is not None:
            text.append(f"  {rates[0]:,.0f} rows/s  {rates[1] / 1e6:.1f} MB/s")
        age = tally.commit_age()
        if tally.sessions:
            text.append(f"  committed {tally.committed_rows:,}", "green")
        if age is not None:
            text.append(f" {age:.0f} s ago", "dim")
        if tally.bad_rows:
            text.append(f"  {tally.bad_rows:,} bad", "yellow")
        return text

    def _state(self) -> Text | None:
        tally = self._tally
        if self._stopping:
            return Text.assemble(self._spin(), (f" {self._words.stopping}", "yellow"))
        if tally.waiting is not None:
            wait = f" waiting: {printable(redacted(tally.waiting.reason))}"
            again = f"; again in {tally.wait_left():.0f} s" if tally.wait_left() else "; trying again"
            return Text.assemble(self._spin(), (wait, "yellow"), (again, "dim"))
        if not tally.moving:
            return Text.assemble(self._spin(), f" {printable(self._doing())}")
        return None

    def _spin(self) -> Text:
        frame = self._spinner.render(self._clock())
        return frame if isinstance(frame, Text) else Text()
