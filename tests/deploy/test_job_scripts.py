"""The scripts of the three targets: what each refuses, what --dry-run leaves alone; and ECS's against moto."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.aws.conftest import Aws
from tests.deploy.processes import client
from tests.deploy.terraform import DEPLOY, ROOT, TARGETS, Terraform, copy_of

VERBS = ("up", "run", "status", "logs", "down")
SECONDS = 120.0
# What the scripts use of any system, so that a PATH can be made without the others.
BASICS = [
    "bash",
    "basename",
    "cat",
    "cksum",
    "cp",
    "cut",
    "date",
    "dirname",
    "env",
    "git",
    "grep",
    "head",
    "mktemp",
    "rm",
]
BASICS += ["sed", "sleep", "sort", "tail", "tar", "tr", "wc"]
FAKE = """#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >>"$CALLS"
"""
# Says what was made, to those who ask; what it is does not matter.
TERRAFORM = FAKE + 'case "$*" in *"output -raw region") printf eu-west-1 ;; *"output -raw"*) printf known ;; esac\n'
DOCKER = FAKE + "case $1 in login) cat >/dev/null ;; esac\n"
# Nothing runs.
AWS = (
    FAKE
    + """[ -z "${NO_LOGIN:-}" ] || exit 255
case "$1 $2" in "stepfunctions list-executions") echo None ;; "autoscaling describe-auto-scaling-groups") echo 0 ;; esac
"""
)
# Calls that change nothing.
READ_ONLY = re.compile(
    r"terraform -chdir=\S+ output .*|terraform -chdir=\S+/csv2kafka-variables\.\w+ plan .*"
    r"|aws sts get-caller-identity .*|aws --version"
    r"|aws \S+ (describe|list|get|scan|query|filter|head)\S* .*|aws dynamodb scan .*"
)
# What stands for something that every user has another one of.
PLACES = (
    "source_bucket",
    "sources",
    "bootstrap_servers",
    "msk_cluster_arn",
    "kafka_security_group_id",
    "vpc_id",
    "subnet_ids",
)
TFVARS = """
source_bucket           = "my-exports"
source_prefix           = "orders/"
sources                 = ["s3://my-exports/orders/2026.csv"]
topic                   = "orders"
authentication          = "none"
bootstrap_servers       = "broker.internal:9092"
kafka_security_group_id = "sg-1a2b3c4d5e6f7a8b9"
vpc_id                  = "vpc-1a2b3c4d5e6f7a8b9"
subnet_ids              = ["subnet-1a2b3c4d5e6f7a8b9"]
"""


@define
class Job:
    """A copy of deploy/ in a project, with a target's script. ``programs``: its PATH's first folder."""

    folder: Path
    programs: Path
    calls: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, code: int = 0, answer: str = "", **environment: str) -> str:
        """What it says. ``answer``: on standard input."""
        self.calls.write_text("")
        done = subprocess.run(
            [str(self.folder / "job"), *arguments],
            env={**self.environment, **environment},
            input=answer,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"ended with {done.returncode}, expected {code}:\n{done.stdout}"
        return done.stdout

    def refused(self, *arguments: str, **environment: str) -> str:
        """The one sentence that it ends with, and exit code 2; nothing was changed."""
        said = self(*arguments, code=2, **environment)
        assert re.fullmatch(r"job: [^\n]+[.]\n", said), said
        assert not self.changes()
        return said

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def changes(self) -> list[str]:
        return [call for call in self.called() if not READ_ONLY.fullmatch(call)]

    def program(self, name: str, text: str) -> None:
        place = self.programs / name
        place.unlink(missing_ok=True)
        place.write_text(text)
        place.chmod(0o755)

    def configure(self, text: str = TFVARS) -> None:
        (self.folder / "terraform.tfvars").write_text(text)


MakeJob = Callable[[str], Job]


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """A target's script, with a terraform, aws and docker that only note down what they are asked for."""

    def make(target: str) -> Job:
        project, programs = tmp_path / "project", tmp_path / "programs"
        for each in (project, programs):
            each.mkdir()
        copy_of(DEPLOY, project / "deploy")
        (project / "csv2kafka").mkdir()
        shutil.copy(ROOT / "csv2kafka" / "__init__.py", project / "csv2kafka")
        for name in BASICS:
            if found := shutil.which(name):
                (programs / name).symlink_to(found)
        environment = {"PATH": str(programs), "HOME": str(tmp_path), "CALLS": str(tmp_path / "calls")}
        job = Job(project / "deploy" / target, programs, tmp_path / "calls", environment)
        job.calls.write_text("")
        for name, text in {"terraform": TERRAFORM, "aws": AWS, "docker": DOCKER, "make": FAKE}.items():
            job.program(name, text)
        return job

    return make


@pytest.mark.parametrize("target", TARGETS)
class TestOfAllTargets:
    def test_help(self, make_job: MakeJob, target: str) -> None:
        job = make_job(target)
        told = job("--help")
        assert all(re.search(rf"^  {verb} ", told, re.MULTILINE) for verb in VERBS)
        assert all(job(verb, "--help") == told for verb in VERBS)
        assert job(code=2) == told
        assert not job.called()

    def test_a_verb_that_is_none(self, make_job: MakeJob, target: str) -> None:
        assert "apply is none of up, run, status, logs and down" in make_job(target).refused("apply")

    @pytest.mark.parametrize("verb", VERBS)
    def test_without_a_configuration(self, make_job: MakeJob, target: str, verb: str) -> None:
        job = make_job(target)
        assert "copy terraform.tfvars.example to terraform.tfvars" in job.refused(verb)
        job.configure((DEPLOY / target / "terraform.tfvars.example").read_text())
        assert "still has the example's value in line" in job.refused(verb)

    def test_each_value_of_the_example_is_found(self, make_job: MakeJob, target: str) -> None:
        job = make_job(target)
        example = (DEPLOY / target / "terraform.tfvars.example").read_text()
        for name in PLACES:
            lines = re.findall(rf"^{name} *= .+", example, re.MULTILINE)
            assert lines, name
            line = lines[0]
            job.configure(f"{TFVARS}\n{line}\n")
            assert line in job.refused("status")
        job.configure(f'{TFVARS}\nalarm_email = "you@example.com"\n')
        assert "alarm_email" in job.refused("status")

    def test_without_a_program(self, make_job: MakeJob, target: str) -> None:
        job = make_job(target)
        job.configure()
        needed = {"terraform": VERBS, "aws": VERBS, {"ec2": "make"}.get(target, "docker"): ("up",)}
        for name, verbs in needed.items():
            aside = (job.programs / name).rename(job.programs / f"{name}.aside")
            for verb in verbs:
                assert f"{name} is not installed" in job.refused(verb)
            aside.rename(job.programs / name)

    @pytest.mark.parametrize("verb", VERBS)
    def test_without_credentials(self, make_job: MakeJob, target: str, verb: str) -> None:
        job = make_job(target)
        job.configure()
        assert "AWS does not accept the credentials" in job.refused(verb, NO_LOGIN="1")

    def test_words_that_are_not_known(self, make_job: MakeJob, target: str) -> None:
        job = make_job(target)
        job.configure()
        for arguments in (["up", "now"], ["run", "orders.csv"], ["run", "--job"], ["logs", "-n"], ["down", "all"]):
            job.refused(*arguments)
        assert "letters, digits" in job.refused("run", "--job", "a/b")

    def test_logs_are_those_of_a_day(self, make_job: MakeJob, target: str) -> None:
        job = make_job(target)
        job.configure()
        job("logs", "--follow")
        assert job.called()[-1] == "aws logs tail known --since 24h --format short --follow"
        earliest = int(time.time() - 86400) * 1000
        job("logs")
        (since,) = re.findall(r"^aws logs filter-log-events .*--start-time (\d+)", job.called()[-1])
        assert earliest <= int(since) <= int(time.time() - 86400) * 1000

    def test_a_dry_run_changes_nothing(self, make_job: MakeJob, target: str) -> None:
        job = make_job(target)
        job.configure()
        before = {file: file.read_bytes() for file in sorted(job.folder.rglob("*")) if file.is_file()}
        said = job("up", "--dry-run")
        assert re.search(r"^\S*terraform -chdir=\S+ apply", said, re.MULTILINE)
        assert not job.changes()
        said = job("down", "--dry-run")
        assert re.search(r"^\S*terraform -chdir=\S+ destroy", said, re.MULTILINE)
        assert not job.changes()
        assert {file: file.read_bytes() for file in sorted(job.folder.rglob("*")) if file.is_file()} == before

    @pytest.mark.parametrize("arguments", [["up", "--dry-run"], ["up", "--yes"]], ids=" ".join)
    def test_values_that_cannot_be_are_refused_before_aws_is_asked(
        self, make_job: MakeJob, terraform: Terraform, target: str, arguments: list[str]
    ) -> None:
        job = make_job(target)
        job.program("terraform", f'{FAKE}exec "{terraform.binary}" "$@"\n')
        job.environment["TMPDIR"] = str(job.programs.parent)
        missing = re.sub("subnet_ids .*\n", "", TFVARS)
        job.configure(f'{missing}\nvpc_endpoints = "gateway"\nalarm_email = "nobody"\n')
        said = job(*arguments, code=2)
        assert '"subnet_ids" is not set' in said
        job.configure(f'{TFVARS}\nvpc_endpoints = "gateway"\nalarm_email = "nobody"\n')
        said = " ".join(job(*arguments, code=2).split())
        assert "on terraform.tfvars line 13" in said
        assert "alarm_email: expected an e-mail address; give one, or leave it out." in said
        assert "route_table_ids: expected the route tables of subnet_ids, as vpc_endpoints makes gateway" in said
        assert said.endswith(
            "job: Terraform refuses these values: mend terraform.tfvars as it says above; nothing was changed."
        )
        assert [call.partition(" ")[0] for call in job.called()] == ["terraform"]
        assert not job.changes()
        job.configure()
        assert "apply" in job("up", "--dry-run")
        assert not list(job.programs.parent.glob("csv2kafka-variables.*"))

    def test_down_asks(self, make_job: MakeJob, target: str) -> None:
        job = make_job(target)
        job.configure()
        for answer in ("", "n\n", "yesterday\n"):
            assert "nothing was changed" in job("down", code=2, answer=answer)
            assert not job.changes()
        for arguments, answer in ((["down"], "y\n"), (["down", "--yes"], "")):
            said = job(*arguments, answer=answer)
            assert any(re.search("destroy .*-auto-approve", call) for call in job.changes()), job.called()
            assert "my-exports" in said  # what stays


@pytest.fixture
def ecs(make_job: MakeJob, terraform: Terraform, aws: Aws, aws_cli: Path) -> Job:
    """ECS's with a real Terraform (its provider keeps everything to itself) and the real AWS CLI, which asks moto."""
    job = make_job("ecs")
    job.program("terraform", f'{FAKE}exec "{terraform.binary}" "$@"\n')
    job.program("aws", f'{FAKE}exec "{aws_cli}/bin/aws" "$@"\n')
    moto = {**aws.environment, "AWS_PAGER": ""}
    job.environment = {**terraform.environment, **job.environment, **moto}
    job.configure()
    return job


class TestEcs:
    def outputs(self, ecs: Job) -> Mapping[str, Any]:
        said = subprocess.run(
            ["terraform", f"-chdir={ecs.folder}", "output", "-json"],
            env=ecs.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return {name: output["value"] for name, output in json.loads(said.stdout).items()}

    def test_before_up(self, ecs: Job) -> None:
        for verb in ("run", "status", "logs"):
            assert "run ./job up first" in ecs.refused(verb)

    def test_up_run_status_logs_down(self, ecs: Job, aws: Aws) -> None:
        assert "It is up." in ecs("up", "--yes")
        made = self.outputs(ecs)
        tag = re.search('image_tag = "(.+)"', (ecs.folder / "image.auto.tfvars").read_text())
        assert tag is not None
        image = f"{made['repository_url']}:{tag[1]}"
        (login, build) = [call for call in ecs.called() if call.startswith("docker")]
        assert login.endswith(f"--password-stdin {made['repository_url'].partition('/')[0]}")
        assert build.startswith("docker buildx build --platform linux/arm64 ")
        assert f"--tag {image} --push" in build
        state = json.loads((ecs.folder / "terraform.tfstate").read_text())
        (task,) = (each for each in state["resources"] if each["type"] == "aws_ecs_task_definition")
        assert json.loads(task["instances"][0]["attributes"]["container_definitions"])[0]["image"] == image

        # moto gets what Terraform's stand-in has kept to itself.
        region = made["region"]
        states, dynamodb, logs, ecr = (
            client(aws, service, region) for service in ("stepfunctions", "dynamodb", "logs", "ecr")
        )
        ecr.create_repository(repositoryName="csv2kafka-ecs")
        ecr.put_image(
            repositoryName="csv2kafka-ecs",
            imageManifest='{"schemaVersion":2}',
            imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
            imageTag=tag[1],
        )
        assert "is there" in ecs("up", "--yes")
        assert not [call for call in ecs.called() if call.startswith("docker")]

        definition = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": 1, "End": True}}})
        machine = states.create_state_machine(
            name="csv2kafka-ecs", definition=definition, roleArn="arn:aws:iam::123456789012:role/x"
        )["stateMachineArn"]
        assert machine == made["state_machine_arn"]
        key = """s3://my-exports/orders/it's "1" \\ ä.csv"""
        for arguments, expected in (
            ([], {}),
            (["--job", "first.1"], {"job": "first.1"}),
            (
                ["--job=b", key, "s3://my-exports/orders/2*.csv"],
                {"job": "b", "sources": [key, "s3://my-exports/orders/2*.csv"]},
            ),
        ):
            printed = ecs("run", "--dry-run", *arguments)
            assert printed.startswith("aws stepfunctions start-execution")
            assert not ecs.changes()
            arn = ecs("run", *arguments).splitlines()[0]
            assert json.loads(states.describe_execution(executionArn=arn)["input"]) == expected

        for table in ("turn", "job"):
            dynamodb.create_table(
                TableName=made["turns_table_name" if table == "turn" else "table_name"],
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": table, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": table, "AttributeType": "S"}],
            )
        item = {"turn": {"S": "broker.internal:9092/orders/0"}, "holder": {"S": arn}, "since": {"S": "now"}}
        dynamodb.put_item(TableName=made["turns_table_name"], Item=item)
        item = {"job": {"S": "first.1"}, "epoch": {"N": "1"}, "owner": {"S": "somebody"}}
        dynamodb.put_item(TableName=made["table_name"], Item=item)
        said = ecs("status")
        assert "RUNNING" in said
        started, turns = said.split("Whose turn it is:")
        assert arn in started  # what `aws stepfunctions stop-execution` asks for
        assert arn in turns
        assert "somebody" in said
        assert not ecs.changes()

        logs.create_log_group(logGroupName=made["log_group_name"])
        logs.create_log_stream(logGroupName=made["log_group_name"], logStreamName="job/csv2kafka/1")
        now = int(time.time() * 1000)
        logs.put_log_events(
            logGroupName=made["log_group_name"],
            logStreamName="job/csv2kafka/1",
            logEvents=[{"timestamp": now, "message": '{"event": "started"}'}],
        )
        assert '{"event": "started"}' in ecs("logs")

        assert "a job is running" in ecs.refused("down", "--yes")
        for execution in states.list_executions(stateMachineArn=machine)["executions"]:
            states.stop_execution(executionArn=execution["executionArn"])
        assert "It is gone. What stays: the topics" in ecs("down", "--yes")
        assert not json.loads((ecs.folder / "terraform.tfstate").read_text())["resources"]
        for name in (made["turns_table_name"], made["table_name"]):
            dynamodb.delete_table(TableName=name)
        states.delete_state_machine(stateMachineArn=machine)
        logs.delete_log_group(logGroupName=made["log_group_name"])
        ecr.delete_repository(repositoryName="csv2kafka-ecs", force=True)

    def test_nothing_to_load(self, ecs: Job) -> None:
        ecs.configure(re.sub("sources .*\n", "", TFVARS))
        ecs("up", "--yes")
        assert "there is nothing to load" in ecs.refused("run")
        assert "the job may read s3://my-exports/orders/ alone" in ecs.refused("run", "s3://my-exports/other.csv")
        many = [f"s3://my-exports/orders/{'k' * 200}{number}.csv" for number in range(40)]
        assert "too long for ECS" in ecs.refused("run", *many)

    def test_an_image_of_ones_own_is_not_built(self, ecs: Job) -> None:
        ecs.configure(f'{TFVARS}\nimage = "registry.internal/csv2kafka:1"\n')
        (ecs.programs / "docker").unlink()
        ecs("up", "--yes")
        assert "repository_url" not in self.outputs(ecs)  # null
