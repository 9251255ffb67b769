"""Terraform for tests of deploy/, and moto and a broker for what is planned there.

Terraform is ``$TERRAFORM``, or else the one on the PATH; where that one cannot plan without an account, the one that
``../shared/terraform/setup`` beside the checkout gives, if it is there. Nothing here talks to AWS.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.aws.conftest import aws, bucket, make_bucket, moto
from tests.conftest import IN_CI
from tests.deploy.terraform import ROOT, Refused, Resources, Terraform, environment

__all__ = ["aws", "bucket", "make_bucket", "moto"]

SETUP = ROOT.parent / "shared" / "terraform" / "setup"
SETUP_SECONDS = 540.0  # it builds a provider, once on a machine
PROBE = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}
data "aws_caller_identity" "current" {}
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        made_once = {"terraform", "aws_cli"} & set(getattr(item, "fixturenames", ()))
        if made_once and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))  # the first may build the provider, or install the CLI


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """This test process's own, in a copy of deploy/. Skips where there is none; in CI it fails."""
    directory = tmp_path_factory.mktemp("terraform")
    base = tmp_path_factory.getbasetemp()
    answers = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "terraform-answers"
    answers.mkdir(exist_ok=True)
    lacks = ""
    try:
        yield _working(directory, answers)
    except _Missing as missing:
        lacks = str(missing)
    finally:
        shutil.rmtree(directory)
    if lacks and IN_CI:
        pytest.fail(f"Terraform is missing, and CI is set: {lacks}", pytrace=False)
    elif lacks:
        pytest.skip(f"needs Terraform: {lacks}")


class Planned(Protocol):
    """What a target plans with these variables, besides those that every plan has."""

    def __call__(self, target: str, /, **variables: object) -> Resources: ...


class Refusal(Protocol):
    """What a target says at the plan, which it must refuse."""

    def __call__(self, target: str, /, **variables: object) -> str: ...


@pytest.fixture(scope="session")
def planned(terraform: Terraform) -> Planned:
    """``planned("ecs", topic="orders")``: what an empty account would get."""
    return terraform.plan


@pytest.fixture(scope="session")
def applied(terraform: Terraform) -> Planned:
    """The same after it was applied in the stand-in, and found done by a second plan."""
    return terraform.apply


@pytest.fixture(scope="session")
def refusal(terraform: Terraform) -> Refusal:
    """``refusal("ecs", topic="?")``: the errors of a plan that must fail."""
    return terraform.refusal


class _Missing(Exception):
    """No Terraform that plans without an account; the reason."""


def _working(directory: Path, answers: Path) -> Terraform:
    """The first that can plan something of AWS. Raises _Missing with what each lacks."""
    lacks = []
    for number, find in enumerate((_named, _set_up)):
        try:
            found = find(directory, answers)
            _try(found, directory / f"probe-{number}")
            return found
        except _Missing as missing:
            lacks.append(str(missing))
    raise _Missing("; ".join(lacks))


def _try(found: Terraform, probe: Path) -> None:
    probe.mkdir()
    (probe / "main.tf").write_text(PROBE)
    try:
        found.call(probe, "init", "-input=false", "-no-color")
        found.call(probe, "plan", "-input=false", "-json", "-lock=false")
    except Refused as refused:
        said = " ".join(str(refused).split())[-300:]
        raise _Missing(f"{found.binary} has no stand-in for the AWS provider: {said}") from None


def _named(directory: Path, answers: Path) -> Terraform:
    named = os.environ.get("TERRAFORM", "terraform")
    binary = shutil.which(named)  # its path: a name would be the one of the PATH that a test makes
    if binary is None:
        raise _Missing(f"{named} cannot be run")
    return Terraform(binary, environment(), directory, answers)


def _set_up(directory: Path, answers: Path) -> Terraform:
    if os.environ.get("TERRAFORM") or not SETUP.exists():
        raise _Missing("$TERRAFORM names no other" if SETUP.exists() else f"there is no {SETUP}")
    more = _exports()
    binary = shutil.which("terraform", path=more["PATH"])
    assert binary is not None, f"{SETUP} gives no terraform"
    return Terraform(binary, {**environment(), **more}, directory, answers)


def _exports() -> dict[str, str]:
    """What ``setup`` says to export; two at once would build in each other's way."""
    with _alone():
        script = f'set -e; exports=$(bash {shlex.quote(str(SETUP))}); eval "$exports"; env -0'
        done = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, timeout=SETUP_SECONDS, check=False
        )
    if done.returncode:
        raise _Missing(f"{SETUP} failed: {done.stderr[-1000:]}")
    pairs = dict(each.partition("=")[::2] for each in done.stdout.split("\0"))
    return {name: pairs[name] for name in ("PATH", "TF_CLI_CONFIG_FILE")}


@contextmanager
def _alone() -> Iterator[None]:
    """No other test process of this user is in here."""
    with Path(tempfile.gettempdir(), f"csv2kafka-terraform-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def aws_cli() -> Path:
    """A Python that has the AWS CLI: one of its own, since the CLI and aiobotocore ask for different botocores."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "csv2kafka-tests" / "aws-cli"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            pip = (place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            subprocess.run([*pip, "awscli>=1.40,<2"], check=True)
            (place / "ready").touch()
    return place
