"""An upload, from its event to its rows: the planned state machine starts the planned task, which is run here."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import Factory, define

from tests.aws.conftest import Aws
from tests.aws.job import digest, write_rows
from tests.deploy.conftest import Planned
from tests.deploy.processes import Process, client, make_table, of_ecs, wait_for_rows
from tests.deploy.state_machine import Execution
from tests.deploy.terraform import Resources
from tests.deploy.test_state_machine import Ecs, failed
from tests.faults.installed import Installed, expected_values
from tests.reading import each_row

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEY = "orders/naïve [1]*? of it's.csv"
ROWS, COMMITTED = 100_000, 4000


@define
class Tasks(Ecs):
    """Runs each task as a process. ``stopped``: how many of the first ones get a SIGTERM on their way."""

    process: Process = Factory(lambda: Process((), {}))
    directory: Path = Path()
    stopped: int = 0
    runs: list[Installed] = Factory(list)

    def call(self, resource: str, arguments: Any) -> Any:
        if not resource.endswith("ecs:runTask.sync"):
            return super().call(resource, arguments)
        (override,) = arguments["Overrides"]["ContainerOverrides"]
        told = {each["Name"]: each["Value"] for each in override["Environment"]}
        run = self.process.overridden(environment=told).start(self.directory, self.aws.environment)
        self.started.append(told)
        self.runs.append(run)
        if len(self.runs) <= self.stopped:
            wait_for_rows(run, COMMITTED)
            run.signal(signal.SIGTERM)
        code = run.end()
        if code != 0:
            raise failed(code)
        return {"Containers": [{"Name": override["Name"], "ExitCode": 0}]}


@define
class Target:
    """A target that is up for a bucket, with its tables in moto."""

    state: Resources
    tasks: Tasks
    bucket: str
    servers: str
    topic: str

    def upload(self, file: Path) -> dict[str, Any]:
        """The event that S3 sends of it."""
        put = self.tasks.aws.client("s3").put_object(Bucket=self.bucket, Key=KEY, Body=file.read_bytes())
        named = {"key": KEY, "size": file.stat().st_size, "etag": put["ETag"].strip('"'), "sequencer": "0062"}
        if "VersionId" in put:
            named["version-id"] = put["VersionId"]
        detail = {"version": "0", "bucket": {"name": self.bucket}, "object": named, "reason": "PutObject"}
        return {"detail-type": "Object Created", "source": "aws.s3", "detail": detail}

    def execution(self, event: dict[str, Any]) -> Execution:
        return Execution(self.state.rendered("aws_sfn_state_machine.job"), event, self.tasks)

    def values(self) -> str:
        found = each_row(self.servers, self.topic, seconds=120)
        return digest(row.value or b"" for row in found)


Make = Callable[..., Target]


@pytest.fixture
def make(
    applied: Planned,
    aws: Aws,
    make_bucket: Callable[..., str],
    make_topic: Callable[[], str],
    bootstrap_servers: str,
    tmp_path: Path,
) -> Iterator[Make]:
    """Brings one up."""
    made: list[Tasks] = []

    def bring_up(*, versioned: bool, stopped: int = 0) -> Target:
        bucket, topic = make_bucket(versioned=versioned), make_topic()
        state = applied(
            "ecs",
            name=f"up-{uuid.uuid4().hex[:8]}",
            source_bucket=bucket,
            sources=[],
            topic=topic,
            bootstrap_servers=bootstrap_servers,
            run_on_upload=True,
            environment={"CSV2KAFKA_CHECKPOINT_ROWS": str(COMMITTED)},
        )
        process = of_ecs(state.rendered("aws_ecs_task_definition.job")[0])
        region = process.environment["AWS_REGION"]
        make_table(aws, state.resource("module.common.aws_dynamodb_table.checkpoints"), region)
        turns = state.resource("aws_dynamodb_table.turns")
        client(aws, "dynamodb", "eu-west-1").create_table(
            TableName=turns["name"],
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "turn", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "turn", "AttributeType": "S"}],
        )
        made.append(Tasks(aws, [], process=process, directory=tmp_path, stopped=stopped))
        return Target(state, made[-1], bucket, bootstrap_servers, topic)

    yield bring_up
    for run in (run for tasks in made for run in tasks.runs):
        run.kill()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two CSVs of other rows."""
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    write_rows(old, ROWS, seed=1)
    write_rows(new, 5000, seed=2)
    return old, new


def test_each_version_is_loaded_in_its_turn_though_tasks_are_stopped(make: Make, files: tuple[Path, Path]) -> None:
    target = make(versioned=True, stopped=2)
    events = [target.upload(file) for file in files]
    assert "CSV2KAFKA_SOURCES" not in target.tasks.process.environment
    first, second, again = (target.execution(event) for event in (*events, events[0]))
    first.until("Run")
    second.until("Wait for the turn")
    assert first.end().status == "SUCCEEDED"
    assert first.output["attempts"] == 3
    assert second.end().status == "SUCCEEDED"
    assert target.values() == digest(value for file in files for value in expected_values(file))
    # The event came twice: the job is complete, and nothing is sent again.
    assert again.end().status == "SUCCEEDED"
    assert '"already_complete":true' in target.tasks.runs[-1].output.replace(" ", "")


def test_what_was_replaced_before_its_turn_is_not_taken_for_it(make: Make, files: tuple[Path, Path]) -> None:
    target = make(versioned=False)
    first, second = (target.execution(target.upload(file)) for file in files)
    assert (first.end().status, first.error) == ("FAILED", "Csv2kafka.ExitCode65")
    assert "not the version that was asked for" in target.tasks.runs[0].output
    assert second.end().status == "SUCCEEDED"
    assert target.values() == digest(expected_values(files[1]))
