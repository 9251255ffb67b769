"""deploy/batch/job: what it starts in Batch (moto's), and what it refuses with a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from attrs import define

from tests.aws.conftest import Aws
from tests.deploy.conftest import Planned
from tests.deploy.processes import client, make_table
from tests.deploy.terraform import DEPLOY, Resources, copy_of
from tests.faults.installed import COMMAND

THREE = 'topic = "orders"\n' + "".join(
    f'[[array]]\nsources = ["s3://my-exports/orders/{n}.csv"]\npartition = {n}\n' for n in range(3)
)
# Answers what Terraform would say of what it has made.
TERRAFORM = """#!/bin/bash
echo "terraform $*" >>"$CALLS"
shift
[ "$1" = output ] || exit 0
[ -f "$OUTPUTS/$3" ] && cat "$OUTPUTS/$3"
"""
# The real one, or an answer that a test needs.
AWS = """#!/bin/bash
echo "aws $*" >>"$CALLS"
if [ -f "$ANSWERS/$1-$2" ]; then cat "$ANSWERS/$1-$2"; exit 0; fi
exec "$REAL_AWS" "$@"
"""
SECONDS = 120.0


@define
class Script:
    """A copy of deploy/ that is up. ``programs``: what is on the PATH besides the system's."""

    folder: Path
    aws: Aws
    environment: Mapping[str, str]
    outputs: Mapping[str, Any]
    answers: Path
    calls: Path

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> str:
        self.calls.write_text("")
        done = subprocess.run(
            [str(self.folder / "job"), *arguments],
            env={**self.environment, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"ended with {done.returncode}, expected {code}:\n{done.stdout}"
        return done.stdout

    def client(self, service: str) -> Any:
        return client(self.aws, service, self.outputs["region"])

    def jobs(self) -> list[dict[str, Any]]:
        """All in the queue, in full."""
        batch = self.client("batch")
        filters = [{"name": "JOB_NAME", "values": ["*"]}]
        listed = batch.list_jobs(jobQueue=self.outputs["job_queue"], filters=filters)["jobSummaryList"]
        found = [job["jobId"] for job in listed if ":" not in job["jobId"]]  # moto lists the children too
        jobs: list[dict[str, Any]] = batch.describe_jobs(jobs=found)["jobs"] if found else []
        return jobs


def told_to(job: Mapping[str, Any]) -> dict[str, str]:
    """Its variables of csv2kafka: the definitions in moto have none."""
    told = {each["name"]: each["value"] for each in job["container"]["environment"]}
    return {name: value for name, value in told.items() if name.startswith("CSV2KAFKA_")}


@pytest.fixture(scope="session")
def plan(planned: Planned) -> Resources:
    return planned("batch", source_bucket="my-exports", sources=["s3://my-exports/orders/2026.csv"])


@pytest.fixture
def make_script(moto: Aws, plan: Resources, bucket: str, aws_cli: Path, tmp_path: Path) -> Callable[..., Script]:
    """Makes the script's folder, and the queue and the definitions in moto; ``outputs``: others than planned."""

    def make(*, tools: tuple[Path, ...] = (COMMAND.parent,), **outputs: Any) -> Script:
        folder = copy_of(DEPLOY, tmp_path / "deploy") / "batch"
        (folder / "terraform.tfvars").write_text('source_bucket = "my-exports"\n')
        told, programs, answers = (tmp_path / name for name in ("outputs", "programs", "answers"))
        for place in (told, programs, answers):
            place.mkdir()
        names = {"my-exports": bucket, plan.outputs["prefix"]: f"t{uuid.uuid4().hex[:10]}"}
        planned = {name: own(value, names) for name, value in plan.outputs.items()}
        for name, value in {**planned, **outputs}.items():
            if value is not None:
                (told / name).write_text(value if isinstance(value, str) else json.dumps(value))
        for name, text in (("terraform", TERRAFORM), ("aws", AWS)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        # Without csv2kafka, unless it is a tool of the test's.
        bare = [place for place in os.environ["PATH"].split(":") if not Path(place, "csv2kafka").exists()]
        environment = {
            **moto.environment,
            "PATH": ":".join(map(str, [programs, *tools, *bare])),
            "HOME": str(tmp_path),
            "REAL_AWS": str(aws_cli / "bin" / "aws"),
            "OUTPUTS": str(told),
            "ANSWERS": str(answers),
            "CALLS": str(tmp_path / "calls"),
        }
        script = Script(folder, moto, environment, planned, answers, tmp_path / "calls")
        set_up(script, plan)
        return script

    return make


def own(value: Any, names: Mapping[str, str]) -> Any:
    """With this test's names in place of the planned ones: moto is shared."""
    for name, instead in names.items() if isinstance(value, str) else ():
        value = value.replace(name, instead)
    return value


def set_up(script: Script, plan: Resources) -> None:
    """What an apply would have made of Batch, and the checkpoint table."""
    data = json.dumps({"batch": {"use_docker": False}}).encode()
    config = Request(f"{script.aws.url}/moto-api/config", data=data, headers={"Content-Type": "application/json"})
    with urlopen(config):
        pass
    batch, prefix = script.client("batch"), script.outputs["prefix"]
    role = script.client("iam").create_role(RoleName=prefix, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    batch.create_compute_environment(computeEnvironmentName=prefix, type="UNMANAGED", state="ENABLED", serviceRole=role)
    batch.create_job_queue(
        jobQueueName=script.outputs["job_queue"],
        priority=1,
        state="ENABLED",
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": prefix}],
    )
    table = plan.resource("module.common.aws_dynamodb_table.checkpoints")
    make_table(script.aws, {**table, "name": script.outputs["table_name"]}, script.outputs["region"])
    for name in (script.outputs["job_definition"], script.outputs["array_job_definition"]):
        properties = {"image": "csv2kafka", "vcpus": 1, "memory": 512, "command": ["run"]}
        batch.register_job_definition(jobDefinitionName=name, type="container", containerProperties=properties)


def manifest(script: Script, text: str = THREE, name: str = "orders.2026.toml") -> str:
    (script.folder / name).write_text(text.replace("my-exports", script.outputs["source_bucket"]))
    return name


def test_a_job_is_started_as_it_is_configured(make_script: Callable[..., Script]) -> None:
    script = make_script()
    told = script("run")
    (job,) = script.jobs()
    assert job["jobId"] in told
    assert job["jobName"] == script.outputs["prefix"]
    assert f"job-definition/{script.outputs['job_definition']}:1" in job["jobDefinition"]
    assert told_to(job) == {}
    assert "--share-identifier single" in script.calls.read_text()
    assert job["jobName"] in script("status")


def test_sources_and_a_name_are_the_jobs_own(make_script: Callable[..., Script]) -> None:
    script = make_script(job_name="configured")
    within = script.outputs["readable"]
    odd = f"""{within}it's "a" $(x) \\ file.csv"""
    script("run", "--job", "o.2026", "--share", "sales", f"{within}a b.csv", odd)
    (job,) = script.jobs()
    assert job["jobName"] == "o-2026"
    assert told_to(job) == {
        "CSV2KAFKA_JOB": "o.2026",
        "CSV2KAFKA_SOURCES": f"'{within}a b.csv' " + "'" + odd.replace("'", "'\\''") + "'",
    }
    assert "--share-identifier sales" in script.calls.read_text()


def test_other_sources_are_another_job_than_the_configured(make_script: Callable[..., Script]) -> None:
    script = make_script(job_name="configured")
    script("run", script.outputs["readable"] + "a.csv")
    script("run", script.outputs["readable"] + "b.csv")
    names = [(job["jobName"], told_to(job)["CSV2KAFKA_JOB"]) for job in script.jobs()]
    assert len(set(names)) == 2
    assert all(batch == own != "configured" for batch, own in names)


def test_an_array_job_has_its_manifest_in_the_bucket_and_a_child_for_each_table(
    make_script: Callable[..., Script],
) -> None:
    script = make_script()
    script("run", "--array", manifest(script))
    (job,) = script.jobs()
    assert job["arrayProperties"]["size"] == 3
    assert f"job-definition/{script.outputs['array_job_definition']}:1" in job["jobDefinition"]
    assert job["jobName"] == f"{script.outputs['prefix']}-orders-2026"
    ((name, url),) = told_to(job).items()
    assert name == "CSV2KAFKA_CONFIG"
    bucket = script.outputs["source_bucket"]
    assert url.startswith(f"s3://{bucket}/{script.outputs['manifest_prefix']}{job['jobName']}-")
    stored = script.aws.client("s3").get_object(Bucket=bucket, Key=url.removeprefix(f"s3://{bucket}/"))
    assert stored["Body"].read() == (script.folder / "orders.2026.toml").read_bytes()
    assert "--share-identifier array" in script.calls.read_text()
    # The same file again is the same object; another file another.
    script("run", "--array", manifest(script, THREE + "# changed\n"), "--job", "second")
    keys = [
        one["Key"]
        for one in script.aws.client("s3").list_objects_v2(Bucket=script.outputs["source_bucket"])["Contents"]
    ]
    assert len(keys) == 2


def test_where_csv2kafka_is_not_installed_the_children_look_at_the_tables(make_script: Callable[..., Script]) -> None:
    script = make_script(tools=())
    assert "csv2kafka is not installed here" in script("run", "--array", manifest(script))
    assert len(script.jobs()) == 1


def test_a_job_that_has_not_ended_is_not_started_again(make_script: Callable[..., Script]) -> None:
    script = make_script()
    (script.answers / "batch-list-jobs").write_text("RUNNING\tjob-id\n")
    for arguments in ([], ["--array", manifest(script)]):
        told = script("run", *arguments, code=2)
        assert "has been started already and has not ended (RUNNING job-id): wait for it" in told
    (script.answers / "batch-list-jobs").unlink()
    assert script.jobs() == []
    assert "Contents" not in script.aws.client("s3").list_objects_v2(Bucket=script.outputs["source_bucket"])


def test_nothing_is_removed_while_jobs_run(make_script: Callable[..., Script]) -> None:
    script = make_script()
    (script.answers / "batch-list-jobs").write_text("orders\n")
    assert "a job has not ended (orders)" in script("down", "--yes", code=2)
    assert "destroy" not in script.calls.read_text()
    (script.answers / "batch-list-jobs").unlink()
    assert "nothing was changed" in script("down", code=2)  # nobody is there to say yes
    assert "What stays: the topics" in script("down", "--yes")
    assert "destroy -input=false -auto-approve" in script.calls.read_text()


def test_a_dry_run_changes_nothing(make_script: Callable[..., Script]) -> None:
    script = make_script()
    script.environment = {**script.environment, "AWS_PAGER": ""}
    for arguments in (["run"], ["run", "--array", manifest(script)], ["down"], ["up"]):
        assert script(*arguments, "--dry-run")
        changing = ("submit-job", "put-object", "create-", "apply", "destroy", "push")
        assert not [line for line in script.calls.read_text().splitlines() if any(word in line for word in changing)]
    assert script.jobs() == []
    assert "aws batch submit-job --job-name" in script("run", "--dry-run")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no file"),
        ("", r"there is no [[array]] table in"),
        ("[[array]]\n", "there is one [[array]] table in"),
        ("[[array]]\n" * 10_001, "there are 10001 [[array]] tables in"),
        ("[[array]]\n[[array]]\n#" + "x" * 8_388_608, "and children read at most 8 MiB"),
        (THREE + "[[array]]\npartition = 0\n", "children 0 and 3 both have topic orders, partition 0"),
        (THREE + "topik = 1\n", "did you mean topic?"),
        (THREE + "x = \n", "not TOML"),
        (THREE + '[[ "array" ]]\npartition = "x"\n', "found 'x' in child 3"),
        (THREE.replace("[[array]]\n", "x=1\n", 1), "'x' is not an option"),
        ("array = [\n{partition = 1},\n[[array]],\n[[array]],\n]", "not TOML"),
    ],
)
def test_a_wrong_manifest_starts_nothing(make_script: Callable[..., Script], text: str | None, said: str) -> None:
    script = make_script()
    name = "none.toml" if text is None else manifest(script, text)
    told = script("run", "--array", name, code=2)
    assert told.startswith("job: --array")
    assert said in told
    assert script.jobs() == []
    assert "Contents" not in script.aws.client("s3").list_objects_v2(Bucket=script.outputs["source_bucket"])


@pytest.mark.parametrize(
    ("arguments", "outputs", "said"),
    [
        (["--job"], {}, "--job: expected a value behind it"),
        (["--job", "a b"], {}, "--job a b: expected letters, digits"),
        (["--job", "a" * 129], {}, "--job: expected at most 128 letters"),
        (["--share", "a-b"], {}, "--share a-b: expected letters and digits"),
        (["--jobb", "x"], {}, "--jobb: expected --job NAME"),
        (["orders.csv"], {}, "orders.csv: expected --job NAME"),
        (["s3://other/orders/a.csv"], {}, "the job may read s3://bucket-"),
        (["--array", "a.toml", "s3://my-exports/orders/a.csv"], {}, "expected either a source or --array, found both"),
        ([], {"has_sources": False}, "there is nothing to load"),
        ([], {"has_topic": False}, "there is no topic"),
        ([], {"region": None}, "run ./job up first"),
    ],
)
def test_what_is_half_said_is_refused(
    make_script: Callable[..., Script], arguments: list[str], outputs: dict[str, Any], said: str
) -> None:
    script = make_script(**outputs)
    assert said in script("run", *arguments, code=2)
    assert script.jobs() == []


def test_without_variables_nothing_is_done(make_script: Callable[..., Script]) -> None:
    script = make_script()
    variables = script.folder / "terraform.tfvars"
    variables.unlink()
    assert "copy terraform.tfvars.example" in script("run", code=2)
    shutil.copy(script.folder / "terraform.tfvars.example", variables)
    assert "still has the example's value" in script("up", code=2)
