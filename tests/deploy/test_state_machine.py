"""What ECS's state machine does, as it is planned: expressions evaluated, turns by a table's real conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from attrs import Factory, define
from botocore.exceptions import ClientError

from csv2kafka.config import RunConfig, load
from csv2kafka.sources.s3 import S3Source
from csv2kafka.sources.s3_urls import S3Url, parse
from tests.aws.conftest import Aws
from tests.deploy.conftest import Planned
from tests.deploy.state_machine import HISTORY_MOST, Execution, TaskError

CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
# Of the task's definition.
VARIABLES = {
    "CSV2KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "CSV2KAFKA_TOPIC": "orders",
    "CSV2KAFKA_SOURCES": "s3://example-exports/orders/2026.csv",
}


def ended(code: int | None, **more: Any) -> dict[str, Any]:
    """A task as ECS describes it when it has stopped."""
    container = {"Name": "csv2kafka", "LastStatus": "STOPPED"} | ({} if code is None else {"ExitCode": code})
    # What a user gave cannot be taken for an exit code.
    told = [{"Name": "CSV2KAFKA_SOURCES", "Value": 's3://b/"ExitCode":0'}]
    overrides = {"ContainerOverrides": [{"Environment": told, "Name": "csv2kafka"}]}
    others = {"CreatedAt": 1764475200000, "EphemeralStorage": {"SizeInGiB": 20}, "Overrides": overrides}
    return {**others, "Containers": [container], "StopCode": "EssentialContainerExited", "Version": 5, **more}


def failed(code: int | None, **more: Any) -> TaskError:
    return TaskError("States.TaskFailed", json.dumps(ended(code, **more)))


@define
class Ecs:
    """``answers``: of one start after the other; the last one again and again. ``started``: with what."""

    aws: Aws
    answers: list[dict[str, Any] | TaskError]
    started: list[Mapping[str, str]] = Factory(list)
    executions: dict[str, Execution] = Factory(dict)
    broken: dict[str, TaskError] = Factory(dict)

    def register(self, execution: Execution) -> None:
        self.executions[execution.arn] = execution

    def call(self, resource: str, arguments: Any) -> Any:
        _, _, operation = resource.partition(":::")
        if operation in self.broken:
            raise self.broken[operation]
        if operation == "ecs:runTask.sync":
            (override,) = arguments["Overrides"]["ContainerOverrides"]
            self.started.append({each["Name"]: each["Value"] for each in override["Environment"]})
            answer = self.answers[min(len(self.started), len(self.answers)) - 1]
            if isinstance(answer, TaskError):
                raise answer
            return answer
        if operation == "aws-sdk:sfn:describeExecution":
            found = self.executions.get(arguments["ExecutionArn"])
            if found is None:
                raise TaskError("Sfn.ExecutionDoesNotExistException", "Execution Does Not Exist")
            return {"Status": found.status}
        service, _, name = operation.partition(":")
        assert service == "dynamodb", operation
        try:
            return getattr(self.aws.client("dynamodb"), re.sub("([A-Z])", r"_\1", name).lower())(**arguments)
        except ClientError as error:
            raise TaskError(f"DynamoDB.{error.response['Error']['Code']}", str(error)) from error


Definition = Callable[..., Mapping[str, Any]]


@pytest.fixture
def definition(applied: Planned, aws: Aws) -> Iterator[Definition]:
    """The state machine as it is made, and its table in moto, empty at the start and at the end."""
    made = []

    def find(**variables: object) -> Mapping[str, Any]:
        plan = applied("ecs", **variables)
        table = plan.resource("aws_dynamodb_table.turns")
        names = ("name", "billing_mode", "hash_key")
        name, billing, key = (table[each] for each in names)
        attributes = [{"AttributeName": each["name"], "AttributeType": each["type"]} for each in table["attribute"]]
        aws.client("dynamodb").create_table(
            TableName=name,
            BillingMode=billing,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=attributes,
        )
        made.append(name)
        document: Mapping[str, Any] = plan.rendered("aws_sfn_state_machine.job")
        return document

    yield find
    for name in made:
        left = aws.client("dynamodb").scan(TableName=name)["Items"]
        aws.client("dynamodb").delete_table(TableName=name)
        assert not left, f"the turn was not given back: {left}"


@pytest.fixture
def ecs(aws: Aws) -> Ecs:
    return Ecs(aws, [ended(0)])


class TestUntilDone:
    def test_a_job_that_ends(self, definition: Definition, ecs: Ecs) -> None:
        run = Execution(definition(), {}, ecs).end()
        assert (run.status, run.waited) == ("SUCCEEDED", 0)
        assert ecs.started == [{}]  # all that is in the task's definition
        assert run.output == {"environment": [], "attempts": 1}

    @pytest.mark.parametrize("code", [69, 75, 137, 143])
    def test_what_stopped_is_started_again(self, definition: Definition, ecs: Ecs, code: int) -> None:
        ecs.answers = [failed(code), failed(code), ended(0)]
        run = Execution(definition(), {"job": "orders"}, ecs).end()
        assert run.status == "SUCCEEDED"
        assert ecs.started == [{"CSV2KAFKA_JOB": "orders"}] * 3  # the same job each time
        assert 5 <= run.waits[0] <= 10 <= run.waits[1] <= 20

    @pytest.mark.parametrize(
        "answer",
        [
            failed(None, StopCode="TaskFailedToStart", StoppedReason="CannotPullContainerError: …"),
            failed(None, StopCode="SpotInterruption"),
            TaskError("ECS.AmazonECSException", f"{CAPACITY} (Service: AmazonECS; Status Code: 400)"),
            TaskError("ECS.ClientException", CAPACITY),
            TaskError("States.TaskFailed", "not JSON {"),
            TaskError("States.TaskFailed", '{"Containers":[{"Reason":"cut sho'),
            TaskError("States.TaskFailed"),
            ended(None),
        ],
        ids=lambda answer: f"{getattr(answer, 'error', 'no error')}-{getattr(answer, 'cause', '')!s:.25}",
    )
    def test_a_task_without_an_exit_code_is_started_again(
        self, definition: Definition, ecs: Ecs, answer: TaskError | dict[str, Any]
    ) -> None:
        ecs.answers = [answer, ended(0)]
        run = Execution(definition(), {}, ecs).end()
        assert (run.status, len(ecs.started)) == ("SUCCEEDED", 2), run.cause

    @pytest.mark.parametrize("code", [1, 2, 65, 70, 76, 139])
    def test_what_no_second_run_changes_fails_at_once(self, definition: Definition, ecs: Ecs, code: int) -> None:
        ecs.answers = [failed(code)]
        run = Execution(definition(), {}, ecs).end()
        assert (run.status, run.error, len(ecs.started)) == ("FAILED", f"Csv2kafka.ExitCode{code}", 1)
        assert run.cause.startswith(f"Exit code {code}. ")
        assert run.cause.endswith("./job logs shows it, docs/errors.md lists the codes.")
        assert ("do not start it again" in run.cause) == (code == 76)

    def test_a_code_in_a_cause_that_was_cut_short(self, definition: Definition, ecs: Ecs) -> None:
        cause = json.dumps(ended(65))
        ecs.answers = [TaskError("States.TaskFailed", cause[: cause.index("65") + 3])]
        assert Execution(definition(), {}, ecs).end().error == "Csv2kafka.ExitCode65"

    def test_a_right_that_is_missing_is_not_tried_for_ever(self, definition: Definition, ecs: Ecs) -> None:
        ecs.answers = [TaskError("ECS.AccessDeniedException", "not authorized to perform: ecs:RunTask")]
        run = Execution(definition(), {}, ecs).end()
        assert (run.status, run.error, len(ecs.started)) == ("FAILED", "ECS.AccessDeniedException", 3)
        assert "not authorized" in run.cause

    def test_ecs_was_slowed_down(self, definition: Definition, ecs: Ecs) -> None:
        ecs.answers = [TaskError("ECS.InvalidParameterException", "Error retrieving subnet information"), ended(0)]
        run = Execution(definition(), {}, ecs).end()
        assert (run.status, len(ecs.started)) == ("SUCCEEDED", 2), run.cause

    def test_not_for_ever(self, definition: Definition, ecs: Ecs) -> None:
        ecs.answers = [failed(75)]
        run = Execution(definition(max_attempts=12), {}, ecs).end()
        assert (run.status, run.error, len(ecs.started)) == ("FAILED", "Csv2kafka.TooManyAttempts", 12)
        assert run.cause.startswith("Started 12 times, and not done.")
        assert "exit code 75" in run.cause
        assert all(150 <= wait <= 300 for wait in run.waits[6:])
        assert len(set(run.waits[6:])) > 1  # not all at one time

    def test_an_error_that_nobody_thought_of_gives_the_turn_back(self, definition: Definition, ecs: Ecs) -> None:
        ecs.broken["dynamodb:putItem"] = TaskError("DynamoDB.AccessDeniedException", "no")
        run = Execution(definition(), {}, ecs).end()
        assert (run.status, run.error, run.cause) == ("FAILED", "DynamoDB.AccessDeniedException", "no")
        assert run.visited[-3:] == ["Give the turn back", "How it ended", "Failed"]
        assert not ecs.started

    def test_the_history_has_room_for_the_most_that_may_be_set(self, definition: Definition, ecs: Ecs) -> None:
        machine = definition(max_attempts=500, timeout_hours=72)
        ecs.answers = [failed(75)]
        runs = Execution(machine, {}, ecs).end()
        assert runs.error in {"Csv2kafka.TooManyAttempts", "States.Timeout"}
        if runs.status == "TIMED_OUT":
            ecs.aws.client("dynamodb").delete_item(TableName="csv2kafka-ecs-turns", Key=turn(ecs))
        holder = Execution(machine, {}, ecs).until("Run")
        waits = Execution(machine, {}, ecs).end()
        assert waits.status == "TIMED_OUT"
        holder.until("Give the turn back").step()
        assert runs.events + waits.events < HISTORY_MOST


def turn(ecs: Ecs) -> Any:
    (item,) = ecs.aws.client("dynamodb").scan(TableName="csv2kafka-ecs-turns")["Items"]
    return {"turn": item["turn"]}


class TestTurns:
    def test_the_second_waits_then_goes(self, definition: Definition, ecs: Ecs) -> None:
        machine = definition()
        first, second = Execution(machine, {"job": "a"}, ecs), Execution(machine, {"job": "b"}, ecs)
        first.until("Run")
        for _ in range(3):
            second.until("Wait for the turn").step()
        assert second.waits == [30, 30, 30]
        assert not ecs.started
        first.end()
        second.end()
        assert (first.status, second.status) == ("SUCCEEDED", "SUCCEEDED")
        assert [each["CSV2KAFKA_JOB"] for each in ecs.started] == ["a", "b"]

    @pytest.mark.parametrize("how", ["ABORTED", "TIMED_OUT", "FAILED", "gone"])
    def test_a_holder_that_ended_without_giving_it_back(self, definition: Definition, ecs: Ecs, how: str) -> None:
        machine = definition()
        first = Execution(machine, {"job": "a"}, ecs).until("Run")
        first.status = how
        if how == "gone":  # Step Functions forgets executions after 90 days
            del ecs.executions[first.arn]
        second = Execution(machine, {"job": "b"}, ecs).end()
        assert second.status == "SUCCEEDED"
        assert second.waited > 120  # stopTimeout: the task that was left behind has ended
        assert [each["CSV2KAFKA_JOB"] for each in ecs.started] == ["b"]

    def test_of_two_that_would_take_it_over_one_does(self, definition: Definition, ecs: Ecs) -> None:
        machine = definition()
        Execution(machine, {}, ecs).until("Run").abort()
        second, third = Execution(machine, {}, ecs), Execution(machine, {}, ecs)
        second.until("Take it over")
        third.until("Take it over")
        second.until("Run")
        third.until("Wait for the turn", "Run")
        assert third.next == "Wait for the turn"
        second.end()
        assert third.end().status == "SUCCEEDED"

    def test_one_that_is_given_back_meanwhile_is_taken(self, definition: Definition, ecs: Ecs) -> None:
        machine = definition()
        first = Execution(machine, {}, ecs).until("Run")
        second = Execution(machine, {}, ecs).until("Who has it")
        first.end()
        assert second.end().status == "SUCCEEDED"
        assert second.waited == 0

    def test_an_answer_that_was_lost(self, definition: Definition, ecs: Ecs) -> None:
        """The turn was taken, and the taking is tried again: it is ours."""
        run = Execution(definition(), {}, ecs).until("Run")
        run.next = "Take the turn"
        assert run.end().status == "SUCCEEDED"
        assert run.waited == 0

    def test_one_that_lost_it_takes_nothing_from_the_one_that_has_it(self, definition: Definition, ecs: Ecs) -> None:
        machine = definition()
        first = Execution(machine, {}, ecs).until("Run")
        first.status = "TIMED_OUT"
        second = Execution(machine, {}, ecs).until("Run")
        first.status = "RUNNING"  # as if it had been redriven
        first.end()
        third = Execution(machine, {}, ecs).until("Wait for the turn", "Run")
        assert third.next == "Wait for the turn"
        second.end()
        third.end()


def upload(key: str, *, version: str | None = None, etag: str = "d41d8cd98f00b204e9800998ecf8427e") -> dict[str, Any]:
    """As S3 sends it to EventBridge: the key as it is, the ETag without quotes."""
    named = {"key": key, "size": 10, "etag": etag, "sequencer": "0062"} | ({"version-id": version} if version else {})
    return {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "time": "2026-11-30T04:00:00Z",
        "detail": {"version": "0", "bucket": {"name": "example-exports"}, "object": named, "reason": "PutObject"},
    }


KEYS = ["orders/2026.csv.gz", "orders/naïve Ö ☕ of it's & $(x).csv", "orders/a[1]*?.csv", f"orders/{'ab/' * 90}c.csv"]


class TestWhatIsLoaded:
    def started(self, machine: Mapping[str, Any], ecs: Ecs, event: Any) -> RunConfig:
        """The job as csv2kafka understands what it is told."""
        ecs.started.clear()
        run = Execution(machine, event, ecs).end()
        assert run.status == "SUCCEEDED", f"{run.error} {run.cause}"
        return load(RunConfig, environ={**VARIABLES, **ecs.started[0]})

    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize("version", ["3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY", None, "null"])
    def test_an_upload(self, definition: Definition, ecs: Ecs, key: str, version: str | None) -> None:
        config = self.started(definition(), ecs, upload(key, version=version))
        assert [parse(source) for source in config.sources] == [S3Url("example-exports", key)]
        expected = (
            {"version_id": version}
            if version not in (None, "null")
            else {"if_match": upload("")["detail"]["object"]["etag"]}
        )
        assert config.s3 == expected
        S3Source(*config.sources, **config.s3)  # taken as a key, also with * in it
        assert config.job is not None
        assert re.fullmatch(r"example-exports-orders-[A-Za-z0-9._-]{,77}-[0-9a-f]{16}", config.job)

    def test_each_version_is_a_job_of_its_own_and_an_event_that_comes_twice_is_one(
        self, definition: Definition, ecs: Ecs
    ) -> None:
        machine = definition()
        events = [
            upload("orders/a.csv", version="v1"),
            upload("orders/a.csv", version="v2"),
            upload("orders/a.csv", etag="1a"),
            upload("orders/a.csv", etag="2b"),
            upload("orders/a!csv", etag="2b"),  # cleaned, it is the same
            upload("orders/a?csv", etag="2b"),
            upload(KEYS[3], version="v1"),
            upload(f"{KEYS[3]}x", version="v1"),
        ]
        names = [self.started(machine, ecs, event).job for event in events]
        assert len(set(names)) == len(events)
        assert [self.started(machine, ecs, event).job for event in events] == names

    @pytest.mark.parametrize("key", ["orders/", "orders/_SUCCESS", "orders/.part-1.csv.crc"])
    def test_markers_are_no_rows(self, definition: Definition, ecs: Ecs, key: str) -> None:
        assert Execution(definition(), upload(key), ecs).end().status == "SUCCEEDED"
        assert not ecs.started

    def test_a_schedule(self, definition: Definition, ecs: Ecs) -> None:
        machine = definition(job="daily")
        config = self.started(machine, ecs, {"scheduled": "2026-11-30T04:00:00Z"})
        assert config.job == "daily-2026-11-30T04-00-00Z"
        assert "CSV2KAFKA_SOURCES" not in ecs.started[0]

    def test_somebody(self, definition: Definition, ecs: Ecs) -> None:
        machine = definition()
        urls = ["s3://example-exports/orders/it's 1.csv", "s3://example-exports/orders/2.csv"]
        config = self.started(machine, ecs, {"sources": urls, "job": "two"})
        assert (list(config.sources), config.job) == (urls, "two")
        assert list(self.started(machine, ecs, {"sources": urls[:1]}).sources) == urls[:1]
        assert "CSV2KAFKA_JOB" not in ecs.started[0]
