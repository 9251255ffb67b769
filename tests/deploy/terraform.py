"""Plans of deploy/ as Terraform makes them, read as Python values.

    plan = terraform.plan("ecs", topic="orders")
    plan.resource("module.common.aws_dynamodb_table.checkpoints")["ttl"]
    state = terraform.apply("ecs", topic="orders")              # the second plan is empty, or it fails
    state.rendered("aws_ecs_task_definition.job")[0]["environment"]
    terraform.refusal("ecs", topic="not a topic!")              # what it says, where it refuses

Each works in a copy of deploy/: nothing is left in the tree. Every answer is kept for the session and all its test
processes, by the target and its variables: tests may ask for the same plan again. The credentials are made up: no
account is ever touched.
"""

from __future__ import annotations

import base64
import difflib
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TARGETS = ("ecs", "batch", "ec2")
SECONDS = 300.0  # for one call on a busy machine; it takes one or two

# What every plan has unless a test says otherwise: enough for each target, and no AWS in it but S3 and DynamoDB.
COMMON: Mapping[str, Any] = {
    "sources": ["s3://example-exports/orders/2026.csv"],
    "source_bucket": "example-exports",
    "source_prefix": "orders/",
    "topic": "orders",
    "authentication": "none",
    "bootstrap_servers": "b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com:9092",
    "kafka_security_group_id": "sg-0123456789abcdef0",
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
}
# The same for what only one target asks for.
OF_TARGET: Mapping[str, Mapping[str, Any]] = {"ecs": {}, "batch": {}, "ec2": {}}

# How to read what is text within a resource. {type: (attribute, how)}
_TEXTS: Mapping[str, tuple[str, str]] = {
    "aws_batch_job_definition": ("container_properties", "json"),
    "aws_ecs_task_definition": ("container_definitions", "json"),
    "aws_iam_policy": ("policy", "json"),
    "aws_iam_role": ("assume_role_policy", "json"),
    "aws_iam_role_policy": ("policy", "json"),
    "aws_instance": ("user_data_base64", "base64"),
    "aws_kms_key": ("policy", "json"),
    "aws_launch_template": ("user_data", "base64"),
    "aws_sfn_state_machine": ("definition", "json"),
    "aws_sns_topic_policy": ("policy", "json"),
    "aws_vpc_endpoint": ("policy", "json"),
}


class Refused(Exception):
    """Terraform refused. ``problems``: each as it says it, in one line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@frozen
class Resources:
    """What is planned, or there after an apply. ``by_address``: as ``module.common.aws_x.y`` or ``aws_x.y["key"]``.

    A planned one lacks what is known only after an apply.
    """

    target: str
    by_address: Mapping[str, Mapping[str, Any]]
    types: Mapping[str, str]
    outputs: Mapping[str, Any]
    raw: Mapping[str, Any]

    def resource(self, address: str) -> Mapping[str, Any]:
        """Its values."""
        if address not in self.by_address:
            near = difflib.get_close_matches(address, self.by_address, n=5, cutoff=0.3)
            raise AssertionError(f"{self.target} has no {address}; near to it: {', '.join(near)}")
        return self.by_address[address]

    def of_type(self, kind: str) -> dict[str, Mapping[str, Any]]:
        """All of a type, such as ``aws_iam_policy``, by their addresses; data sources are no resources."""
        return {address: self.by_address[address] for address, found in self.types.items() if found == kind}

    def only(self, kind: str) -> Mapping[str, Any]:
        """The values of the only one of its type."""
        found = self.of_type(kind)
        assert len(found) == 1, f"{self.target}: expected one {kind}, found {', '.join(found) or 'none'}"
        return next(iter(found.values()))

    def rendered(self, address: str) -> Any:
        """The document that is text within this resource: a list of containers, container properties, a policy, a
        state machine, or user data as text."""
        attribute, how = _TEXTS[self.types[address]]
        text = self.resource(address).get(attribute)
        assert text, f"{address}.{attribute} is not known before an apply, or empty: take applied(), not planned()"
        return json.loads(text) if how == "json" else plain(text)


def plain(encoded: str) -> str:
    """User data as the instance runs it."""
    content = base64.b64decode(encoded, validate=True)
    return (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode()


@define
class Terraform:
    """``binary`` and ``environment``: how to call it. ``directory``: for copies, this process's own.
    ``answers``: all test processes' of the session. ``source``: the folder with the targets."""

    binary: str
    environment: Mapping[str, str]
    directory: Path
    answers: Path
    source: Path = DEPLOY
    _copy: Path | None = field(default=None, init=False)
    _ready: set[str] = field(factory=set, init=False)
    _kept: dict[str, Resources | Refused] = field(factory=dict, init=False)

    def plan(self, target: str, /, **variables: Any) -> Resources:
        """The plan of an empty account. A variable that is None is null. Raises Refused."""
        return self._keep("plan", target, self._file(target, variables))

    def plan_file(self, target: str, file: Path) -> Resources:
        """The same with a file of variables as it stands, and none besides."""
        return self._keep("plan", target, file)

    def apply(self, target: str, /, **variables: Any) -> Resources:
        """What is there after it was applied to an empty account; a second plan has nothing left to do."""
        return self._keep("apply", target, self._file(target, variables))

    def apply_file(self, target: str, file: Path) -> Resources:
        """The same with a file of variables as it stands, and none besides."""
        return self._keep("apply", target, file)

    def refusal(self, target: str, /, **variables: Any) -> str:
        """What it says at the plan, which it must refuse."""
        try:
            self.plan(target, **variables)
        except Refused as refused:
            return "\n".join(refused.problems)
        raise AssertionError(f"{target} was planned with {variables}, and was to be refused")

    def call(self, directory: Path, *arguments: str, ok: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Terraform in that folder. Raises Refused for any other exit code than those that are ok."""
        done = subprocess.run(
            [self.binary, f"-chdir={directory}", *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode not in ok:
            raise Refused(list(_problems(done)))
        return done

    def initialized(self, target: str) -> Path:
        """The target's folder in the session's copy of deploy/, after init."""
        if self._copy is None:
            self._copy = copy_of(self.source, self.directory / "deploy")
        folder = self._copy / target
        if target not in self._ready:
            self.call(folder, "init", "-input=false", "-no-color")
            self._ready.add(target)
        return folder

    def _file(self, target: str, variables: Mapping[str, Any]) -> Path:
        text = json.dumps({**COMMON, **OF_TARGET.get(target, {}), **variables}, sort_keys=True, indent=1)
        file = self.directory / f"{_hash(text)}.tfvars.json"
        file.write_text(text)
        return file

    def _keep(self, what: str, target: str, file: Path) -> Resources:
        key = f"{what}-{target.replace('/', '-')}-{_hash(file.read_text())}"
        if key not in self._kept:
            self._kept[key] = self._shared(what, target, file, self.answers / key)
        found = self._kept[key]
        if isinstance(found, Refused):
            raise Refused(found.problems)
        return found

    def _shared(self, what: str, target: str, file: Path, answer: Path) -> Resources | Refused:
        make = self._plan if what == "plan" else self._apply

        def ask() -> Any:
            try:
                return make(target, file)
            except Refused as refused:
                return refused.problems

        raw = once(answer, ask)
        return Refused(raw) if isinstance(raw, list) else _resources(target, raw)

    def _plan(self, target: str, file: Path) -> Any:
        folder = self.initialized(target)
        result = self.directory / "plan"
        self.call(folder, "plan", "-input=false", "-json", "-lock=false", f"-var-file={file}", f"-out={result}")
        return json.loads(self.call(folder, "show", "-json", str(result)).stdout)

    def _apply(self, target: str, file: Path) -> Any:
        self.initialized(target)
        assert self._copy is not None
        place = self.directory / f"applied-{len(list(self.directory.glob('applied-*')))}"
        shutil.copytree(self._copy, place, symlinks=True)
        folder = place / target
        told = ("-input=false", "-json", f"-var-file={file}")
        self.call(folder, "apply", "-auto-approve", *told)
        again = self.call(folder, "plan", "-detailed-exitcode", *told, ok=(0, 2))
        assert again.returncode == 0, f"{target}: a second plan is not empty:\n{_changes(again.stdout)}"
        return json.loads(self.call(folder, "show", "-json").stdout)


def once(answer: Path, make: Callable[[], Any]) -> Any:
    """What ``make`` gives to whichever test process asks first, kept as JSON; the others wait for it."""
    with answer.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.exists():
            answer.write_text(json.dumps(make()))
    return json.loads(answer.read_text())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def copy_of(source: Path, place: Path) -> Path:
    """deploy/ as it is in the repository: without what its user, or a run of Terraform, has left there."""
    left = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "*.tfvars.json")
    shutil.copytree(source, place, symlinks=True, ignore=left)
    return place


def environment() -> dict[str, str]:
    """This process's, without anything that changes what Terraform does, and with credentials that are nobody's."""
    away = ("TF_VAR_", "TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR", "TF_LOG", "AWS_", "CSV2KAFKA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(away)}
    return {
        **kept,
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _resources(target: str, raw: Mapping[str, Any]) -> Resources:
    values = raw["planned_values"] if "planned_values" in raw else raw["values"]
    by_address, types = {}, {}
    for each in _each(values["root_module"]):
        if each["mode"] == "managed":
            by_address[each["address"]] = each.get("values", {})  # none, where all is known later
            types[each["address"]] = each["type"]
    outputs = {name: output.get("value") for name, output in values.get("outputs", {}).items()}
    return Resources(target, by_address, types, outputs, raw)


def _each(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources", ())
    for child in module.get("child_modules", ()):
        yield from _each(child)


def _problems(done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    """Its errors, each in one line; what it printed, where it gives no JSON."""
    found = False
    for line in done.stdout.splitlines():
        said = json.loads(line) if line.startswith("{") else {}
        if said.get("type") == "diagnostic" and said["diagnostic"]["severity"] == "error":
            found = True
            yield " ".join(f"{said['diagnostic']['summary']}: {said['diagnostic']['detail']}".split())
    if not found:
        yield f"exit code {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


def _changes(lines: str) -> str:
    told = (json.loads(line) for line in lines.splitlines() if line.startswith("{"))
    return "\n".join(each["@message"] for each in told if each["type"] in {"planned_change", "resource_drift"})
