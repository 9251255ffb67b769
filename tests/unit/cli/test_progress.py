"""The displays, fed with events and a clock of the test's own."""

from __future__ import annotations

import io
import json
import sys

import pytest
from attrs import define, evolve

from csv2kafka.cli.console import Console
from csv2kafka.cli.progress import display
from csv2kafka.cli.progress.bar import BarDisplay
from csv2kafka.cli.progress.lines import JsonDisplay, PlainDisplay, QuietDisplay, progress_line
from csv2kafka.cli.progress.tally import Tally, clock_time, megabytes
from csv2kafka.cli.progress.words import Words, run_words, verify_words
from csv2kafka.config import RunConfig
from csv2kafka.errors import DataError
from csv2kafka.model import (
    Checkpoint,
    Committed,
    Counts,
    DeadLetter,
    Event,
    Position,
    Progressed,
    ResumePoint,
    RowRefused,
    SessionOpened,
    Started,
    Waiting,
)
from tests.unit.cli.conftest import COMPLETE

STARTED = Started(job="orders", run_id="r1", objects=2, total_bytes=10_000_000)
WAITING = Waiting(reason="broker1:9092 is away", seconds=4.0, attempt=2)
WORDS = Words(opening="connecting to broker1:9092")
BAD = RowRefused(row=DeadLetter(value=b"x", source="/a.csv", row=7, line=9, byte=120, reason="too short"))


@define
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def point(rows: int, offset: int = 0) -> Checkpoint:
    position = Position(resume=ResumePoint(offset=offset), rows=rows)
    return Checkpoint(job="orders", run_id="r1", counts=Counts(rows=rows), position=position)


def opened(rows: int = 0, offset: int = 0, number: int = 1) -> SessionOpened:
    return SessionOpened(number=number, checkpoint=point(rows, offset))


def progressed(rows: int, source_bytes: int, bad_rows: int = 0) -> Progressed:
    return Progressed(rows=rows, bad_rows=bad_rows, source_bytes=source_bytes, uri="/a.csv")


def tally(clock: Clock, *events: Event) -> Tally:
    told = Tally(clock=clock)
    for event in events:
        told.add(event)
    return told


def run(clock: Clock, seconds: float = 5.0) -> Tally:
    told = tally(clock, STARTED, opened(), progressed(0, 0))
    clock.now += seconds
    told.add(progressed(50_000, 5_000_000))
    return told


def test_rates_and_the_estimated_end() -> None:
    told = run(Clock())
    assert told.rates() == (10_000, 1_000_000)
    assert told.share == 0.5
    assert told.seconds_left() == 5.0


def test_what_an_earlier_run_did_is_no_speed_of_this_one() -> None:
    clock = Clock()
    told = tally(clock, STARTED, opened(rows=50_000, offset=5_000_000))
    assert told.share == 0.5
    clock.now += 1
    told.add(progressed(50_100, 5_010_000))
    clock.now += 1
    assert told.rates() == (50, 5_000)


def test_nor_is_what_it_did_in_other_files() -> None:
    clock = Clock()
    told = tally(clock, STARTED)
    point = Checkpoint(job="orders", run_id="r1", counts=Counts(rows=50_000), position=Position(object_index=1))
    told.add(SessionOpened(number=1, checkpoint=point))
    told.add(progressed(50_000, 5_000_000))
    clock.now += 2
    told.add(progressed(50_100, 5_010_000))
    assert told.rates() == (50, 5_000)


def test_a_rate_over_less_than_a_second_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    told = run(clock, seconds=0.02)
    assert (told.rates(), told.seconds_left()) == (None, None)
    assert progress_line(told) == "50%  50,000 rows  committed 0"
    shown = JsonDisplay(clock=clock, words=WORDS)
    for event in (STARTED, opened(), progressed(50_000, 5_000_000)):
        shown.on_event(event)
    said = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert [said[name] for name in ("rows_per_second", "bytes_per_second", "seconds_left")] == [None, None, None]


def test_small_chunks_do_not_shorten_the_window() -> None:
    clock = Clock()
    told = tally(clock, STARTED, opened())
    for step in range(4_000):
        clock.now += 0.001
        told.add(progressed(step, step))
    rates = told.rates()
    assert rates is not None
    assert rates[0] == pytest.approx(1000, rel=0.01)


def test_rates_fall_while_nothing_comes() -> None:
    clock = Clock()
    told = run(clock)
    clock.now += 5
    assert told.rates() == (5_000, 500_000)


def test_a_source_of_unknown_size_has_no_end() -> None:
    told = tally(Clock(), evolve(STARTED, total_bytes=None), opened(), progressed(10, 100))
    assert told.share is None
    assert told.seconds_left() is None


def test_an_empty_source_is_done() -> None:
    assert tally(Clock(), evolve(STARTED, total_bytes=0), opened()).share == 1.0


def test_a_new_session_ends_the_waiting_and_goes_back_to_the_checkpoint() -> None:
    told = tally(Clock(), STARTED, opened(), progressed(90, 900), WAITING)
    assert told.waiting == WAITING
    assert told.wait_left() == 4.0
    told.add(opened(rows=60, number=2))
    assert told.waiting is None
    assert told.rows == 60


def test_the_line_has_everything() -> None:
    clock = Clock()
    told = run(clock)
    told.add(Committed(checkpoint=point(40_000), seconds=0.01))
    told.add(WAITING)
    assert progress_line(told) == (
        "50%  50,000 rows  10,000 rows/s  1.0 MB/s  0:05 left  committed 40,000  waiting: broker1:9092 is away"
    )


def test_plain_writes_a_line_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    shown = PlainDisplay(clock=clock, words=WORDS)
    for event in (STARTED, opened(), progressed(0, 0)):
        shown.on_event(event)
    capsys.readouterr()
    for _ in range(40):
        clock.now += 1
        shown.on_event(progressed(int(clock.now), int(clock.now)))
        shown.tick()
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_plain_says_what_it_waits_for_before_anything_happens(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    shown = PlainDisplay(clock=clock, words=WORDS)
    for second in range(1, 24):
        clock.now += 1
        if second == 10:
            shown.on_event(STARTED)
        shown.tick()
    clock.now += 1
    shown.on_event(WAITING)
    clock.now += 10
    shown.tick()
    assert capsys.readouterr().err.splitlines() == [
        "looking at the source … (2 s)",
        "job orders: 2 objects, 10.0 MB",
        "connecting to broker1:9092 … (12 s)",
        "connecting to broker1:9092 … (22 s)",
        "waiting: broker1:9092 is away; trying again in 4.0 s",
        "waiting: broker1:9092 is away … (34 s)",
    ]


def test_what_is_waited_for_follows_from_the_configuration() -> None:
    kafka = RunConfig(sources=("a.csv",), bootstrap_servers="h:1", topic="t")
    assert run_words(kafka).opening.startswith("connecting to h:1, or waiting for the lease")
    alone = evolve(kafka, checkpoints="kafka://")
    assert run_words(alone).looking == "looking at the source, connecting to h:1"
    assert verify_words(kafka).opening == "connecting to h:1"
    file = RunConfig(sources=("a.csv",), output="o")
    assert "lease" in run_words(file).opening
    assert verify_words(file).opening == "opening o"


def test_plain_says_where_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    shown = PlainDisplay(clock=Clock(), words=WORDS)
    shown.on_event(opened())
    assert capsys.readouterr().err == ""
    shown.on_event(opened(rows=1200))
    assert capsys.readouterr().err == "going on after row 1,200\n"


def test_json_writes_progress_at_most_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    shown = JsonDisplay(clock=clock, words=WORDS)
    shown.on_event(STARTED)
    shown.on_event(opened())
    for step in range(30):
        clock.now += 0.1
        shown.on_event(progressed(step, step))
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in told].count("progress") == 3


def test_json_tells_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    shown = JsonDisplay(clock=Clock(), words=WORDS)
    events: list[Event] = [
        STARTED,
        opened(),
        progressed(1, 10),
        BAD,
        WAITING,
        Committed(checkpoint=point(5), seconds=0.0123),
    ]
    for event in events:
        shown.on_event(event)
    shown.stopping()
    shown.finished(COMPLETE)
    shown.failed(DataError("bad", hint="mend it"), debug=False)
    told = {line["event"]: line for line in map(json.loads, capsys.readouterr().err.splitlines())}
    assert list(told) == [
        "started",
        "session",
        "progress",
        "bad_row",
        "waiting",
        "committed",
        "stopping",
        "finished",
        "failed",
    ]
    assert told["bad_row"]["line"] == 9
    assert told["committed"]["rows"] == 5
    assert told["waiting"]["reason"] == "broker1:9092 is away"
    assert told["failed"]["exit_code"] == 65


@pytest.mark.parametrize("kind", [PlainDisplay, JsonDisplay, QuietDisplay])
def test_a_reader_that_went_away_does_not_stop_the_run(
    monkeypatch: pytest.MonkeyPatch, kind: type[QuietDisplay]
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    shown = kind(clock=Clock(), words=WORDS)
    with shown:
        for event in (STARTED, opened(), progressed(1, 10), WAITING):
            shown.on_event(event)
        shown.tick()
        shown.stopping()
    shown.finished(COMPLETE)
    shown.failed(DataError("bad"), debug=False)


def bar(clock: Clock, *events: Event) -> tuple[BarDisplay, Console]:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None, record=True)
    shown = BarDisplay(clock=clock, words=WORDS, console=console)
    for event in events:
        shown.on_event(event)
    return shown, console


def rendered(shown: BarDisplay, console: Console) -> str:
    console.print(shown.render())
    return console.export_text()


def test_the_bar_shows_rows_rates_end_and_commit() -> None:
    clock = Clock()
    shown, console = bar(clock, STARTED, opened(), progressed(0, 0))
    clock.now += 5
    shown.on_event(progressed(50_000, 5_000_000, bad_rows=2))
    shown.on_event(Committed(checkpoint=point(40_000), seconds=0.01))
    clock.now += 3
    told = rendered(shown, console)
    for part in ("orders", "50%", "5.0 MB of 10.0 MB", "50,000 rows", "rows/s", "MB/s", "left"):
        assert part in told
    assert "committed 40,000 3 s ago" in told
    assert "2 bad" in told


def test_the_bar_says_what_it_waits_for() -> None:
    assert "looking at the source" in rendered(*bar(Clock()))
    assert "connecting to broker1:9092" in rendered(*bar(Clock(), STARTED))
    clock = Clock()
    shown, console = bar(clock, STARTED, opened(), WAITING)
    clock.now += 1
    assert "waiting: broker1:9092 is away; again in 3 s" in rendered(shown, console)
    shown.stopping()
    assert "stopping" in rendered(shown, console)


def test_the_bar_leaves_the_outcome_on_the_terminal() -> None:
    shown, console = bar(Clock(), STARTED, opened())
    with shown:
        pass
    shown.finished(COMPLETE)
    assert "✓ done: 1,200 rows in kafka topic orders" in console.export_text()


def test_auto_is_rich_on_a_terminal_and_plain_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(display("auto", WORDS), PlainDisplay)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(display("auto", WORDS), BarDisplay)
    assert type(display("none", WORDS)) is QuietDisplay


def test_sizes_and_times() -> None:
    assert [megabytes(size) for size in (5, 1500, 2_500_000, 3e9)] == ["5 bytes", "1.5 kB", "2.5 MB", "3.0 GB"]
    assert [clock_time(seconds) for seconds in (5, 75, 3661)] == ["0:05", "1:15", "1:01:01"]
