"""The planned ECS task, run here: its command and its environment against moto and a real broker.

Its log lines go through the planned metric filters, and what those send through the planned alarms.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from tests.aws.conftest import Aws
from tests.aws.ecs_metadata import EcsMetadata, ecs_metadata
from tests.aws.job import digest, expected_digest, write_rows
from tests.deploy.alarms import raises
from tests.deploy.conftest import Planned
from tests.deploy.filter_patterns import Line, values
from tests.deploy.processes import Process, event, lines, make_table, of_ecs, stop, wait_for_metric, wait_for_rows
from tests.deploy.terraform import Resources
from tests.faults.installed import Installed
from tests.reading import each_row

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MANY, COMMITTED = 300_000, 4000  # rows; each commit has so many
COMMON = "module.common."


@define
class Task:
    """A planned task that is run again and again, as the state machine does. ``file``: the rows that are in S3."""

    state: Resources
    process: Process
    directory: Path
    surroundings: dict[str, str]
    file: Path
    started: list[Installed] = field(factory=list)

    def start(self, *command: str, **environment: str) -> Installed:
        """The next one, with these in place of the planned ones."""
        process = self.process.overridden(command=command or None, environment=environment)
        run = process.start(self.directory, self.surroundings)
        self.started.append(run)
        return run

    def ends(self, code: int, **environment: str) -> Installed:
        """One that ends by itself, with this code."""
        run = self.start(**environment)
        assert run.end() == code, run.output[-3000:]
        return run

    def assert_holds_exactly(self) -> None:
        """What another client reads are the rows of the file, each once and in order; verify says so too."""
        told = self.process.environment
        found = each_row(told["CSV2KAFKA_BOOTSTRAP_SERVERS"], told["CSV2KAFKA_TOPIC"], seconds=120)
        assert digest(row.value or b"" for row in found) == expected_digest(self.file)
        verify = self.start("verify", CSV2KAFKA_PROGRESS="none")
        assert verify.end() == 0, verify.output[-3000:]
        assert verify.output.startswith("equal: every row is there once, in order"), verify.output

    def sent(self, metric: str) -> list[float]:
        """What the metric gets from the log of all runs of the job."""
        logged = [line for run in self.started if "run" in run.arguments for line in lines(run)]
        return self.sent_for(metric, logged)

    def sent_for(self, metric: str, logged: Sequence[Line]) -> list[float]:
        """What it gets from these lines."""
        found = [
            each
            for each in self.state.of_type("aws_cloudwatch_log_metric_filter").values()
            if each["metric_transformation"][0]["name"] == metric
        ]
        (only,) = found
        assert only["log_group_name"] == self.log_group
        return values(only, logged)

    @property
    def log_group(self) -> str:
        (container,) = self.state.rendered("aws_ecs_task_definition.job")
        group: str = container["logConfiguration"]["options"]["awslogs-group"]
        return group

    def alarm(self, name: str) -> dict[str, Any]:
        return dict(self.state.resource(f'{COMMON}aws_cloudwatch_metric_alarm.job["{name}"]'))


Make = Callable[..., Task]


@pytest.fixture
def metadata() -> Iterator[EcsMetadata]:
    """What ECS tells a task of itself."""
    with ecs_metadata() as fake:
        yield fake


@pytest.fixture
def make(
    applied: Planned,
    moto: Aws,
    bucket: str,
    make_topic: Callable[[], str],
    bootstrap_servers: str,
    metadata: EcsMetadata,
    tmp_path: Path,
) -> Iterator[Make]:
    """A target of its own that was brought up for this CSV, with these variables."""
    tasks: list[Task] = []

    def bring_up(file: Path, **variables: object) -> Task:
        moto.client("s3").upload_file(str(file), bucket, "orders/2026.csv")
        told = {
            "name": f"run-{uuid.uuid4().hex[:8]}",
            "source_bucket": bucket,
            "sources": [f"s3://{bucket}/orders/"],
            "topic": make_topic(),
            "bootstrap_servers": bootstrap_servers,
            "environment": {"CSV2KAFKA_CHECKPOINT_ROWS": str(COMMITTED)},
        }
        state = applied("ecs", **{**told, **variables})
        (container,) = state.rendered("aws_ecs_task_definition.job")
        process = of_ecs(container)
        make_table(moto, state.resource(f"{COMMON}aws_dynamodb_table.checkpoints"), process.environment["AWS_REGION"])
        surroundings = {**moto.environment, "ECS_CONTAINER_METADATA_URI_V4": metadata.uri}
        tasks.append(Task(state, process, tmp_path, surroundings, file))
        return tasks[-1]

    yield bring_up
    for run in (run for task in tasks for run in task.started):
        run.kill()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows for a run that can be stopped in the middle."""
    path = tmp_path_factory.mktemp("many") / "orders.csv"
    write_rows(path, MANY)
    return path


def with_bad_rows(path: Path, rows: int, *, bad: tuple[int, ...]) -> Path:
    """Rows with a cell too many in some."""
    path.write_text("id,name\n" + "".join(f"{row},name{',more' if row in bad else ''}\n" for row in range(rows)))
    return path


def test_it_is_stopped_goes_on_and_completes(make: Make, many: Path, tmp_path: Path) -> None:
    task = make(many)
    assert task.process.arguments == ("run",)
    first = task.start()
    assert task.process.stop_seconds is not None
    stop(first, rows=2 * COMMITTED, within=task.process.stop_seconds)
    assert event(first, "failed")["exit_code"] == 75

    second = task.ends(0)
    report = event(second, "finished")["report"]
    assert report["complete"]
    assert report["rows"] == MANY
    assert report["resumed_from_row"] >= 2 * COMMITTED

    third = task.ends(0)
    assert event(third, "finished")["report"]["already_complete"]
    task.assert_holds_exactly()
    assert not (tmp_path / "state").exists()  # no disk: everything is in Kafka, S3 and DynamoDB

    # The log made the metrics of it: all rows, once; and nobody is called.
    assert sum(task.sent("Rows")) == MANY
    assert sum(task.sent("BadRows")) == 0
    assert task.sent("Failures") == []
    assert task.sent("TakenOver") == []


def test_a_task_that_ecs_wants_stopped_ends_before_the_signal(make: Make, many: Path, metadata: EcsMetadata) -> None:
    task = make(many, environment={"CSV2KAFKA_CHECKPOINT_ROWS": "50"})  # slow enough for the watch, each 5 s
    run = task.start()
    wait_for_rows(run, 50)
    metadata.desired = "STOPPED"
    assert run.end() == 75, run.output[-3000:]
    assert 0 < run.committed_rows() < MANY
    assert task.sent("Failures") == []


def test_a_bad_row_stops_it_for_good_and_somebody_is_called(make: Make, tmp_path: Path) -> None:
    task = make(with_bad_rows(tmp_path / "bad.csv", 100, bad=(60,)))
    run = task.ends(65)
    assert event(run, "failed")["exit_code"] == 65
    assert task.sent("Failures") == [1.0]
    assert task.sent("TakenOver") == []
    assert raises(task.alarm("job-failed"), [task.sent("Failures")])


def test_bad_rows_that_are_passed_are_counted_and_somebody_is_called(
    make: Make, make_topic: Callable[[], str], bootstrap_servers: str, tmp_path: Path
) -> None:
    letters = make_topic()
    task = make(with_bad_rows(tmp_path / "bad.csv", 100, bad=(60, 61)), dead_letter_topic=letters)
    task.ends(0)
    assert sum(task.sent("BadRows")) == 2
    assert sum(task.sent("Rows")) == 98
    assert raises(task.alarm("bad-rows"), [task.sent("BadRows")])
    assert task.sent("Failures") == []
    assert len(list(each_row(bootstrap_servers, letters))) == 2


def test_of_two_tasks_of_a_job_the_second_gives_way_and_somebody_is_called(make: Make, many: Path) -> None:
    slow = {"CSV2KAFKA_CHECKPOINT_ROWS": "50"}  # the first is to live until its line of metrics, after 10 s
    task = make(many, environment=slow, no_progress_minutes=7)
    first = task.start()
    wait_for_rows(first, 50)
    second = task.ends(76)
    wait_for_metric(first, "LeaseAgeSeconds")
    first.signal(signal.SIGTERM)
    assert first.end() == 75
    assert event(second, "failed")["exit_code"] == 76
    assert task.sent("TakenOver") == [1.0]
    assert raises(task.alarm("lease-lost"), [task.sent("TakenOver")])
    assert raises(task.alarm("job-failed"), [task.sent("Failures")])

    # As it would be if the store had been away, or Kafka: the same line with an older lease, or without rows.
    ages = task.sent("LeaseAgeSeconds")
    assert ages
    line = event(first, "metrics")
    old = task.sent_for("LeaseAgeSeconds", [{**line, "LeaseAgeSeconds": 12.5}])
    assert raises(task.alarm("lease-in-danger"), [old, ages, old])
    assert not raises(task.alarm("lease-in-danger"), [old, ages, ages])

    moving, still = task.sent("Rows"), task.sent_for("Rows", [{**line, "Rows": 0}] * 6)
    assert sum(moving) > 0
    assert raises(task.alarm("no-progress"), [still] * 7)
    assert not raises(task.alarm("no-progress"), [*[still] * 6, moving])
    assert not raises(task.alarm("no-progress"), [[]] * 7)  # where no job runs
