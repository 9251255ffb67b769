"""The policies of docs/iam, held by a moto that checks them: with them it works, without any action of them it does
not, and the error names the action.

moto looks at actions, and at resources for S3 alone; it knows nothing of conditions, KMS and Kafka.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from attrs import frozen

from tests.aws.conftest import Aws
from tests.aws.moto import moto_server
from tests.aws.test_iam import ROOT
from tests.faults.installed import Installed
from tests.pipelines import csv_text, values

pytestmark = pytest.mark.slow  # each starts the command

ROWS = 100
NEVER = "1000000000"


Allow = Callable[[Iterable[Mapping[str, Any]]], Mapping[str, str]]


@frozen(kw_only=True)
class Case:
    """A feature: what is allowed for it, the command (``{bucket}``, ``{output}``), and the actions it cannot do
    without, of those that moto checks."""

    policies: tuple[str, ...]
    command: str
    needs: tuple[str, ...]
    versioned: bool = False


RUN = "run s3://{bucket}/orders/ -o {output}"
CASES = {
    "source": Case(policies=("s3-source",), command=RUN, needs=("s3:GetObject", "s3:ListBucket")),
    "source with versions": Case(
        policies=("s3-source", "s3-source-versions"), command=RUN, needs=("s3:GetObjectVersion",), versioned=True
    ),
    "tag": Case(
        policies=("s3-source", "after-tag"),
        command=f"{RUN} --after tag",
        needs=("s3:GetObjectTagging", "s3:PutObjectTagging"),
    ),
    "move": Case(
        policies=("s3-source", "after-move"),
        command=f"{RUN} --after move:s3://{{bucket}}/loaded/",
        needs=("s3:PutObject", "s3:DeleteObject"),
    ),
    "delete": Case(policies=("s3-source", "after-delete"), command=f"{RUN} --after delete", needs=("s3:DeleteObject",)),
    "DynamoDB": Case(
        policies=("s3-source", "dynamodb-store"),
        command=f"{RUN} --checkpoints dynamodb://there",
        needs=("dynamodb:GetItem", "dynamodb:UpdateItem"),
    ),
    "DynamoDB's status": Case(
        policies=("dynamodb-store",), command="status --checkpoints dynamodb://there", needs=("dynamodb:Scan",)
    ),
    "DynamoDB's table": Case(
        policies=("dynamodb-init",),
        command="init dynamodb://{bucket}",
        needs=(
            "dynamodb:CreateTable",
            "dynamodb:DescribeTable",
            "dynamodb:DescribeTimeToLive",
            "dynamodb:UpdateTimeToLive",
            "dynamodb:GetItem",
            "dynamodb:UpdateItem",
        ),
    ),
    "S3 as a store": Case(
        policies=("s3-source", "s3-store"),
        command=f"{RUN} --checkpoints s3://{{bucket}}/csv2kafka",
        needs=("s3:PutObject",),
    ),
    "S3's status": Case(
        policies=("s3-store",), command="status --checkpoints s3://{bucket}/csv2kafka", needs=("s3:ListBucket",)
    ),
    "secrets": Case(
        policies=("s3-source", "secrets"),
        command=f"{RUN} --comment secretsmanager://csv2kafka/comment --escape ssm:///csv2kafka/escape",
        needs=("secretsmanager:GetSecretValue", "ssm:GetParameter"),
    ),
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """A moto of their own, with a table and secrets. It checks nothing but while a test has its ``allowed``."""
    with moto_server(tmp_path_factory.mktemp("strict")) as url:
        aws = Aws(url)
        aws.client("dynamodb").create_table(
            TableName="there",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "job", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "job", "AttributeType": "S"}],
        )
        aws.client("secretsmanager").create_secret(Name="csv2kafka/comment", SecretString="#")
        aws.client("ssm").put_parameter(Name="/csv2kafka/escape", Value="~", Type="SecureString")
        yield aws


@pytest.fixture
def place(strict: Aws, request: pytest.FixtureRequest) -> str:
    """A bucket with an object, its name."""
    s3, name = strict.client("s3"), f"exports-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    if CASES[request.node.callspec.params["name"]].versioned:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=name, Key="orders/a.csv", Body=csv_text(ROWS))
    return name


def checking(aws: Aws, *, after: str) -> None:
    """It checks permissions after so many requests."""
    with urlopen(
        Request(f"{aws.url}/moto-api/reset-auth", data=after.encode(), headers={"Content-Type": "text/plain"}),
        timeout=10,
    ):
        pass


@pytest.fixture
def allowed(strict: Aws) -> Iterator[Allow]:
    """Gives a user the statements, and its environment; from then on moto checks."""
    iam = strict.client("iam")
    iam.create_user(UserName="job")

    def allow(given: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(given)})
        iam.put_user_policy(UserName="job", PolicyName="job", PolicyDocument=policy)
        key = iam.create_access_key(UserName="job")["AccessKey"]
        checking(strict, after="0")
        return {
            **strict.environment,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    yield allow
    checking(strict, after=NEVER)
    for key in iam.list_access_keys(UserName="job")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="job", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="job", PolicyName="job")
    iam.delete_user(UserName="job")


def policies(case: Case, bucket: str, *, without: str = "") -> Iterator[dict[str, Any]]:
    """Their statements, about this bucket. Those about other services than S3 are about everything, for moto."""
    for name in case.policies:
        text = (ROOT / "docs" / "iam" / f"{name}.json").read_text()
        for bucket_of_example in ("example-exports", "example-state"):
            text = text.replace(f":::{bucket_of_example}", f":::{bucket}")
        for statement in json.loads(text)["Statement"]:
            actions = [action for action in statement["Action"] if action != without]
            of_s3 = all(action.startswith("s3:") for action in actions)
            if actions:
                yield {**statement, "Action": actions, "Resource": statement["Resource"] if of_s3 else "*"}


def run(case: Case, bucket: str, directory: Path, environment: Mapping[str, str]) -> Installed:
    output = directory / "orders.jsonl"
    command = case.command.format(bucket=bucket, output=output).split()
    return Installed(command, directory, variables=environment).start()


@pytest.mark.parametrize("name", CASES)
def test_with_its_policies_it_works(strict: Aws, place: str, allowed: Allow, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    done = run(case, place, tmp_path, allowed(policies(case, place)))
    assert done.end() == 0, done.output
    if case.command.startswith("run"):
        assert (tmp_path / "orders.jsonl").read_bytes().splitlines() == values(ROWS)


@pytest.mark.parametrize(("name", "action"), [(name, action) for name, case in CASES.items() for action in case.needs])
def test_without_one_of_its_actions_it_names_it(
    strict: Aws, place: str, allowed: Allow, tmp_path: Path, name: str, action: str
) -> None:
    case = CASES[name]
    done = run(case, place, tmp_path, allowed(policies(case, place, without=action)))
    assert done.end() == 2, done.output
    assert action in done.output
