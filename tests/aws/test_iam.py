"""docs/iam: what each feature may do in AWS. A policy linter accepts each, and the package asks for nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import csv2kafka
from csv2kafka.kafka import answers

ROOT = Path(__file__).parents[2]
POLICIES = sorted((ROOT / "docs" / "iam").glob("*.json"))
PACKAGE = Path(csv2kafka.__file__).parent
# Knows every action, its resources and conditions. A process of its own: it imports what is deprecated.
LINTER = Path(sysconfig.get_path("scripts")) / "parliament"
SERVICES = "cloudwatch|dynamodb|ec2|kafka-cluster|kafka|kms|s3|secretsmanager|ssm|sts"
ACTION = re.compile(rf"\b(?:{SERVICES}):[A-Z][a-z]\w+")


def issues(policy: str) -> list[str]:
    """What the linter finds, each by its name and detail."""
    done = subprocess.run(
        [str(LINTER), "--json"], input=policy, capture_output=True, text=True, timeout=60, check=False
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == bool(found), done.stderr
    return [f"{each['issue']}: {each['detail']}" for each in found]


def statements(policy: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(policy.read_text())["Statement"]
    return read


def with_statement(**changed: object) -> str:
    statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::exports/*"], **changed}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
class TestEachPolicy:
    def test_the_linter_accepts_it(self, policy: Path) -> None:
        assert issues(policy.read_text()) == []

    def test_it_gives_nothing_away(self, policy: Path) -> None:
        for statement in statements(policy):
            assert not [action for action in statement["Action"] if "*" in action]
            for resource in statement["Resource"]:
                assert re.fullmatch(r"arn:aws:[a-z0-9]+:[a-z0-9-]*:\d*:[^*].*", resource), resource

    def test_the_documentation_names_it(self, policy: Path) -> None:
        assert f"(iam/{policy.name})" in (ROOT / "docs" / "aws.md").read_text()


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, ""),
        ({"Action": ["s3:GetObjekt"]}, "UNKNOWN_ACTION: Unknown action s3:GetObjekt"),
        ({"Resource": ["*"]}, "RESOURCE_STAR: ['s3:GetObject']"),
        ({"Resource": ["arn:aws:s3:::exports"]}, "RESOURCE_MISMATCH: [{'action': 's3:GetObject'"),
        ({"Condition": {"StringLike": {"s3:prefix": "orders/*"}}}, "UNKNOWN_CONDITION_FOR_ACTION"),
    ],
)
def test_the_linter_finds_mistakes(changed: dict[str, object], found: str) -> None:
    first = next(iter(issues(with_statement(**changed))), "")
    assert first.startswith(found)
    assert bool(first) == bool(found)


def asked_for() -> Iterator[str]:
    """Every IAM action that the package names, in calls to AWS and in errors of the brokers."""
    for path in PACKAGE.rglob("*.py"):
        yield from ACTION.findall(path.read_text())
    operations = {operation for operation, _ in answers._PERMISSIONS} | {"InitProducerId"}
    for operation in operations:
        for code in answers._AUTHORIZATION:
            yield from ACTION.findall(answers.refusal(operation, "", code).hint)


# What is allowed without being named in the package, and what needs it.
UNNAMED = {
    "kafka-cluster:AlterGroup": "AWS's table asks for it with ReadData",
    "kafka-cluster:DescribeGroup": "the same",
    "kafka-cluster:DescribeTopicDynamicConfiguration": "DescribeConfigs of a topic",
    "kms:GenerateDataKey": "S3 does, for what is put into a bucket under a KMS key",
    "s3:GetObjectVersionTagging": "tags of a version; CopyObject takes them along",
    "s3:PutObjectTagging": "tags; CopyObject puts them on the copy",
    "s3:PutObjectVersionTagging": "tags of a version",
}


def test_the_policies_allow_all_that_the_package_asks_for_and_no_more() -> None:
    allowed = {action for path in POLICIES for statement in statements(path) for action in statement["Action"]}
    asked = set(asked_for())
    assert "kafka-cluster:AlterTransactionalId" in asked
    assert asked - allowed == set()
    assert allowed - asked <= set(UNNAMED)
