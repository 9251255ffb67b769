"""AWS Batch: the planned jobs run here, are stopped as Spot stops them, and are retried as their definition says."""

from __future__ import annotations

import json
import re
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from attrs import Factory, define

from tests.aws.conftest import Aws
from tests.aws.imds import REBALANCE, REBALANCE_NOTICE, SPOT, SPOT_TERMINATE, Imds, imds
from tests.aws.job import write_rows
from tests.conftest import MakeTopic
from tests.deploy.conftest import Planned
from tests.deploy.evaluate_on_exit import Attempt, check, is_retried
from tests.deploy.processes import Process, event, make_table, of_batch, stop, wait_for_rows
from tests.deploy.terraform import ROOT, Resources
from tests.faults.installed import Installed, expected_values
from tests.reading import each_row

ROWS = 300_000
MANY = 1_500_000  # 3,000 commits: far longer on any machine than a notice takes to be seen, which is 5 s
SLOW = {"CSV2KAFKA_KERNEL": "python", "CSV2KAFKA_CHECKPOINT_ROWS": "500"}  # time enough to stop it amid rows
SPOT_SECONDS = 120.0  # from the notice to the end of the instance


def stop_seconds(made: Resources) -> float:
    """From SIGTERM to SIGKILL, as ECS's agent is told on each instance."""
    text = made.rendered("aws_launch_template.instance")
    (found,) = re.findall(r"^ECS_CONTAINER_STOP_TIMEOUT=(\d+)m$", text, re.MULTILINE)
    return 60.0 * int(found)


@define
class Surroundings:
    """A target that is up: what was planned, what it needs in moto, and the processes that tests start of it."""

    made: Resources
    aws: Aws
    directory: Path
    started: list[Installed] = Factory(list)

    def process(self, definition: str = "", **environment: str) -> Process:
        prefix = self.made.outputs["prefix"]
        properties = self.made.rendered(f'aws_batch_job_definition.job["{definition or prefix}"]')
        return of_batch(properties).overridden(environment=environment)

    def start(self, process: Process, **given: str) -> Installed:
        """``given``: what Batch, and this machine, put into the container."""
        run = process.start(self.directory, {**self.aws.environment, "AWS_BATCH_JOB_ID": "job-1", **given})
        self.started.append(run)
        return run

    def verified(self, process: Process, **given: str) -> None:
        told = process.overridden(command=["verify"], environment={"CSV2KAFKA_PROGRESS": "none"})
        run = self.start(told, **given)
        assert run.end() == 0, run.output[-3000:]
        assert run.output.startswith("equal: every row is there once, in order"), run.output


@define
class Up:
    """Makes such surroundings."""

    aws: Aws
    applied: Planned
    servers: str
    directory: Path
    made: list[Surroundings] = Factory(list)

    def __call__(self, bucket: str, topic: str | None, **variables: Any) -> Surroundings:
        made = self.applied(
            "batch",
            **{
                "name": f"t{uuid.uuid4().hex[:10]}",
                "bootstrap_servers": self.servers,
                "source_bucket": bucket,
                "sources": [f"s3://{bucket}/orders/rows.csv"],
                "topic": topic,
                **variables,
            },
        )
        make_table(self.aws, made.resource("module.common.aws_dynamodb_table.checkpoints"), made.outputs["region"])
        self.made.append(Surroundings(made, self.aws, self.directory))
        return self.made[-1]


@pytest.fixture
def up(moto: Aws, applied: Planned, bootstrap_servers: str, tmp_path: Path) -> Iterator[Up]:
    made = Up(moto, applied, bootstrap_servers, tmp_path)
    yield made
    for surroundings in made.made:
        for run in surroundings.started:
            run.kill()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_rows(file, ROWS)
    return file


@pytest.fixture
def exported(moto: Aws, bucket: str, rows: Path) -> str:
    """The bucket with the rows in it."""
    moto.client("s3").upload_file(str(rows), bucket, "orders/rows.csv")
    return bucket


@pytest.fixture(scope="session")
def plan(planned: Planned) -> Resources:
    return planned("batch")


def holds_exactly(servers: str, topic: str, partition: int, file: Path) -> None:
    found = (row.value for row in each_row(servers, topic, partition))
    for number, (value, expected) in enumerate(zip_longest(found, expected_values(file)), 1):
        assert value == expected, f"{topic}-{partition}, row {number}: expected {expected!r}, found {value!r}"


@pytest.mark.slow
def test_a_job_is_stopped_killed_and_completed(
    up: Up, exported: str, topic: str, rows: Path, bootstrap_servers: str
) -> None:
    here = up(exported, topic, environment={"CSV2KAFKA_CHECKPOINT_INTERVAL": "100ms"})
    slow = here.process(**SLOW)
    stop(here.start(slow), rows=1, within=stop_seconds(here.made))
    killed = here.start(slow)
    wait_for_rows(killed, 1)
    killed.kill()  # 137 to Batch
    done = here.start(here.process())
    assert done.end() == 0, done.output[-3000:]
    assert event(done, "finished")["report"]["rows"] == ROWS
    assert event(done, "session")["rows"] > 0
    again = here.start(here.process())  # as a retry, or a second ./job run, would be
    assert again.end() == 0, again.output[-3000:]
    assert event(again, "finished")["report"]["already_complete"]
    here.verified(here.process())
    holds_exactly(bootstrap_servers, topic, 0, rows)


@pytest.fixture
def ec2() -> Iterator[Imds]:
    with imds() as fake:
        yield fake


@pytest.mark.slow
def test_a_spot_notice_ends_a_job_and_a_recommendation_does_not(
    up: Up, bucket: str, topic: str, ec2: Imds, tmp_path: Path
) -> None:
    here = up(bucket, topic, environment={"CSV2KAFKA_CHECKPOINT_INTERVAL": "100ms"})
    write_rows(tmp_path / "many.csv", MANY)
    up.aws.client("s3").upload_file(str(tmp_path / "many.csv"), bucket, "orders/rows.csv")
    ec2.entries[REBALANCE] = REBALANCE_NOTICE
    metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": ec2.url, "AWS_EC2_METADATA_DISABLED": "false"}
    # ECS gives each container the task's metadata, which say nothing of Spot in Batch.
    run = here.start(here.process(**SLOW), ECS_CONTAINER_METADATA_URI_V4="http://127.0.0.1:1/v4/x", **metadata)
    wait_for_rows(run, 1)
    deadline = time.monotonic() + 60
    while not ec2.asked and time.monotonic() < deadline:
        time.sleep(0.05)
    assert REBALANCE not in ec2.asked
    ec2.entries[SPOT] = SPOT_TERMINATE
    code = run.end(SPOT_SECONDS)
    assert code == 75, run.output[-3000:]
    assert "EC2 takes this Spot instance back" in event(run, "failed")["message"]
    ec2.entries.clear()
    on_another = here.start(here.process(), **metadata)
    assert on_another.end() == 0, on_another.output[-3000:]
    here.verified(here.process())


def retries(plan: Resources) -> Iterator[Mapping[str, Any]]:
    definitions = plan.of_type("aws_batch_job_definition")
    assert len(definitions) == 2
    for definition in definitions.values():
        (strategy,) = definition["retry_strategy"]
        yield strategy


def told_in_the_documentation() -> dict[int, bool]:
    """Exit codes, and whether docs/aws.md says that Batch runs again after them."""
    found: dict[int, bool] = {}
    for line in (ROOT / "docs" / "aws.md").read_text().splitlines():
        if match := re.match(r"\| ([\d, ]+) \|.*\| \**(yes; on Batch by hand|yes|no)\b", line):
            found |= {int(code): match[2] == "yes" for code in match[1].split(",")}
    return found


def test_batch_takes_the_rules(plan: Resources) -> None:
    for strategy in retries(plan):
        check(strategy)


@pytest.mark.parametrize("code", [0, 1, 2, 65, 69, 70, 75, 76, 137, 143])
def test_an_exit_is_retried_as_the_documentation_says(plan: Resources, code: int) -> None:
    assert code in told_in_the_documentation(), "docs/aws.md does not say it"
    for strategy in retries(plan):
        assert is_retried(strategy, Attempt(exit_code=code)) == told_in_the_documentation()[code]


@pytest.mark.parametrize("code", [None, 1, 143])
def test_a_spot_reclaim_is_retried_up_to_ten_attempts(plan: Resources, code: int | None) -> None:
    reclaimed = Attempt(exit_code=code, status_reason="Host EC2 (instance i-0123456789abcdef0) terminated.")
    for strategy in retries(plan):
        assert [is_retried(strategy, reclaimed, number=number) for number in range(1, 11)] == [True] * 9 + [False]


@pytest.mark.parametrize("reason", ["CannotPullContainerError: not found", "OutOfMemoryError: Container killed", ""])
def test_what_no_rule_names_is_not_retried(plan: Resources, reason: str) -> None:
    for strategy in retries(plan):
        assert not is_retried(strategy, Attempt(exit_code=1, reason=reason))
        without = {**strategy, "evaluate_on_exit": strategy["evaluate_on_exit"][:-1]}
        assert is_retried(without, Attempt(exit_code=1, reason=reason)), "without the last rule it would be"


def manifest(bucket: str, topic: str) -> str:
    children = [
        f'[[array]]\nsources = ["s3://{bucket}/orders/part-{n}.csv"]\npartition = {n}\njob = "{topic[-8:]}-{n}"\n'
        for n in range(3)
    ]
    return f'topic = "{topic}"\n' + "".join(children)


def test_the_children_of_an_array_job_fill_their_partitions(
    up: Up, moto: Aws, bucket: str, make_topic: MakeTopic, bootstrap_servers: str, tmp_path: Path
) -> None:
    topic = make_topic(partitions=3)
    here = up(bucket, "another-topic", more_topics=[topic], partition=2, job="single")
    s3 = moto.client("s3")
    for number in range(3):
        write_rows(tmp_path / f"part-{number}.csv", 1000 * (number + 1), seed=number)
        s3.upload_file(str(tmp_path / f"part-{number}.csv"), bucket, f"orders/part-{number}.csv")
    key = f"{here.made.outputs['manifest_prefix']}m.toml"
    s3.put_object(Bucket=bucket, Key=key, Body=manifest(bucket, topic).encode())
    child = here.process(here.made.outputs["array_job_definition"], CSV2KAFKA_CONFIG=f"s3://{bucket}/{key}")
    # At the same time, as Batch starts them, with what it puts into each.
    size = {"AWS_BATCH_JOB_ARRAY_SIZE": "3"}
    running = [here.start(child, AWS_BATCH_JOB_ARRAY_INDEX=str(number), **size) for number in range(3)]
    for number, run in enumerate(running):
        assert run.end() == 0, run.output[-3000:]
        assert event(run, "finished")["report"]["job"] == f"{topic[-8:]}-{number}"
    for number in range(3):
        holds_exactly(bootstrap_servers, topic, number, tmp_path / f"part-{number}.csv")
        here.verified(child, AWS_BATCH_JOB_ARRAY_INDEX=str(number))
    wrong = here.start(child, AWS_BATCH_JOB_ARRAY_INDEX="2", AWS_BATCH_JOB_ARRAY_SIZE="4")
    assert wrong.end() == 2
    assert "the array job has 4 children, and the file has 3 [[array]] tables" in wrong.output


def test_a_job_may_read_manifests_besides(plan: Resources) -> None:
    known = plan.raw["prior_state"]["values"]["root_module"]["resources"]
    (text,) = [one["values"]["json"] for one in known if one["address"] == "data.aws_iam_policy_document.manifests"]
    (statement,) = json.loads(text)["Statement"]
    manifests = f"arn:aws:s3:::example-exports/{plan.outputs['manifest_prefix']}*"
    assert (statement["Action"], statement["Resource"]) == ("s3:GetObject", manifests)


def test_the_container_is_closed_and_gets_the_signals_itself(up: Up, exported: str, topic: str) -> None:
    here = up(exported, topic)
    definitions = here.made.of_type("aws_batch_job_definition")
    assert len(definitions) == 2
    for address, definition in definitions.items():
        properties = here.made.rendered(address)
        assert properties["command"] == ["run"]
        assert not properties["linuxParameters"]["initProcessEnabled"]
        assert properties["readonlyRootFilesystem"]
        assert not properties["privileged"]
        assert properties["user"].split(":")[0] != "0"
        assert properties["logConfiguration"]["options"]["awslogs-group"] == here.made.outputs["log_group_name"]
        assert definition["propagate_tags"]
    run = here.start(here.process(**SLOW))  # while it starts, too
    run.signal(signal.SIGTERM)
    assert run.end(stop_seconds(here.made)) in (75, -signal.SIGTERM)  # the latter: before it listens
