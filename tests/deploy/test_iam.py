"""Every IAM policy of the three targets: a linter accepts it, it allows all that a job does, and nothing besides.

What a job does in S3, DynamoDB, Secrets Manager and SSM is recorded from jobs that run with the planned environment;
what it does in Kafka is in docs/iam/msk-iam.json, which the package's own tests hold.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.aws.conftest import Aws
from tests.aws.http_proxy import HttpProxy
from tests.aws.test_iam import LINTER
from tests.aws.test_iam import ROOT as PROJECT
from tests.conftest import RunningKafka, create_topic
from tests.deploy import forbidden
from tests.deploy.conftest import Planned
from tests.deploy.forbidden import BUCKET, CLUSTER, KEY, of_cluster
from tests.deploy.iam import ACCOUNT, REGION, Rights, listed, policies, resource_policies, rights_of, with_real_arns
from tests.deploy.processes import Process, client, make_table
from tests.deploy.recorded import Call, calls_of
from tests.deploy.terraform import TARGETS, Resources, Terraform, once
from tests.pipelines import csv_text

ROWS = 50
TABLE = "module.common.aws_dynamodb_table.checkpoints"
# The rule by which Step Functions hears that a task has ended; AWS names it.
STATES_RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/StepFunctionsGetEventsForECSTaskRule"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:csv2kafka/comment-AbCdEf"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/csv2kafka/escape"
REFERENCES = {"CSV2KAFKA_COMMENT": "secretsmanager://csv2kafka/comment", "CSV2KAFKA_ESCAPE": "ssm:///csv2kafka/escape"}

# What each plan here has: all that gives rights.
EVERYTHING: Mapping[str, Any] = {
    "sources": [f"s3://{BUCKET}/orders/"],
    "authentication": "iam",
    "bootstrap_servers": "b-1.example.abc123.c2.kafka.us-east-1.amazonaws.com:9098",
    "msk_cluster_arn": CLUSTER,
    "dead_letter_topic": "orders-bad",
    "completion_topic": "loaded",
    "secret_arns": [SECRET, PARAMETER],
    "kms_key_arns": [KEY],
    "environment": REFERENCES,
    "customer_managed_key": True,
    "vpc_endpoints": "all",
    "route_table_ids": ["rtb-0123456789abcdef0"],
}
AFTERS = {"": None, "tag": "tag", "move": f"move:s3://{BUCKET}/loaded/", "delete": "delete"}

# Jobs that are recorded: those without ``after`` read a bucket without and with versions.
CASES = ("", "versions", "tag", "move", "delete")

# Actions that have no resource type: IAM takes nothing but * for them.
ANYWHERE = {
    "ecr:GetAuthorizationToken": "a login to the registry as a whole",
}
HERE = f"{REGION}:{ACCOUNT}"


def starts_containers(prefix: str) -> list[Call]:
    """What ECS does before csv2kafka begins."""
    image, log = f"arn:aws:ecr:{HERE}:repository/{prefix}", f"arn:aws:logs:{HERE}:log-group:{prefix}:log-stream:job/x"
    pull = ("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage")
    write = ("logs:CreateLogStream", "logs:PutLogEvents")
    return [
        Call("ecr:GetAuthorizationToken"),
        *(Call(action, image) for action in pull),
        *(Call(action, log) for action in write),
    ]


# What the other roles are for.
ROLES = ("job", "execution")
TO_TASKS = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
IN_CLUSTER = (("ecs:cluster", f"arn:aws:ecs:{HERE}:cluster/csv2kafka-ecs"),)
TURNS = f"arn:aws:dynamodb:{HERE}:table/csv2kafka-ecs-turns"
NEEDED = {
    ("ecs", "execution"): starts_containers("csv2kafka-ecs"),
    ("ecs", "state_machine"): [
        Call("ecs:RunTask", f"arn:aws:ecs:{HERE}:task-definition/csv2kafka-ecs:7", IN_CLUSTER),
        *(Call(f"ecs:{verb}", f"arn:aws:ecs:{HERE}:task/csv2kafka-ecs/1234") for verb in ("StopTask", "DescribeTasks")),
        *(Call("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/csv2kafka-ecs-{role}", TO_TASKS) for role in ROLES),
        *(Call(f"events:{verb}", STATES_RULE) for verb in ("PutTargets", "PutRule", "DescribeRule")),
        *(Call(f"dynamodb:{verb}", TURNS) for verb in ("PutItem", "GetItem", "DeleteItem")),
        Call("states:DescribeExecution", f"arn:aws:states:{HERE}:execution:csv2kafka-ecs:1234"),
    ],
    ("batch", "execution"): starts_containers("csv2kafka-batch"),
    ("ec2", "instance"): [
        Call("s3:GetObject", f"arn:aws:s3:::csv2kafka-ec2-{ACCOUNT}-{REGION}/csv2kafka/bundle-arm64.tar.gz"),
        Call("logs:CreateLogStream", f"arn:aws:logs:{HERE}:log-group:csv2kafka-ec2:log-stream:i-1"),
        Call("logs:PutLogEvents", f"arn:aws:logs:{HERE}:log-group:csv2kafka-ec2:log-stream:i-1"),
        Call(
            "autoscaling:SetDesiredCapacity",
            f"arn:aws:autoscaling:{HERE}:autoScalingGroup:1234abcd:autoScalingGroupName/csv2kafka-ec2",
        ),
    ],
}

# AWS's own policies that a role may have.
MANAGED = {
    "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role": "ECS's agent; Batch names its cluster",
}


def job_role(state: Resources) -> str:
    """The role that csv2kafka runs as."""
    if state.target == "ecs":
        return str(state.only("aws_ecs_task_definition")["task_role_arn"])
    if state.target == "batch":
        (role,) = {state.rendered(address)["jobRoleArn"] for address in state.of_type("aws_batch_job_definition")}
        return str(role)
    return str(state.only("aws_iam_instance_profile")["role"])


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def state(applied: Planned, target: str) -> Resources:
    """A target with every right that the variables can give, but those for ``after``."""
    return applied(target, **EVERYTHING)


@pytest.fixture
def job(state: Resources) -> Rights:
    return rights_of(state, job_role(state))


class TestEachPolicy:
    def test_the_linter_accepts_it(self, state: Resources, tmp_path: Path) -> None:
        for number, (address, policy) in enumerate(policies(state)):
            (tmp_path / f"{number}-{address.rpartition('.')[2]}.json").write_text(json.dumps(policy))
        command = [str(LINTER), "--json", "--directory", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [each for each in found if not mistaken(each)] == []
        assert done.returncode == bool(found), done.stderr

    def test_it_gives_no_wildcard_actions_and_names_what_it_is_about(self, state: Resources) -> None:
        for address, policy in policies(state):
            for statement in listed(policy["Statement"]):
                assert "NotAction" not in statement, address
                assert "NotResource" not in statement, address
                assert not [action for action in listed(statement["Action"]) if "*" in action], address
                if "*" in listed(statement["Resource"]):
                    assert set(listed(statement["Action"])) <= set(ANYWHERE), address
                for resource in listed(statement["Resource"]):
                    assert resource == "*" or names_something(state, resource), f"{address}: {resource}"

    def test_what_others_may_do_is_for_services_and_this_account(self, state: Resources) -> None:
        for address, policy in resource_policies(state):
            for statement in listed(policy["Statement"]):
                if statement["Effect"] == "Deny":
                    continue
                for kind, names in statement["Principal"].items():
                    assert kind in ("Service", "AWS"), address
                    for name in listed(names):
                        assert name.endswith((".amazonaws.com", f":{ACCOUNT}:root")), f"{address}: {name}"

    def test_the_logs_service_may_use_the_key_for_this_log_alone(self, state: Resources) -> None:
        """As AWS asks for it: kms:Encrypt*, Decrypt*, ReEncrypt*, GenerateDataKey*, Describe*, for the group's ARN."""
        statements = listed(state.rendered("module.common.aws_kms_key.own[0]")["Statement"])
        service = f"logs.{REGION}.amazonaws.com"
        rights = Rights([each for each in statements if each["Principal"].get("Service") == service])
        kinds = ("", "Pair", "PairWithoutPlaintext", "WithoutPlaintext")
        actions = ["Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "DescribeKey"]
        actions += [f"GenerateDataKey{kind}" for kind in kinds]
        group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:"
        (log,) = (each["name"] for each in state.of_type("aws_cloudwatch_log_group").values())
        for action in actions:
            assert rights.allow(f"kms:{action}", context={"kms:EncryptionContext:aws:logs:arn": group + log}), action
            assert not rights.allow(f"kms:{action}", context={"kms:EncryptionContext:aws:logs:arn": f"{group}another"})
            assert not rights.allow(f"kms:{action}")
        assert not rights.allow("kms:CreateGrant", context={"kms:EncryptionContext:aws:logs:arn": group + log})


def mistaken(issue: Mapping[str, Any]) -> bool:
    """What the linter says of an action that goes with either of two resource types: it asks for both at once."""
    of = {each["action"] for each in issue["detail"] if isinstance(each, dict)}
    return issue["issue"] == "RESOURCE_MISMATCH" and of == {"states:DescribeExecution"}


def names_something(state: Resources, resource: str) -> bool:
    """Not everything of a service: it has the bucket in it, the cluster, or what was made for the job."""
    keys = {with_real_arns(state, {"arn": key["arn"]})["arn"] for key in state.of_type("aws_kms_key").values()}
    named = resource in {KEY, SECRET, PARAMETER, *keys, STATES_RULE}
    return named or BUCKET in resource or "csv2kafka" in resource.split(":", 5)[5]


# --- what a job does ---


@pytest.fixture(scope="module")
def common(planned: Planned) -> Resources:
    """The module that all targets share, with the job's environment; named so that its table is this test's own."""
    return planned("modules/common", target="ecs", name="recorded")


@pytest.fixture(scope="module")
def recorded(
    common: Resources, terraform: Terraform, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, set[Call]]:
    """What jobs asked AWS for, by case. One test process runs them, the others are told."""

    def run_them() -> dict[str, list[Any]]:
        moto, kafka = request.getfixturevalue("moto"), request.getfixturevalue("kafka")
        found = asyncio.run(record_all(common, moto, kafka, tmp_path_factory))
        return {case: [(call.action, call.resource, call.context) for call in calls] for case, calls in found.items()}

    told = once(terraform.answers / "recorded.json", run_them)
    return {
        case: {Call(action, resource, tuple(map(tuple, context))) for action, resource, context in calls}
        for case, calls in told.items()
    }


async def record_all(
    common: Resources, moto: Aws, kafka: RunningKafka, directories: pytest.TempPathFactory
) -> dict[str, set[Call]]:
    """All cases at once, as each mostly waits."""
    region = common.outputs["region"]
    make_table(moto, common.only("aws_dynamodb_table"), region)
    client(moto, "secretsmanager", region).create_secret(Name="csv2kafka/comment", SecretString="#")
    client(moto, "ssm", region).put_parameter(Name="/csv2kafka/escape", Value="~", Type="SecureString")
    found = await asyncio.gather(*(record(case, common, moto, kafka, directories) for case in CASES))
    return dict(zip(CASES, found, strict=True))


async def record(
    case: str, common: Resources, moto: Aws, kafka: RunningKafka, directories: pytest.TempPathFactory
) -> set[Call]:
    """One job from its start to its end, in a bucket and a topic of its own; its calls with the names of the plans."""
    bucket = topic = f"recorded-{case or 'plain'}"
    fill(moto, bucket, versioned=case == "versions")
    create_topic(kafka.bootstrap_servers, topic)
    variables = {
        **REFERENCES,
        "CSV2KAFKA_SOURCES": f"s3://{bucket}/orders/",
        "CSV2KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "CSV2KAFKA_TOPIC": topic,
        "CSV2KAFKA_AFTER": (AFTERS.get(case) or "").replace(BUCKET, bucket),
    }
    process = Process(("run",), common.outputs["environment"]).overridden(environment=variables)
    async with HttpProxy(moto.url) as proxy:
        run = process.start(directories.mktemp("recorded"), {**moto.environment, "AWS_ENDPOINT_URL": proxy.url})
        code = await asyncio.to_thread(run.end)
    assert code == 0, run.output
    calls = {call for request in proxy.requests for call in calls_of(request)}
    return {evolve(call, resource=call.resource.replace(bucket, BUCKET)) for call in calls}


def fill(moto: Aws, bucket: str, *, versioned: bool) -> None:
    s3 = moto.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    if versioned:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for name in ("a", "b"):
        s3.put_object(Bucket=bucket, Key=f"orders/{name}.csv", Body=csv_text(ROWS))


def refused(rights: Rights, calls: Iterable[Call], table: str) -> list[Call]:
    """Those that the rights do not allow."""
    ours = (evolve(call, resource=call.resource.replace("recorded-ecs", table)) for call in calls)
    return [call for call in ours if not rights.allow(call.action, call.resource, dict(call.context))]


@pytest.mark.broker
def test_the_record_is_one(recorded: Mapping[str, set[Call]]) -> None:
    """It has what nobody could do without."""
    found = {case: {call.action for call in calls} for case, calls in recorded.items()}
    store = {"dynamodb:GetItem", "dynamodb:UpdateItem"}
    secrets = {"secretsmanager:GetSecretValue", "ssm:GetParameter"}
    read = {"s3:ListBucket", "s3:GetObject"}
    assert found[""] == store | secrets | read
    assert found["versions"] == found[""] | {"s3:GetObjectVersion"}
    assert found["tag"] == found[""] | {"s3:GetObjectTagging", "s3:PutObjectTagging"}
    assert found["delete"] == found[""] | {"s3:DeleteObject"}
    assert found["move"] == found["tag"] | {"s3:DeleteObject", "s3:PutObject"}


def msk_statements() -> list[dict[str, Any]]:
    """Those of the documentation, in the stand-in's region."""
    text = (PROJECT / "docs" / "iam" / "msk-iam.json").read_text().replace("eu-west-1", REGION)
    read: list[dict[str, Any]] = json.loads(text)["Statement"]
    return read


def test_no_role_may_do_what_none_is_for(state: Resources) -> None:
    for address, role in state.of_type("aws_iam_role").items():
        rights = rights_of(state, role["arn"])
        assert set(rights.managed) <= set(MANAGED), address
        allowed = [call for call in forbidden.NOBODY if rights.allow(call.action, call.resource, dict(call.context))]
        assert allowed == [], address


@pytest.mark.broker
@pytest.mark.parametrize("after", ["tag", "move", "delete"])
def test_with_after_it_may_do_that_too(planned: Planned, recorded: Mapping[str, set[Call]], after: str) -> None:
    """The rights come from the module alone, so the module alone is asked."""
    told = {**EVERYTHING, "customer_managed_key": False, "after": AFTERS[after]}
    policy = planned("modules/common", target="ecs", **told).rendered("aws_iam_policy.job")
    assert refused(Rights(policy["Statement"]), recorded[after], "csv2kafka-ecs") == []


@pytest.mark.parametrize("role", NEEDED, ids=lambda role: f"{role[0]}-{role[1]}")
def test_what_aws_does_for_the_job_it_may(applied: Planned, role: tuple[str, str]) -> None:
    target, name = role
    state = applied(target, **EVERYTHING)
    rights = rights_of(state, state.resource(f"aws_iam_role.{name}")["arn"])
    assert [call for call in NEEDED[role] if not rights.allow(call.action, call.resource, dict(call.context))] == []


@pytest.mark.parametrize(("said", "may"), [("YES", True), ("1", True), ("off", False)])
def test_it_may_make_its_topic_where_it_is_told_to(planned: Planned, said: str, may: bool) -> None:
    """In any of the words that csv2kafka takes for yes. The checkpoint topic it may always make."""
    told = {**EVERYTHING, "customer_managed_key": False, "environment": {"CSV2KAFKA_CREATE_TOPIC": said}}
    rights = Rights(planned("modules/common", target="ecs", **told).rendered("aws_iam_policy.job")["Statement"])
    assert rights.allow("kafka-cluster:CreateTopic", of_cluster("topic", "csv2kafka-checkpoints"))
    assert rights.allow("kafka-cluster:CreateTopic", of_cluster("topic", "orders")) == may


class TestJob:
    @pytest.mark.broker
    @pytest.mark.parametrize("case", ["", "versions"])
    def test_it_may_do_what_it_does(
        self, state: Resources, job: Rights, recorded: Mapping[str, set[Call]], case: str
    ) -> None:
        assert refused(job, recorded[case], state.resource(TABLE)["name"]) == []

    @pytest.mark.broker
    @pytest.mark.parametrize("after", ["tag", "move", "delete"])
    def test_without_after_it_may_not(
        self, state: Resources, job: Rights, recorded: Mapping[str, set[Call]], after: str
    ) -> None:
        more = recorded[after] - recorded[""]
        assert refused(job, more, state.resource(TABLE)["name"])

    def test_it_may_do_in_kafka_what_the_documentation_says(self, job: Rights) -> None:
        """The policy in the documentation is about one topic; these are the same rights on what the plan names."""
        for statement in msk_statements():
            for action in statement["Action"]:
                for resource in statement["Resource"]:
                    assert job.allow(action, resource.replace("csv2kafka.*", "csv2kafka.orders")), (action, resource)
        for topic in ("orders-bad", "loaded"):
            assert job.allow("kafka-cluster:WriteData", of_cluster("topic", topic))
            assert job.allow("kafka-cluster:DescribeTopic", of_cluster("topic", topic))

    @pytest.mark.parametrize("call", forbidden.JOB, ids=lambda call: f"{call.action} {call.resource}")
    def test_it_may_not(self, job: Rights, call: Call) -> None:
        assert not job.allow(call.action, call.resource, dict(call.context))

    def test_it_has_none_of_awss_own_policies(self, job: Rights) -> None:
        assert job.managed == []
