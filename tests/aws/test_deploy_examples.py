"""examples/ecs.py, batch.py and ec2.py, run as a task, a child of an array job and an instance would run them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from tests.aws.conftest import Aws
from tests.aws.ecs_metadata import ecs_metadata
from tests.aws.http_proxy import HttpProxy, behind, gets
from tests.aws.imds import SPOT, SPOT_TERMINATE, imds
from tests.aws.job import make_table
from tests.pipelines import csv_text, values
from tests.reading import read_partition

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60.0
ROWS = 200_000  # 4 MB
# So that something is committed before the object ends.
SMALL = {"CSV2KAFKA_S3_RANGE_BYTES": "1MiB", "CSV2KAFKA_S3_PARALLEL": "1", "CSV2KAFKA_CHECKPOINT_ROWS": "4000"}


@frozen
class Example:
    """``environment``: what a target gives it, and where moto is."""

    name: str
    environment: Mapping[str, str]
    arguments: Sequence[str] = ()

    def given(self, **variables: str) -> Example:
        return evolve(self, environment={**self.environment, **variables})

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[str]]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CSV2KAFKA_", "AWS_"))}
        command = [sys.executable, str(EXAMPLES / self.name), *self.arguments]
        with subprocess.Popen(
            command, env={**kept, **self.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, code: int = 0) -> list[dict[str, Any]]:
        """From start to end; its lines, which all are JSON."""
        with self.started() as process:
            return ended(process, code)

    async def stopped(self, s3: HttpProxy, topic: str, stop: Callable[[subprocess.Popen[str]], None]) -> dict[str, Any]:
        """Stopped when some rows are committed, and S3 gives no more of the object; its last words."""
        never = s3.stall(behind(2, gets("orders.csv", least=100)), at=0, times=None)
        servers = self.environment["CSV2KAFKA_BOOTSTRAP_SERVERS"]
        with self.given(AWS_ENDPOINT_URL_S3=s3.url, **SMALL).started() as process:
            async with asyncio.timeout(SECONDS):
                while not never.struck or not await asyncio.to_thread(committed, servers, topic):
                    assert process.poll() is None, process.communicate()
                    await asyncio.sleep(0.05)
            stop(process)
            lines = await asyncio.to_thread(ended, process, 75)
        (failed,) = [line for line in lines if line["event"] == "failed"]
        assert failed["exit_code"] == 75
        assert 0 < [line for line in lines if line["event"] == "metrics"][-1]["JobRows"] < ROWS
        return failed


def committed(servers: str, topic: str) -> bool:
    """Whether a consumer sees anything in partition 0."""
    partition = TopicPartition(topic, 0)
    admin = AdminClient({"bootstrap.servers": servers})  # by a name: one that is gone never answers
    asked = admin.list_offsets({partition: OffsetSpec.latest()}, isolation_level=IsolationLevel.READ_COMMITTED)
    return bool(asked[partition].result(SECONDS).offset)


def ended(process: subprocess.Popen[str], code: int) -> list[dict[str, Any]]:
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == code, output
    return [json.loads(line) for line in output.splitlines()]


def sigterm(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)


def finished(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The report of a run that was there to the end."""
    (line,) = [line for line in lines if line["event"] == "finished"]
    report: dict[str, Any] = line["report"]
    assert report["complete"]
    assert [one for one in lines if one["event"] == "metrics"][-1]["Complete"] == 1
    return report


@pytest.fixture
def surroundings(aws: Aws, bootstrap_servers: str, tmp_path: Path) -> Mapping[str, str]:
    """What all three targets set."""
    return {
        **aws.environment,
        "CSV2KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "CSV2KAFKA_CHECKPOINTS": f"dynamodb://{make_table(aws, tmp_path)}",
    }


@pytest.fixture
def source(aws: Aws, bucket: str) -> str:
    aws.client("s3").put_object(Bucket=bucket, Key="orders.csv", Body=csv_text(ROWS))
    return f"s3://{bucket}/orders.csv"


async def test_ecs_transforms_rows_and_goes_on_after_sigterm(
    surroundings: Mapping[str, str], source: str, topic: str, bootstrap_servers: str, aws: Aws
) -> None:
    with ecs_metadata() as task:
        variables = {"CSV2KAFKA_SOURCES": source, "CSV2KAFKA_TOPIC": topic, "ECS_CONTAINER_METADATA_URI_V4": task.uri}
        example = Example("ecs.py", {**surroundings, **variables})
        async with HttpProxy(aws.url) as s3:
            failed = await example.stopped(s3, topic, sigterm)
        assert failed["message"].startswith("stopped (SIGTERM): ")
        report = finished(await asyncio.to_thread(example.run))
    assert 0 < report["resumed_from_row"] < ROWS
    found = [row.value for row in read_partition(bootstrap_servers, topic)]
    assert found == [value[:-1] + b',"origin":"exports"}' for value in values(ROWS)]


def test_ecs_does_not_go_on_with_another_transform(
    surroundings: Mapping[str, str], source: str, topic: str, aws: Aws, tmp_path: Path
) -> None:
    example = Example("ecs.py", {**surroundings, "CSV2KAFKA_SOURCES": source, "CSV2KAFKA_TOPIC": topic})
    finished(example.run())
    other = tmp_path / "ecs.py"
    other.write_text((EXAMPLES / "ecs.py").read_text().replace('VERSION = "1"', 'VERSION = "2"'))
    (failed, *_) = [line for line in evolve(example, name=str(other)).run(code=2) if line["event"] == "failed"]
    assert failed["error"] == "SettingsChanged"
    assert "change" in failed["message"]


def test_ecs_tells_of_what_is_missing_as_the_alarms_read_it(surroundings: Mapping[str, str]) -> None:
    (failed,) = Example("ecs.py", {**surroundings, "CSV2KAFKA_TOPIC": "orders"}).run(code=2)
    assert (failed["event"], failed["exit_code"]) == ("failed", 2)
    assert "CSV2KAFKA_SOURCES" in failed["message"]


async def test_each_child_of_an_array_takes_its_line(
    surroundings: Mapping[str, str], source: str, bucket: str, aws: Aws, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(partitions=2)
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="second.csv", Body=csv_text(30, 5))
    s3.put_object(Bucket=bucket, Key="all.list", Body=f"{source}\ns3://{bucket}/second.csv\n".encode())
    example = Example("batch.py", {**surroundings, "CSV2KAFKA_TOPIC": topic, "MANIFEST": f"s3://{bucket}/all.list"})
    children = [example.given(AWS_BATCH_JOB_ARRAY_INDEX=str(index)) for index in range(3)]
    async with HttpProxy(aws.url) as proxy:
        await children[0].stopped(proxy, topic, sigterm)
    assert finished(await asyncio.to_thread(children[1].run))["rows"] == 30
    assert finished(await asyncio.to_thread(children[0].run))["resumed_from_row"] > 0
    servers = surroundings["CSV2KAFKA_BOOTSTRAP_SERVERS"]
    assert [row.value for row in read_partition(servers, topic, 0)] == values(ROWS)
    assert [row.value for row in read_partition(servers, topic, 1)] == values(30, 5)
    (failed,) = await asyncio.to_thread(children[2].run, 2)
    assert "expected a line for child 2, which counts from 0, found 2 lines" in failed["message"]
    (failed,) = await asyncio.to_thread(example.run, 2)
    assert "AWS_BATCH_JOB_ARRAY_INDEX" in failed["message"]


async def test_ec2_heeds_the_spot_notice_and_goes_on_elsewhere(
    surroundings: Mapping[str, str], source: str, bucket: str, aws: Aws, make_topic: Callable[..., str]
) -> None:
    first, second = make_topic(), make_topic()
    aws.client("s3").put_object(Bucket=bucket, Key="small.csv", Body=csv_text(30))
    arguments = (f"s3://{bucket}/small.csv={first}", f"{source}={second}")
    example = Example("ec2.py", surroundings, arguments)
    with imds() as metadata:
        there = example.given(AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.url, AWS_EC2_METADATA_DISABLED="false")

        def notice(_: object) -> None:
            metadata.entries[SPOT] = SPOT_TERMINATE

        async with HttpProxy(aws.url) as s3:
            failed = await there.stopped(s3, second, notice)
        assert "EC2 takes this Spot instance back" in failed["message"]
    with imds() as metadata:  # the next instance
        there = example.given(AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.url, AWS_EC2_METADATA_DISABLED="false")
        lines = await asyncio.to_thread(there.run)
    small, large = (line["report"] for line in lines if line["event"] == "finished")
    assert small["already_complete"]
    assert large["complete"]
    assert large["resumed_from_row"] > 0
    servers = surroundings["CSV2KAFKA_BOOTSTRAP_SERVERS"]
    assert [row.value for row in read_partition(servers, first)] == values(30)
    assert [row.value for row in read_partition(servers, second)] == values(ROWS)
