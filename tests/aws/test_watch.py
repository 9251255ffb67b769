"""The installed command under ``--watch``: a notice ends it cleanly, and the next run goes on at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.ecs_metadata import ecs_metadata
from tests.aws.imds import REBALANCE, REBALANCE_NOTICE, SPOT, SPOT_TERMINATE, Imds, imds
from tests.faults.installed import Installed, write_csv

ROWS = 5_000_000
SEEN_AND_STOPPED = 5 + 10.0  # a notice is looked for every five seconds, the stop takes ten at most


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that take the reference kernel far longer than a notice takes to be seen."""
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_csv(file, ROWS)
    return file


@pytest.fixture
def ec2() -> Iterator[Imds]:
    with imds() as fake:
        yield fake


def command(source: Path, directory: Path, watch: str, kernel: str, **variables: str) -> Installed:
    arguments = ["run", str(source), "-o", str(directory / "out.jsonl"), "--watch", watch, "--progress", "json"]
    arguments += ["--checkpoints", f"sqlite:///{directory}/jobs.db", "--checkpoint-interval", "200ms"]
    return Installed(arguments, directory, kernel=kernel, variables=variables).start()


def until_committed(run: Installed) -> None:
    deadline = time.monotonic() + 60
    while run.committed_rows() < 1:
        assert run.process.poll() is None, run.output[-3000:]
        assert time.monotonic() < deadline, run.output[-3000:]
        time.sleep(0.02)


def last_event(run: Installed) -> dict[str, object]:
    event: dict[str, object] = json.loads(run.output.splitlines()[-1])
    return event


def stopped_for(run: Installed, reason: str) -> None:
    """It ended with 75, in time, and said why and how far it was."""
    assert run.end(SEEN_AND_STOPPED) == 75, run.output[-3000:]
    told = last_event(run)
    assert told["event"] == "failed"
    assert str(told["message"]).startswith(f"stopped because {reason}: ")
    assert f"{run.committed_rows():,} rows are committed" in str(told["message"])
    assert "run the same command again" in str(told["hint"])


def goes_on(source: Path, directory: Path, rows: int) -> None:
    """The next run takes the lease at once, and does what is left."""
    status = Installed(["status", "--json", "--checkpoints", f"sqlite:///{directory}/jobs.db"], directory).start()
    assert status.end() == 0
    job = json.loads(status.output)[0]
    assert (job["state"], job["owner"], job["rows"]) == ("resumable", None, rows)
    run = command(source, directory, "none", "native")
    assert run.end() == 0, run.output[-3000:]
    sessions = [json.loads(line) for line in run.output.splitlines() if '"session"' in line]
    assert [session["rows"] for session in sessions] == [rows]
    where = ["-o", str(directory / "out.jsonl"), "--checkpoints", f"sqlite:///{directory}/jobs.db"]
    verify = Installed(["verify", str(source), *where], directory).start()
    assert verify.end() == 0, verify.output
    assert f"{ROWS:,} rows compared" in verify.output


@pytest.mark.slow
def test_a_spot_notice_ends_a_run_and_the_next_goes_on(source: Path, ec2: Imds, tmp_path: Path) -> None:
    run = command(source, tmp_path, "ec2", "python", AWS_EC2_METADATA_SERVICE_ENDPOINT=ec2.url)
    until_committed(run)
    assert ec2.given == 1
    ec2.expire()
    ec2.entries[SPOT] = SPOT_TERMINATE
    stopped_for(run, "EC2 takes this Spot instance back: terminate at 2026-09-18T08:22:00Z")
    assert 0 < run.committed_rows() < ROWS
    assert ec2.given == 2
    goes_on(source, tmp_path, run.committed_rows())


@pytest.mark.slow
def test_a_rebalance_recommendation_ends_a_run_under_auto(source: Path, ec2: Imds, tmp_path: Path) -> None:
    run = command(source, tmp_path, "auto", "python", AWS_EC2_METADATA_SERVICE_ENDPOINT=ec2.url)
    until_committed(run)
    ec2.entries[REBALANCE] = REBALANCE_NOTICE
    stopped_for(run, "EC2 recommends to leave this Spot instance (since 2026-09-18T08:20:00Z)")


@pytest.mark.slow
def test_a_task_that_ecs_stops_ends_its_run(source: Path, tmp_path: Path) -> None:
    with ecs_metadata() as task:
        run = command(source, tmp_path, "auto", "python", ECS_CONTAINER_METADATA_URI_V4=task.uri)
        until_committed(run)
        task.desired = "STOPPED"
        stopped_for(run, "ECS stops this task")


@pytest.mark.parametrize("watch", ["ec2", "auto", "ecs"])
def test_a_watch_of_nothing_does_not_stop_a_run(watch: str, tmp_path: Path) -> None:
    source = tmp_path / "few.csv"
    write_csv(source, 1000)
    run = command(source, tmp_path, watch, "native", AWS_EC2_METADATA_SERVICE_ENDPOINT="http://127.0.0.1:1")
    assert run.end() == 0, run.output[-3000:]
    assert last_event(run)["event"] == "finished"
    warnings = [line for line in run.output.splitlines() if '"level": "warning"' in line]
    assert len(warnings) <= 1
    assert all(f"--watch {watch}" in line for line in warnings)
    assert "Traceback" not in run.output


def test_metadata_that_fails_does_not_stop_a_run(ec2: Imds, tmp_path: Path) -> None:
    ec2.failing = 500
    source = tmp_path / "few.csv"
    write_csv(source, 1000)
    run = command(source, tmp_path, "ec2", "native", AWS_EC2_METADATA_SERVICE_ENDPOINT=ec2.url)
    assert run.end() == 0, run.output[-3000:]
    assert last_event(run)["event"] == "finished"
