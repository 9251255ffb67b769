"""The planned user data with the real job in it: csv2kafka from a bundle, Kafka, and moto asked by the real AWS CLI."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
import tarfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from tests.aws.conftest import Aws
from tests.aws.imds import SPOT, SPOT_TERMINATE, Imds, imds
from tests.aws.job import AwsJob, write_rows
from tests.conftest import MakeTopic
from tests.deploy.conftest import Planned
from tests.deploy.processes import client, make_table
from tests.deploy.sandbox import ROOT, Machine, events, need_machine, with_settings
from tests.deploy.terraform import Resources

ROWS = 1_500_000
LONGEST_SECONDS = 240.0  # on a machine that has much else to do
SITE = sysconfig.get_path("purelib")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def write_bundle(file: Path) -> None:
    """As `make bundle` makes one, but what its wheel installs is this environment's csv2kafka."""
    info = "csv2kafka_of_the_tests-1.dist-info"
    files = {
        "csv2kafka_of_the_tests.pth": f"import site; site.addsitedir({SITE!r})\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: csv2kafka-of-the-tests\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ncsv2kafka = csv2kafka.cli:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    wheels = file.parent / "bundle" / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    wheel = wheels / "csv2kafka_of_the_tests-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (wheels.parent / "requirements.txt").write_text(f"csv2kafka-of-the-tests==1 --hash=sha256:{digest}\n")
    with tarfile.open(file, "w:gz") as bundle:
        bundle.add(wheels.parent, "bundle")


@define
class Target:
    """What is planned, as far as it is there in moto after `job up` and `job run`."""

    plan: Resources
    aws: Aws
    bucket: str
    cli: Path
    directory: Path
    metadata: Imds
    machines: list[Machine] = field(factory=list)

    @property
    def region(self) -> str:
        region: str = self.plan.outputs["region"]
        return region

    @property
    def group(self) -> str:
        name: str = self.plan.only("aws_autoscaling_group")["name"]
        return name

    def client(self, service: str) -> Any:
        return client(self.aws, service, self.region)

    def make(self) -> None:
        make_table(self.aws, self.plan.resource("module.common.aws_dynamodb_table.checkpoints"), self.region)
        self.client("logs").create_log_group(logGroupName=self.log_group)
        write_bundle(self.directory / "bundle.tar.gz")
        self.put(self.plan.outputs["bundle"], (self.directory / "bundle.tar.gz").read_bytes())
        self.put(self.plan.outputs["run"], b"")
        zone, scaling = f"{self.region}a", self.client("autoscaling")
        scaling.create_launch_configuration(
            LaunchConfigurationName=self.group, ImageId="ami-12c6146b", InstanceType="c7g.xlarge"
        )
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=self.group,
            LaunchConfigurationName=self.group,
            AvailabilityZones=[zone],
            MinSize=0,
            MaxSize=1,
            DesiredCapacity=1,
        )

    def put(self, url: str, body: bytes) -> None:
        bucket, key = url.removeprefix("s3://").split("/", 1)
        self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body)

    @property
    def log_group(self) -> str:
        name: str = self.plan.outputs["log_group_name"]
        return name

    @property
    def desired(self) -> int:
        (group,) = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.group])[
            "AutoScalingGroups"
        ]
        size: int = group["DesiredCapacity"]
        return size

    def start(self, **run: str) -> Machine:
        """What the group does when an instance is wanted. ``run``: what `job run` wrote down."""
        self.put(self.plan.outputs["run"], "".join(f"{name}={value}\n" for name, value in run.items()).encode())
        self.metadata.entries["instance-id"] = f"i-{len(self.machines):017x}"
        variables = {
            name: value
            for name, value in self.aws.environment.items()
            if name not in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED")
        }
        machine = Machine(
            self.directory / f"machine-{len(self.machines)}",
            {**variables, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.metadata.url},
            bound=(ROOT, Path(sys.prefix), Path(sys.base_prefix), self.cli),
            real=True,
        )
        machine.program("aws", f'#!/bin/bash\nexec {self.cli}/bin/python -m awscli "$@"\n')
        self.machines.append(machine)
        return machine.start(with_settings(self.plan.rendered("aws_launch_template.job"), PAUSE_SECONDS="0.1"))

    def shipped(self) -> list[str]:
        """What the last machine's stream has."""
        stream, logs = self.metadata.entries["instance-id"], self.client("logs")
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = logs.get_log_events(logGroupName=self.log_group, logStreamName=stream, startFromHead=True, **token)
            if not page["events"]:
                return found
            found += [event["message"] for event in page["events"]]
            token = {"nextToken": page["nextForwardToken"]}

    def ended(self) -> tuple[int, bool, int]:
        """The last machine's exit code, whether it said that another one goes on, and the group's size."""
        machine = self.machines[-1]
        machine.wait(LONGEST_SECONDS)
        assert machine.shutdowns[-1] == "-h now", machine.told
        assert machine.console == "", machine.told
        shipped = self.shipped()
        assert shipped == [line for line in machine.log.splitlines() if line.strip()]
        (line,) = [line for line in events(shipped, "instance") if line["state"] == "ended"]
        return line["exit_code"], line["again"], self.desired


MakeTarget = Callable[..., Target]


@pytest.fixture
def make_target(
    planned: Planned, moto: Aws, bucket: str, aws_cli: Path, bootstrap_servers: str, tmp_path: Path
) -> Iterator[MakeTarget]:
    """``make_target(topic)``: the target of that topic, its job is the rows of orders.csv in the bucket."""
    need_machine()
    made: list[Target] = []
    with imds() as metadata:

        def make(topic: str, **variables: object) -> Target:
            plan = planned(
                "ec2",
                name=f"c{uuid.uuid4().hex[:8]}",
                topic=topic,
                source_bucket=bucket,
                source_prefix="",
                sources=[f"s3://{bucket}/orders.csv"],
                bootstrap_servers=bootstrap_servers,
                bundle_bucket=bucket,
                **variables,
            )
            target = Target(plan, moto, bucket, aws_cli, tmp_path, metadata)
            made.append(target)
            target.make()
            return target

        yield make
        for target in made:
            for machine in target.machines:
                machine.kill()


def until_committed(machine: Machine) -> int:
    """Rows that it has told of as committed; waits for some."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        whole = [line for line in machine.log.splitlines() if line.endswith("}")]
        rows: list[int] = [line["rows"] for line in events(whole, "committed")]
        if rows and rows[-1] > 0:
            return rows[-1]
        assert machine.on, machine.told
        assert time.monotonic() < deadline, machine.told
        time.sleep(0.05)


def test_spot_takes_two_instances_and_the_third_completes(
    make_target: MakeTarget, make_topic: MakeTopic, moto: Aws, bootstrap_servers: str, tmp_path: Path
) -> None:
    target = make_target(topic := make_topic())
    write_rows(file := tmp_path / "orders.csv", ROWS)
    moto.client("s3").upload_file(str(file), target.bucket, "orders.csv")

    slow = {"CSV2KAFKA_KERNEL": "python", "CSV2KAFKA_CHECKPOINT_ROWS": "500"}  # enough for the watch, each 5 s
    first = target.start(**slow)
    until_committed(first)
    target.metadata.entries[SPOT] = SPOT_TERMINATE
    assert target.ended() == (75, True, 1)
    (said,) = events(target.shipped(), "failed")
    assert said["message"].startswith("stopped because EC2 takes this Spot instance back")

    del target.metadata.entries[SPOT]
    second = target.start(**slow)
    rows = until_committed(second)
    second.stop()
    assert target.ended() == (75, True, 1)
    assert 0 < rows < ROWS

    target.start()
    assert target.ended() == (0, False, 0)
    (finished,) = events(target.shipped(), "finished")
    assert (finished["report"]["rows"], finished["report"]["complete"]) == (ROWS, True)
    assert finished["report"]["resumed_from_row"] >= rows
    assert any(line.get("JobRows") == ROWS for line in events(target.shipped(), "metrics"))
    job = AwsJob(
        aws=moto, source="", file=file, servers=bootstrap_servers, topic=topic, checkpoints="", directory=tmp_path
    )
    job.assert_holds_exactly()


def test_bad_data_starts_no_other_instance(make_target: MakeTarget, make_topic: MakeTopic, moto: Aws) -> None:
    target = make_target(make_topic())
    moto.client("s3").put_object(Bucket=target.bucket, Key="orders.csv", Body=b"id,name\n1,one\n2\n")
    target.start()
    assert target.ended() == (65, False, 0)
    (said,) = events(target.shipped(), "failed")
    assert said["exit_code"] == 65
