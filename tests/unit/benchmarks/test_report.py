"""The tables: what did not count, or was left out, is said and never shown as a figure."""

from __future__ import annotations

import json

from attrs import evolve

from benchmarks import report
from benchmarks.content import Difference
from benchmarks.figures import Run, summary
from benchmarks.machine import Machine
from benchmarks.results import Crash, PeerFacts, Results, bars

MACHINE = Machine(
    cpu="a CPU", all_cpus=4, cpus=[0, 1], memory_bytes=8 << 30, system="Linux", python="3.11", versions={"Kafka": "4"}
)
OURS = Run(
    peer="csv2kafka",
    round=0,
    rows=1000,
    bytes=100_000,
    seconds=0.001,
    own_seconds=0.0005,
    cpu_seconds=0.001,
    broker_cpu_seconds=0.001,
    peak_bytes=90_000_000,
    problem=None,
)
THEIRS = evolve(OURS, peer="duckdb-kcat", seconds=0.004, own_seconds=None)


def results(*runs: Run, crash: Crash | None = None, left_out: str | None = None) -> Results:
    names = ("csv2kafka", "duckdb-kcat", "spark")
    summaries = {name: summary([run for run in runs if run.peer == name], 2) for name in names}
    peers = {
        name: PeerFacts(
            title=f"the peer {name}",
            settings="as it comes",
            sends="every row",
            kind="other",
            left_out=left_out if name == "spark" else None,
            summary=summaries[name],
            crash=crash if name == "csv2kafka" else None,
        )
        for name in names
    }
    return Results(
        at="now",
        command="python -m benchmarks",
        machine=MACHINE,
        rows=1000,
        bytes=100_000,
        rounds=1,
        peers=peers,
        runs=runs,
        bars=bars(runs, summaries, None, []),
        startup=None,
        scaling=[],
    )


def line(text: str, beginning: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(f"| {beginning}"))


def test_bars_say_whether_they_are_passed_and_what_was_not_measured() -> None:
    text = report.as_markdown(results(OURS, THEIRS), ["speed.svg"])
    assert line(text, "csv2kafka ÷ duckdb-kcat") == (
        "| csv2kafka ÷ duckdb-kcat | at least 3 × | 4.00 × | passed; the aim of 4 too |"
    )
    assert "not measured" in line(text, "csv2kafka ÷ connect")
    assert "![speed.svg](speed.svg)" in text
    slow = evolve(OURS, seconds=0.003)
    assert "**missed**" in line(report.as_markdown(results(slow, THEIRS), []), "csv2kafka ÷ duckdb-kcat")


def test_a_run_that_does_not_count_has_its_reason_and_no_figure() -> None:
    text = report.as_markdown(results(OURS, evolve(THEIRS, problem="999 records instead of 1,000")), [])
    assert "not valid: 999 records instead of 1,000" in line(text, "the peer duckdb-kcat")
    assert "250,000" not in text


def test_who_was_left_out_is_named_with_the_reason() -> None:
    text = report.as_markdown(results(OURS, left_out="the Python package pyspark is not installed"), [])
    assert "left out: the Python package pyspark is not installed" in line(text, "the peer spark")


def test_what_a_kill_did_is_told() -> None:
    crash = Crash(peer="csv2kafka", records=1000, standing=500, rerun_seconds=1.5)
    done = evolve(crash, difference=Difference(lost=1, doubled=20, in_order=False))
    text = report.as_markdown(results(OURS, crash=done), [])
    assert "| the peer csv2kafka | 1,000 | 500 | 1 | 20 | no | 1.5 |" in text
    failed = evolve(crash, problem="it had ended before it could be killed")
    assert "not known: it had ended" in report.as_markdown(results(OURS, crash=failed), [])


def test_the_json_has_every_run() -> None:
    told = json.loads(report.as_json(results(OURS, THEIRS)))
    assert [run["peer"] for run in told["runs"]] == ["csv2kafka", "duckdb-kcat"]
    assert told["bars"][0]["passed"] is True
    assert told["machine"]["cpus"] == [0, 1]
