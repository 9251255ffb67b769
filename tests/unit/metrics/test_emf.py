"""Lines of the Embedded Metric Format: exact, summing up, and never a reason for a run to end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.errors import ConfigError
from csv2kafka.metrics import EmfMetrics
from csv2kafka.metrics.table import METRICS, Kind
from csv2kafka.model import LeaseRenewed, StoreAway, Waiting
from tests.unit.metrics.emf_schema import assert_emf
from tests.unit.metrics.events import Clock, committed, opened, point, progressed, started

NOW = 1_700_000_000.25


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def emf(path: Path | None, clock: Clock) -> EmfMetrics:
    return EmfMetrics(path, clock=clock, now=lambda: NOW)


def documents(path: Path) -> list[dict[str, Any]]:
    return [assert_emf(line) for line in path.read_text().splitlines()]


def test_a_line_exactly(path: Path, clock: Clock) -> None:
    metrics = emf(path, clock)
    for event in (started(), opened(point()), LeaseRenewed(epoch=1)):
        metrics(event)
    metrics(committed(point(rows=30, bad=2, size=390, commits=1), seconds=0.0212345678, source_bytes=400))
    metrics(StoreAway(reason="throttled"))
    metrics(Waiting(reason="no answer", seconds=1.0, attempt=1))
    clock.at += 2.5
    metrics.close()
    definitions = [("Rows", "Count"), ("JobRows", "Count"), ("BadRows", "Count"), ("DecodedBytes", "Bytes")]
    definitions += [("SourceBytes", "Bytes"), ("LagBytes", "Bytes"), ("Commits", "Count")]
    definitions += [("CommitSeconds", "Seconds"), ("Retries", "Count"), ("Sessions", "Count")]
    definitions += [("StoreFailures", "Count"), ("LeaseAgeSeconds", "Seconds"), ("Complete", "None")]
    directive = {
        "Namespace": "csv2kafka",
        "Dimensions": [["Job"]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in definitions],
    }
    assert documents(path) == [
        {
            "event": "metrics",
            "at": "2023-11-14T22:13:20.250+00:00",
            "_aws": {"Timestamp": 1_700_000_000_250, "CloudWatchMetrics": [directive]},
            "Job": "orders",
            "RunId": "r1",
            "Rows": 30,
            "JobRows": 30,
            "BadRows": 2,
            "DecodedBytes": 390,
            "SourceBytes": 400,
            "LagBytes": 600,
            "Commits": 1,
            "CommitSeconds": [0.021235],
            "Retries": 1,
            "Sessions": 1,
            "StoreFailures": 1,
            "LeaseAgeSeconds": 2.5,
            "Complete": 0,
        }
    ]


def test_every_metric_of_the_table_is_in_a_line(path: Path, clock: Clock) -> None:
    metrics = emf(path, clock)
    for event in (started(), opened(point()), LeaseRenewed(epoch=1), committed(point(rows=1))):
        metrics(event)
    metrics.close()
    (line,) = documents(path)
    assert [metric.emf for metric in METRICS if metric.emf not in line] == []


def test_a_line_every_ten_seconds_with_what_came_since(path: Path, clock: Clock) -> None:
    metrics = emf(path, clock)
    metrics(started())
    metrics(opened(point(rows=100, size=100, commits=4)))
    metrics(committed(point(rows=130, size=200, commits=5), seconds=0.1))
    clock.at += 9.9
    metrics.tick()
    assert documents(path) == []
    clock.at += 0.1
    metrics.tick()
    metrics.tick()
    metrics(committed(point(rows=150, size=260, commits=6), seconds=0.2))
    metrics(committed(point(rows=150, size=260, commits=7, complete=True), seconds=0.3))
    metrics.close()
    first, last = documents(path)
    assert [(line["Rows"], line["DecodedBytes"], line["Commits"], line["Sessions"]) for line in (first, last)] == [
        (30, 100, 1, 1),
        (20, 60, 2, 0),
    ]
    assert (first["CommitSeconds"], last["CommitSeconds"]) == ([0.1], [0.2, 0.3])
    assert [(line["JobRows"], line["Complete"]) for line in (first, last)] == [(130, 0), (150, 1)]


def test_an_event_brings_a_line_that_is_due(path: Path, clock: Clock) -> None:
    """A library user has no need of ticks while there are events."""
    metrics = emf(path, clock)
    metrics(started())
    clock.at += 11
    metrics(progressed(10))
    assert len(documents(path)) == 1
    metrics.close()


def test_what_has_no_value_is_not_named(path: Path, clock: Clock) -> None:
    metrics = emf(path, clock)
    metrics(started(total=None))
    metrics.close()
    (line,) = documents(path)
    assert {"LagBytes", "JobRows", "CommitSeconds", "LeaseAgeSeconds"} & line.keys() == set()
    assert (line["Rows"], line["Complete"]) == (0, 0)


def test_no_line_without_a_job(path: Path, clock: Clock) -> None:
    metrics = emf(path, clock)
    metrics(Waiting(reason="no bucket answers", seconds=1.0, attempt=1))
    clock.at += 60
    metrics.tick()
    assert path.read_text() == ""
    metrics(started())
    metrics.close()
    assert [line["Retries"] for line in documents(path)] == [1]


def test_no_more_than_a_hundred_values_in_a_line(path: Path, clock: Clock) -> None:
    metrics = emf(path, clock)
    metrics(started())
    metrics(opened(point()))
    for commit in range(1, 251):
        metrics(committed(point(rows=commit, commits=commit), seconds=commit / 1000))
    metrics.close()
    lines = documents(path)
    assert [len(line["CommitSeconds"]) for line in lines] == [100, 100, 50]
    assert sum(line["Rows"] for line in lines) == sum(line["Commits"] for line in lines) == 250
    assert [value for line in lines for value in line["CommitSeconds"]] == [n / 1000 for n in range(1, 251)]


def test_closing_twice_writes_once(path: Path, clock: Clock) -> None:
    metrics = emf(path, clock)
    metrics(started())
    metrics.close()
    metrics.close()
    assert len(documents(path)) == 1


def test_a_file_is_appended_to_behind_a_torn_line(path: Path, clock: Clock) -> None:
    path.write_text('{"an": "earlier line"}\n{"to')
    metrics = emf(path, clock)
    metrics(started())
    metrics.close()
    earlier, torn, line = path.read_text().splitlines()
    assert (earlier, torn) == ('{"an": "earlier line"}', '{"to')
    assert_emf(line)


def test_a_full_disk_is_told_of_once_and_made_up_for(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = emf(path, clock)
    write, room = os.write, [20, 0]
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: room.pop(0)]) if room else write(file, data))
    metrics(started())
    metrics(opened(point()))
    metrics(committed(point(rows=5, commits=1), seconds=0.1))
    for rows in (10, 15):
        clock.at += 10
        metrics(committed(point(rows=rows, commits=rows // 5), seconds=0.2))
    metrics.close()
    torn, *lines = path.read_text().splitlines()
    assert len(torn) == 20
    assert [assert_emf(line)["Rows"] for line in lines] == [15]
    (warning,) = caplog.messages
    assert warning == f"metrics cannot be written to {path}: No space left on device; the run goes on"


def test_a_device_without_room(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    metrics = emf(Path("/dev/full"), clock)
    metrics(started())
    clock.at += 10
    metrics.tick()
    metrics.close()
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("name", [".", "no/such/directory/metrics.jsonl"])
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected a file that can be appended to") as caught:
        EmfMetrics(tmp_path / name)
    assert str(tmp_path) in caught.value.message


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path, clock: Clock) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="nothing reads this pipe"):
        EmfMetrics(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    metrics = emf(pipe, clock)
    metrics(started())
    for _ in range(200):  # more than a pipe holds: nobody reads
        clock.at += 10
        metrics.tick()
    assert_emf(os.read(reader, 4096).decode().splitlines()[0])
    os.close(reader)
    metrics.close()


def test_standard_error(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = emf(None, clock)
    metrics(started())
    metrics.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert assert_emf(captured.err)["Job"] == "orders"


def test_nobody_reads_standard_error(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    metrics = emf(None, clock)
    metrics(started())
    metrics.close()


def test_a_line_is_one_line(path: Path, clock: Clock) -> None:
    """Each is an event of its own to whatever ships the log."""
    metrics = emf(path, clock)
    metrics(started())
    metrics.close()
    text = path.read_text()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert json.loads(text)["event"] == "metrics"


def test_units_are_those_that_names_say() -> None:
    for metric in METRICS:
        for unit in ("bytes", "seconds"):
            assert metric.name.endswith(unit) == (metric.unit.value.lower() == unit)
        assert metric.name == metric.name.lower()
        assert metric.kind is not Kind.COUNTER or not metric.name.endswith("total")
