"""``run --metrics``: the target is had before the run begins, told of everything, and let go at the end."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import pytest

from csv2kafka import metrics
from csv2kafka.cli import progress
from csv2kafka.errors import BadRow
from csv2kafka.metrics import EmfMetrics
from csv2kafka.model import LeaseRenewed, Started, StoreAway
from csv2kafka.model.report import Report
from tests.unit.cli.conftest import COMPLETE, Command, FakePipeline
from tests.unit.cli.test_run import narrate
from tests.unit.metrics.emf_schema import assert_emf


async def refuse(pipeline: FakePipeline) -> Report:
    await narrate(pipeline)
    raise BadRow("expected 3 fields, found 2", source="/a.csv", row=7, line=9, byte=120)


def test_to_a_file(command: Command, tmp_path: Path) -> None:
    command.work = narrate
    path = tmp_path / "metrics.jsonl"
    for _ in range(2):
        assert command.run("--metrics", f"emf:{path}").code == 0
    first, second = (assert_emf(line) for line in path.read_text().splitlines())
    assert (first["Job"], first["JobRows"], first["Complete"], first["Retries"]) == ("orders", 1200, 1, 1)
    assert second["JobRows"] == 1200


def test_on_standard_error_amid_json(command: Command) -> None:
    """Every line there has its event, as docs/report.md says."""
    command.work = narrate
    outcome = command.run("--metrics", "emf", "--progress", "json")
    told = [json.loads(line) for line in outcome.err.splitlines()]
    assert [line["event"] for line in told][-2:] == ["metrics", "finished"]
    assert all("at" in line for line in told)


def test_a_run_that_fails_writes_its_last_line(command: Command, tmp_path: Path) -> None:
    command.work = refuse
    assert command.run("--metrics", f"emf:{tmp_path / 'm'}").code == 65
    assert_emf((tmp_path / "m").read_text())


@pytest.mark.parametrize("progress", ["rich", "plain", "json", "none"])
def test_the_lease_and_the_store(command: Command, tmp_path: Path, progress: str) -> None:
    """Told of by events that no display has much to say about."""

    async def renew(pipeline: FakePipeline) -> Report:
        pipeline.emit(Started(job="orders", run_id="r1", objects=1, total_bytes=5000))
        pipeline.emit(LeaseRenewed(epoch=1))
        pipeline.emit(StoreAway(reason="throttled"))
        return COMPLETE

    command.work = renew
    outcome = command.run("--metrics", f"emf:{tmp_path / 'm'}", "--progress", progress)
    assert outcome.code == 0, outcome.err
    line = assert_emf((tmp_path / "m").read_text())
    assert (0 <= line["LeaseAgeSeconds"] < 60, line["StoreFailures"]) == (True, 1)


def test_time_passes_without_events(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(metrics, "EmfMetrics", partial(EmfMetrics, every=0.0))
    path = tmp_path / "m"

    async def stall(pipeline: FakePipeline) -> Report:
        pipeline.emit(Started(job="orders", run_id="r1", objects=1, total_bytes=5000))
        while len(path.read_text().splitlines()) < 5:
            await asyncio.sleep(0.001)
        return COMPLETE

    command.work = stall
    assert command.run("--metrics", f"emf:{path}").code == 0


def test_prometheus_while_it_runs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("csv2kafka.cli.log.warning", said.append)
    scraped: list[str] = []

    async def scrape(pipeline: FakePipeline) -> Report:
        await narrate(pipeline)
        (address,) = re.findall(r"http://\S+", said[0])
        scraped.append(await asyncio.to_thread(lambda: urlopen(address, timeout=10).read().decode()))
        return COMPLETE

    command.work = scrape
    assert command.run("--metrics", "prometheus://127.0.0.1:0").code == 0
    assert 'csv2kafka_complete{job_name="orders"} 1.0' in scraped[0]


def test_a_port_that_is_taken(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        outcome = command.run("--metrics", f"prometheus://{place}")
    assert outcome.code == 2
    assert "--metrics (environment CSV2KAFKA_METRICS, file key metrics): expected a free port" in outcome.err
    assert f"found {place}: Address already in use" in " ".join(outcome.err.split())
    assert command.configs == []


def test_no_such_port(command: Command) -> None:
    outcome = command.run("--metrics", "prometheus://:70000")
    assert outcome.code == 2
    assert "expected a port from 0 to 65535, found 'prometheus://:70000'" in " ".join(outcome.err.split())


def test_a_file_that_cannot_be_opened(command: Command, tmp_path: Path) -> None:
    outcome = command.run("--metrics", f"emf:{tmp_path}")
    assert outcome.code == 2
    assert "--metrics (environment CSV2KAFKA_METRICS" in outcome.err
    assert "Is a directory" in outcome.err
    assert command.configs == []


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["a.csv", "-o", "b"], "of SOURCE 'a.csv'"),
        (["b.csv", "-o", "a.csv"], "the file of --output"),
        (["b.csv", "-o", "b", "--report", "a.csv"], "the file of --report"),
        (["b.csv", "-o", "b", "--checkpoints", "sqlite:///a.csv"], "the store of --checkpoints"),
        (["*.csv", "-o", "b"], "of SOURCE '*.csv'"),
    ],
)
def test_a_file_that_is_something_else(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], what: str
) -> None:
    """Lines appended to it would ruin it."""
    monkeypatch.chdir(tmp_path)
    outcome = command("run", *flags, "--metrics", "emf:a.csv")
    assert outcome.code == 2
    assert f"expected a file of its own, found 'a.csv', which is {what}" in " ".join(outcome.err.split())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_imported_for_metrics_that_nobody_wants() -> None:
    """Prometheus' library takes as long to import as a small run."""
    code = "import sys, csv2kafka.cli.run, csv2kafka.metrics; print('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
