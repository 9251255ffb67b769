"""deploy/ec2/job: what it asks of AWS, and what it refuses with a sentence. Terraform and AWS note calls, no more."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import define

from tests.deploy.terraform import DEPLOY, copy_of

OUTPUTS = {
    "region": "eu-west-1",
    "group": "csv2kafka-ec2",
    "bundle": "s3://bundles/csv2kafka/bundle-arm64.tar.gz",
    "run": "s3://bundles/csv2kafka/run.env",
    "readable": "s3://exports/orders/",
    "sources": "s3://exports/orders/2026.csv",
    "log_group_name": "csv2kafka-ec2",
    "table_name": "csv2kafka-ec2",
}
TFVARS = 'source_bucket = "exports"\nsource_prefix = "orders/"\n'
TERRAFORM = """#!/bin/bash
echo "terraform $*" >>"$FAKES/calls"
[ "$2" != output ] || cat "$FAKES/outputs/$4" 2>/dev/null
"""
AWS = """#!/bin/bash
echo "aws $*" >>"$FAKES/calls"
case "$*" in
  "sts get-caller-identity"*) [ -e "$FAKES/credentials" ] ;;
  *describe-auto-scaling-groups*DesiredCapacity*) cat "$FAKES/desired" ;;
  "s3 ls"*) [ -e "$FAKES/bundle" ] ;;
  "s3 cp --only-show-errors - "*) cat >"$FAKES/run.env" ;;
esac
"""
MAKE = """#!/bin/bash
echo "make $*" >>"$FAKES/calls"
"""


@define
class Script:
    """A copy of deploy/ in which all is up and no job runs."""

    folder: Path
    fakes: Path

    def __call__(self, *arguments: str, code: int = 0) -> str:
        environment = {
            "PATH": f"{self.fakes}/bin:{os.environ['PATH']}",
            "FAKES": str(self.fakes),
            "TERRAFORM": "terraform",
            "HOME": str(self.folder),
        }
        done = subprocess.run(
            [self.folder / "job", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"ended with {done.returncode}, expected {code}:\n{done.stdout}"
        return done.stdout

    @property
    def calls(self) -> list[str]:
        """Those that change something."""
        file = self.fakes / "calls"
        asking = ("sts", "describe", "s3 ls", " output ", "--version", "filter-log", "csv2kafka-variables")
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if not any(word in line for word in asking)]

    def told(self) -> Mapping[str, str]:
        """What an instance would be told: the file is read as run_job does it."""
        shell = f"set -ae; CSV2KAFKA_JOB=planned; CSV2KAFKA_SOURCES=planned; . {self.fakes}/run.env; env -0"
        done = subprocess.run(["bash", "-c", shell], env={}, capture_output=True, text=True, check=True)
        pairs = (line.partition("=")[::2] for line in done.stdout.split("\0") if line.startswith("CSV2KAFKA_"))
        return dict(pairs)


@pytest.fixture
def script(tmp_path: Path) -> Script:
    folder = copy_of(DEPLOY, tmp_path / "deploy") / "ec2"
    (tmp_path / "csv2kafka").mkdir()
    (tmp_path / "csv2kafka" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (folder / "terraform.tfvars").write_text(TFVARS)
    fakes = tmp_path / "fakes"
    for name, text in {"terraform": TERRAFORM, "aws": AWS, "make": MAKE}.items():
        (fakes / "bin").mkdir(parents=True, exist_ok=True)
        (fakes / "bin" / name).write_text(text)
        (fakes / "bin" / name).chmod(0o755)
    (fakes / "outputs").mkdir()
    for name, value in OUTPUTS.items():
        (fakes / "outputs" / name).write_text(value)
    (fakes / "desired").write_text("0\n")
    (fakes / "credentials").touch()
    (fakes / "bundle").touch()
    return Script(folder, fakes)


WANTED = "aws autoscaling set-desired-capacity --auto-scaling-group-name csv2kafka-ec2 --desired-capacity 1"


def test_a_run_of_what_terraform_tfvars_says(script: Script) -> None:
    script("run")
    assert script.calls == [f"aws s3 cp --only-show-errors - {OUTPUTS['run']}", WANTED]
    assert script.told() == {"CSV2KAFKA_JOB": "planned", "CSV2KAFKA_SOURCES": "planned"}


def test_a_run_of_other_sources_is_another_job(script: Script) -> None:
    sources = ["s3://exports/orders/a b.csv", "s3://exports/orders/it's $HOME `id`.csv", "s3://exports/orders/c.csv"]
    script("run", *sources)
    told = script.told()
    assert shlex.split(told["CSV2KAFKA_SOURCES"]) == sources
    assert set(told) == {"CSV2KAFKA_SOURCES"}
    script("run", "--job", "orders-2026", sources[2])
    assert script.told() == {"CSV2KAFKA_JOB": "orders-2026", "CSV2KAFKA_SOURCES": sources[2]}
    script("run", "--job=again")
    assert script.told() == {"CSV2KAFKA_JOB": "again", "CSV2KAFKA_SOURCES": "planned"}


def test_a_dry_run_changes_nothing(script: Script) -> None:
    said = script("run", "--dry-run", "s3://exports/orders/a b.csv")
    assert WANTED in said
    assert "CSV2KAFKA_SOURCES=" in said
    said = script("up", "--dry-run")
    assert " apply" in said
    assert "make -C" in said
    assert "bundle ARCH=aarch64" in said
    assert "terraform" in script("down", "--dry-run")
    assert script.calls == []


def test_up_builds_the_bundle_and_uploads_it(script: Script) -> None:
    script("up", "--yes")
    *terraform, make, upload = script.calls
    assert [call.split()[2] for call in terraform] == ["init", "apply"]
    assert make.endswith(" bundle ARCH=aarch64")
    root = script.folder.parent.parent
    file = f"{root}/dist/csv2kafka-bundle-1.2.3-aarch64.tar.gz"
    assert upload == f"aws s3 cp --only-show-errors {file} {OUTPUTS['bundle']}"


def test_up_with_a_bundle_that_is_there(script: Script, tmp_path: Path) -> None:
    (script.folder / "terraform.tfvars").write_text(f'{TFVARS}architecture = "x86_64"\n')
    file = tmp_path / "csv2kafka-bundle-1-x86_64.tar.gz"
    file.touch()
    script("up", "--yes", "--bundle", str(file))
    assert script.calls[-1] == f"aws s3 cp --only-show-errors {file} {OUTPUTS['bundle']}"
    assert not any(call.startswith("make") for call in script.calls)


def test_status_logs_and_down(script: Script) -> None:
    (script.fakes / "desired").write_text("1\n")
    assert script("status").startswith("A job is to be done.")
    script("logs")
    assert "a job is running" in script("down", "--yes", code=2)
    (script.fakes / "desired").write_text("0\n")
    script("down", "--yes")
    assert script.calls[-1].split()[2] == "destroy"


REFUSED = {
    "a job runs already": (["run"], "desired"),
    "there is nothing to install at": (["run"], "bundle"),
    "AWS does not accept the credentials": (["run"], "credentials"),
    "run ./job up first": (["run"], "outputs/group"),
    "there is nothing to load": (["run"], "outputs/sources"),
    "s3://other/orders/a.csv: the job may read s3://exports/orders/ alone": (["run", "s3://other/orders/a.csv"], ""),
    "expected --job NAME or a source": (["run", "orders.csv"], ""),
    "--job a/b: expected letters": (["run", "--job", "a/b"], ""),
    "--job: expected a name": (["run", "--job"], ""),
    "--bundle: there is no file": (["up", "--bundle", "nowhere.tar.gz"], ""),
    "--bundle: expected one for aarch64": (["up", "--bundle", __file__], ""),
    "--bundle: expected a file": (["up", "--bundle"], ""),
    "this verb takes no such word": (["status", "now"], ""),
    "is none of up, run": (["start"], ""),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_is_refused(says: str, script: Script) -> None:
    arguments, lacks = REFUSED[says]
    if lacks == "desired":
        (script.fakes / "desired").write_text("1\n")
    elif lacks:
        (script.fakes / lacks).unlink()
    said = script(*arguments, code=2)
    assert says in said
    assert len(said.splitlines()) == 1, said
    assert script.calls == []


@pytest.mark.parametrize("verb", ["up", "run", "status", "logs", "down"])
def test_values_of_the_example_are_refused(verb: str, script: Script) -> None:
    shutil.copy(script.folder / "terraform.tfvars.example", script.folder / "terraform.tfvars")
    assert "still has the example's value" in script(verb, code=2)
    (script.folder / "terraform.tfvars").unlink()
    assert "copy terraform.tfvars.example to terraform.tfvars" in script(verb, code=2)
    assert script.calls == []
