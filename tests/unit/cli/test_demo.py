"""The demo's story, told with a stand-in for the installed command; tests/broker has the real one."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from csv2kafka.cli import demo as demo_package
from csv2kafka.cli.demo import child, places
from csv2kafka.cli.demo.child import StepFailed, Watch
from csv2kafka.cli.demo.rows import COLUMNS, NOTES, Tally, write_csv
from csv2kafka.errors import Difference, Stopped

ROWS = 90

# Commits ten rows at a time into the output file and tells so; the first run then waits to be killed.
# FAULT is what it does wrong in the second run.
STAND_IN = """
import json, os, pathlib, sys, time
kind, source, *flags = sys.argv[1:]
if kind == "verify":
    print("equal, I think", file=sys.stderr)
    sys.exit(int(os.environ["VERIFY_EXIT"]))
output, fault = pathlib.Path(flags[flags.index("-o") + 1]), os.environ["FAULT"]
rows = [json.dumps({"row": str(number)}) + chr(10) for number in range(1, 91)]
def tell(**event): print(json.dumps(event), file=sys.stderr, flush=True)
done = len(output.read_text().splitlines()) if output.exists() else 0
print("this line is not JSON", file=sys.stderr)
tell(event="session", number=1, rows=done, bad_rows=0)
again, todo = done > 0, rows[done:]
if again:
    if fault == "fails":
        tell(event="failed", exit_code=69, message="nobody home", hint="look outside")
        sys.exit(69)
    todo = {"loses": todo[1:], "doubles": rows[done - 1:], "swaps": [*todo[1:2], *todo[:1], *todo[2:]]}.get(fault, todo)
    if not todo: tell(event="finished", report={"rows": 90, "already_complete": True})
while todo:
    with output.open("a") as file: file.writelines(todo[:10])
    todo, done = todo[10:], done + 10
    tell(event="committed", rows=min(done, 90), next_offset=0, complete=not todo, seconds=0)
    if not again and fault != "hurries" and done == 40:
        time.sleep(60)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The installed command is the stand-in, there is no Java, and temporary folders are made in tmp_path."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(child, "program", lambda: [sys.executable, str(script)])
    monkeypatch.setattr(places, "missing_tools", lambda: ["Java 17 or later (no working java)"])

    def configure(*, fault: str = "", verify_exit: int = 0) -> None:
        monkeypatch.setenv("FAULT", fault)
        monkeypatch.setenv("VERIFY_EXIT", str(verify_exit))

    configure()
    return configure


def _told() -> str:
    text = io.StringIO()
    assert demo_package.demo(rows=ROWS, console=Console(file=text, width=200, highlight=False)) == 0
    return text.getvalue()


def _table(text: str) -> dict[str, str]:
    return {name.strip(): value.strip() for name, value in re.findall(r"│ ([a-z ]+?) +│ +([\d,]+) │", text)}


@pytest.mark.usefixtures("stand_in")
def test_it_kills_a_run_goes_on_and_counts_what_is_there(tmp_path: Path) -> None:
    text = _told()
    assert "Java 17 or later (no working java)" in text
    assert text.count("$ csv2kafka run orders.csv -o orders.jsonl --checkpoints") == 2
    assert "$ csv2kafka verify orders.csv -o orders.jsonl" in text
    assert re.search(r"killed after [34] commits of [34]0 rows together", text)
    assert re.search(r"went on after row [34]0, and is done: 90 rows are committed", text)
    assert "equal, I think" in text
    table = _table(text)
    assert int(table.pop("rows a second").replace(",", "")) > 0
    assert table == {"rows": "90", "kills": "1", "lost": "0", "doubled": "0", "out of order": "0"}
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_run_that_could_not_be_killed_is_not_called_killed(
    stand_in: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(fault="hurries")
    monkeypatch.setattr(demo_package._Story, "is_time_to_kill", lambda *_: False)
    text = _told()
    assert "it had committed all 90 rows before it could be killed" in text
    assert "says that the job is complete: 90 rows" in text
    assert _table(text)["kills"] == "0"


@pytest.mark.parametrize(("fault", "counted"), [("loses", "lost"), ("doubles", "doubled"), ("swaps", "out of order")])
def test_the_table_counts_what_the_command_did_wrong(
    stand_in: Callable[..., None], fault: str, counted: str, tmp_path: Path
) -> None:
    stand_in(fault=fault)
    text = io.StringIO()
    with pytest.raises(Difference, match="lost, doubled or out of order"):
        demo_package.demo(rows=ROWS, console=Console(file=text, width=200, highlight=False))
    table = _table(text.getvalue())
    assert {name for name in ("lost", "doubled", "out of order") if table[name] != "0"} == {counted}
    assert table[counted] == "1"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_run_that_fails_ends_the_demo_with_its_words_and_code(stand_in: Callable[..., None]) -> None:
    stand_in(fault="fails")
    with pytest.raises(StepFailed, match="the run ended with 69: nobody home") as caught:
        _told()
    assert caught.value.exit_code == 69
    assert caught.value.hint == "look outside"


def test_a_difference_that_verify_finds_ends_the_demo(stand_in: Callable[..., None]) -> None:
    stand_in(verify_exit=65)
    with pytest.raises(StepFailed, match="verify ended with 65") as caught:
        _told()
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unwinds_it_and_leaves_nothing(
    stand_in: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(demo_package._Story, "is_time_to_kill", lambda *_: False)  # the first run just stays there
    before = signal.getsignal(number)

    def send_when_it_runs() -> None:
        while not list((tmp_path / "temporary").glob("*/orders.jsonl")):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send_when_it_runs, daemon=True)
    sender.start()
    with pytest.raises(Stopped, match=number.name):
        _told()
    sender.join()
    assert signal.getsignal(number) is before
    assert list((tmp_path / "temporary").iterdir()) == []


def test_settings_of_the_users_own_jobs_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "show.py"
    script.write_text("import os; print(sorted(name for name in os.environ if name.startswith('CSV2KAFKA_')))")
    monkeypatch.setattr(child, "program", lambda: [sys.executable, str(script)])
    monkeypatch.setenv("CSV2KAFKA_TOPIC", "precious")
    with child.Child(tmp_path, {"CSV2KAFKA_KAFKA_SASL_MECHANISM": "PLAIN"}).started([], output=-1) as process:
        assert list(child.lines(process.stdout)) == [b"['CSV2KAFKA_KAFKA_SASL_MECHANISM']\n"]


def test_the_rows_have_all_that_makes_csv_hard(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.csv", 60)
    raw = (tmp_path / "rows.csv").read_bytes()
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert [row[0] for row in rows] == [str(number) for number in range(1, 61)]
    assert {row[6] for row in rows} == set(NOTES)
    assert b'"' in raw
    assert b'""' in raw
    assert b", " in raw
    assert len(raw.splitlines()) > 61
    assert any(byte > 0x7F for byte in raw)


@pytest.mark.parametrize(
    ("numbers", "lost", "doubled", "out_of_order"),
    [
        ([1, 2, 3, 4], 0, 0, 0),
        ([], 4, 0, 0),
        ([1, 2, 4], 1, 0, 0),
        ([1, 2, 2, 3, 4], 0, 1, 0),
        ([1, 3, 2, 4], 0, 0, 1),
        ([2, 3, 4, 1], 0, 0, 1),
        ([1, 2, 3, 4, 1, 2], 0, 2, 0),
        ([1, 2, 3, 4, 5, 0], 0, 2, 0),
    ],
)
def test_tally(numbers: list[int], lost: int, doubled: int, out_of_order: int) -> None:
    tally = Tally(4)
    for number in numbers:
        tally.add(b'{"row": "%d"}' % number)
    assert (tally.lost, tally.doubled, tally.out_of_order) == (lost, doubled, out_of_order)
    assert tally.good == (numbers == [1, 2, 3, 4])


def test_watch_follows_sessions_commits_and_waits() -> None:
    seen = Watch()
    seen.note(b'{"event": "session", "number": 1, "rows": 20, "bad_rows": 0}', 10.0)
    seen.note(b'{"event": "committed", "rows": 30}', 12.0)
    seen.note(b'{"event": "waiting", "reason": "broker away", "seconds": 1}', 13.0)
    assert seen.waiting == "broker away"
    seen.note(b'{"event": "session", "number": 2, "rows": 30, "bad_rows": 0}', 14.0)
    seen.note(b'["not", "ours"]', 14.5)
    seen.note(b'{"event": "committed", "rows": 40}', 15.0)
    assert (seen.resumed_from, seen.rows, seen.commits, seen.seconds, seen.waiting) == (20, 40, 2, 5.0, "")
