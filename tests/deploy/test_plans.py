"""What is the same for all three targets: their job is told the same, may reach no more than it needs, and is watched.

What only one of them has is in its own tests.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.checkpoints.dynamodb_item import EXPIRES, KEY
from csv2kafka.config import RunConfig, load, unknown_variables
from csv2kafka.config.references import SCHEMES
from csv2kafka.errors import ConfigError
from tests.deploy import filter_patterns
from tests.deploy.alarms import raises
from tests.deploy.conftest import Planned
from tests.deploy.processes import pairs
from tests.deploy.terraform import COMMON, DEPLOY, TARGETS, Resources, Terraform

MODULE = "modules/common"
TABLE = "module.common.aws_dynamodb_table.checkpoints"
CLUSTER = "arn:aws:kafka:eu-west-1:123456789012:cluster/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:AmazonMSK_csv2kafka-AbCdEf"
SCRAM = {
    "CSV2KAFKA_KAFKA_SASL_PLAIN_USERNAME": "secretsmanager://AmazonMSK_csv2kafka#username",
    "CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": "secretsmanager://AmazonMSK_csv2kafka#password",
}
TLS = {
    "CSV2KAFKA_KAFKA_SSL_CERTFILE": "secretsmanager://csv2kafka/client#certificate",
    "CSV2KAFKA_KAFKA_SSL_KEYFILE": "secretsmanager://csv2kafka/client#key",
}
# What is needed for each login, and its port.
LOGINS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "iam": (9098, {"msk_cluster_arn": CLUSTER}),
    "scram": (9096, {"environment": SCRAM, "secret_arns": [SECRET]}),
    "mtls": (9094, {"environment": TLS, "secret_arns": [SECRET]}),
    "none": (9092, {}),
}
# Variables that change what the job is told, each with another value than it has by itself.
TOLD: Mapping[str, Any] = {
    "name": "nightly",
    "sources": ["s3://example-exports/orders/it's 2026.csv", "s3://example-exports/orders/more/*.csv.gz"],
    "partition": 3,
    "job": "orders-2026",
    "after": "tag:loaded=yes",
    "dead_letter_topic": "orders-bad",
    "completion_topic": "loaded",
    "environment": {**SCRAM, "CSV2KAFKA_ENCODING": "latin-1", "CSV2KAFKA_S3_PARALLEL": "8", "AWS_MAX_ATTEMPTS": "5"},
    "secret_arns": [SECRET],
    "authentication": "scram",
    "bootstrap_servers": "b-1.example.abc123.c2.kafka.eu-west-1.amazonaws.com:9096",
}
FULL: Mapping[str, Any] = {
    "vpc_endpoints": "all",
    "route_table_ids": ["rtb-0123456789abcdef0"],
    "customer_managed_key": True,
    "alarm_email": "you@example.com",
    "log_retention_days": 90,
    "tags": {"team": "data"},
}
# What a target adds by itself: how it is told of a Spot stop, and where its temporary files go.
OWN = {"CSV2KAFKA_WATCH", "TMPDIR"}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def state(applied: Planned, target: str) -> Resources:
    """The target with what every plan has."""
    return applied(target)


@pytest.fixture
def told(applied: Planned, target: str) -> dict[str, str]:
    """What the job is told by a target in which everything is said."""
    return environment_of(applied(target, **TOLD))


@pytest.fixture
def full(applied: Planned, target: str) -> Resources:
    """The target with all that it can make for the job."""
    return applied(target, **FULL)


def environment_of(state: Resources) -> dict[str, str]:
    """The job's, as a container or an instance gets it."""
    if state.target == "ecs":
        (container,) = state.rendered("aws_ecs_task_definition.job")
        return pairs(container["environment"])
    if state.target == "batch":
        return pairs(state.rendered(f'aws_batch_job_definition.job["{prefix_of(state)}"]')["environment"])
    text = state.rendered("aws_launch_template.job")
    lines = re.findall(r"^(?:export )?((?:CSV2KAFKA|AWS)_[A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    return {name: shlex.split(value)[0] for name, value in lines}


def prefix_of(state: Resources) -> str:
    return str(state.resource(TABLE)["name"])


def loaded(environment: Mapping[str, str]) -> RunConfig:
    """The configuration that csv2kafka makes of it; references give what is asked for."""

    def resolve(references: Collection[str]) -> Mapping[str, str | ConfigError]:
        return dict.fromkeys(references, "secret")

    return load(RunConfig, environ=environment, resolve=resolve)


class TestEnvironment:
    def test_it_is_the_same_but_for_the_watch_and_the_table(self, applied: Planned) -> None:
        tables, rest = set(), []
        for target in TARGETS:
            environment = environment_of(applied(target, **TOLD))
            tables.add(environment.pop("CSV2KAFKA_CHECKPOINTS"))
            rest.append({name: value for name, value in environment.items() if name not in OWN})
        assert tables == {f"dynamodb://nightly-{target}" for target in TARGETS}
        assert rest[1:] == rest[:-1]

    def test_csv2kafka_knows_all_of_it_and_finds_nothing_wrong(self, told: dict[str, str]) -> None:
        assert unknown_variables(told) == []
        config = loaded(told)
        assert list(config.sources) == TOLD["sources"]
        assert config.bootstrap_servers == TOLD["bootstrap_servers"]
        assert (config.topic, config.partition, config.job) == ("orders", 3, "orders-2026")
        assert config.after == TOLD["after"]
        assert (config.dead_letter_topic, config.on_bad_row) == ("orders-bad", "dead-letter")
        assert config.completion_topic == "loaded"
        assert (config.progress, config.metrics) == ("json", "emf")
        assert config.watch != "none"
        assert told["AWS_MAX_ATTEMPTS"] == "5"

    def test_nothing_that_was_not_said_is_in_it(self, state: Resources) -> None:
        environment = environment_of(state)
        loaded(environment)
        assert "" not in environment.values()
        assert not {"CSV2KAFKA_JOB", "CSV2KAFKA_AFTER", "CSV2KAFKA_ON_BAD_ROW"} & set(environment)

    def test_the_table_in_it_is_the_one_that_is_made(self, state: Resources) -> None:
        assert environment_of(state)["CSV2KAFKA_CHECKPOINTS"] == f"dynamodb://{state.resource(TABLE)['name']}"

    def test_it_goes_to_the_log_that_is_made_and_watched(self, state: Resources) -> None:
        (log,) = state.of_type("aws_cloudwatch_log_group").values()
        filters = state.of_type("aws_cloudwatch_log_metric_filter").values()
        assert {each["log_group_name"] for each in filters} == {log["name"]}
        assert log_of(state) == {log["name"]}

    @pytest.mark.parametrize("way", LOGINS)
    def test_each_login_is_one_that_csv2kafka_has(self, planned: Planned, way: str) -> None:
        plan = login(planned, way)
        environment = plan.outputs["environment"]
        assert unknown_variables(environment) == []
        config = loaded(environment)
        protocol = {"iam": "SASL_SSL", "scram": "SASL_SSL", "mtls": "SSL", "none": "PLAINTEXT"}[way]
        assert config.kafka["security_protocol"] == protocol

    @pytest.mark.parametrize("way", ["scram", "mtls"])
    def test_a_secret_is_named_and_not_in_the_plan(self, planned: Planned, way: str) -> None:
        """What stands in the plan is a reference, and the role may read what it names."""
        plan = login(planned, way)
        secret = [value for name, value in plan.outputs["environment"].items() if "PLAIN" in name or "FILE" in name]
        assert len(secret) == 2
        assert all(value.startswith(SCHEMES) for value in secret)
        named = [each["Resource"] for each in plan.rendered("aws_iam_policy.job")["Statement"] if is_secret(each)]
        assert named == [SECRET]


def log_of(state: Resources) -> set[str]:
    """Where the job's log goes."""
    if state.target == "ecs":
        containers = state.rendered("aws_ecs_task_definition.job")
    elif state.target == "batch":
        containers = [state.rendered(address) for address in state.of_type("aws_batch_job_definition")]
    else:
        text = state.rendered("aws_launch_template.job")
        return set(re.findall(rf"\b{re.escape(prefix_of(state))}\b(?=['\"]?$)", text, re.MULTILINE))
    return {each["logConfiguration"]["options"]["awslogs-group"] for each in containers}


def is_secret(statement: Mapping[str, Any]) -> bool:
    return bool(statement["Action"] == "secretsmanager:GetSecretValue")


def login(planned: Planned, way: str, **more: Any) -> Resources:
    """The module that all share, with this login."""
    port, needed = LOGINS[way]
    servers = f"b-1.example.com:{port},b-2.example.com:{port}"
    return planned(MODULE, target="ecs", authentication=way, bootstrap_servers=servers, **needed, **more)


class TestNetwork:
    @pytest.mark.parametrize("way", LOGINS)
    def test_nothing_goes_out_but_to_the_one_port_of_kafka_and_to_aws(self, planned: Planned, way: str) -> None:
        plan = login(planned, way)
        rules = plan.of_type("aws_vpc_security_group_egress_rule").values()
        assert {(each["from_port"], each["to_port"]) for each in rules} == {(LOGINS[way][0],) * 2, (443, 443)}
        for each in rules:
            assert each["ip_protocol"] == "tcp"
            if each["from_port"] != 443:
                assert each["referenced_security_group_id"] == COMMON["kafka_security_group_id"]

    def test_without_a_group_it_goes_to_the_blocks(self, planned: Planned) -> None:
        blocks = ["10.0.0.0/24", "10.0.1.0/24"]
        plan = planned(MODULE, target="ecs", kafka_security_group_id=None, kafka_cidr_blocks=blocks)
        rules = plan.of_type("aws_vpc_security_group_egress_rule").values()
        assert sorted(each["cidr_ipv4"] for each in rules if each["from_port"] == 9092) == blocks
        assert plan.of_type("aws_vpc_security_group_ingress_rule") == {}

    def test_with_all_endpoints_nothing_leaves_the_vpc(self, full: Resources) -> None:
        rules = full.of_type("aws_vpc_security_group_egress_rule").values()
        assert rules
        assert [each["cidr_ipv4"] for each in rules if each["cidr_ipv4"]] == []
        services = {each["service_name"].rpartition(".")[2] for each in full.of_type("aws_vpc_endpoint").values()}
        assert services >= {"s3", "dynamodb", "logs"}

    def test_nothing_comes_in(self, state: Resources) -> None:
        """The job's group has no ingress rule; the one that there is lets the job into the brokers' group."""
        (rule,) = state.of_type("aws_vpc_security_group_ingress_rule").values()
        assert rule["security_group_id"] == COMMON["kafka_security_group_id"]
        assert rule["referenced_security_group_id"] == state.resource("module.common.aws_security_group.job")["id"]
        for group in state.of_type("aws_security_group").values():
            assert group["ingress"] == []
            assert group["egress"] == []


class TestWhatIsKept:
    def test_checkpoints_are_in_a_table_as_the_store_wants_it(self, state: Resources) -> None:
        table = state.resource(TABLE)
        assert (table["hash_key"], table["range_key"]) == (KEY, None)
        assert {(each["name"], each["type"]) for each in table["attribute"]} == {(KEY, "S")}
        assert table["billing_mode"] == "PAY_PER_REQUEST"
        assert [(each["attribute_name"], each["enabled"]) for each in table["ttl"]] == [(EXPIRES, True)]
        assert [each["enabled"] for each in table["point_in_time_recovery"]] == [True]

    def test_each_table_can_be_brought_back_to_any_second(self, state: Resources) -> None:
        for address, table in state.of_type("aws_dynamodb_table").items():
            assert [each["enabled"] for each in table["point_in_time_recovery"]] == [True], address

    def test_with_a_key_of_ones_own_all_that_is_kept_is_under_it(self, full: Resources) -> None:
        key = full.resource("module.common.aws_kms_key.own[0]")
        assert key["enable_key_rotation"]
        for table in full.of_type("aws_dynamodb_table").values():
            assert [(each["enabled"], each["kms_key_arn"]) for each in table["server_side_encryption"]] == [
                (True, key["arn"])
            ]
        for log in full.of_type("aws_cloudwatch_log_group").values():
            assert log["kms_key_id"] == key["arn"]
        for repository in full.of_type("aws_ecr_repository").values():
            assert [each["kms_key"] for each in repository["encryption_configuration"]] == [key["arn"]]
        for topic in full.of_type("aws_sns_topic").values():
            assert topic["kms_master_key_id"] in (key["arn"], key["key_id"], key["id"])

    def test_the_log_is_kept_as_long_as_was_said(self, full: Resources) -> None:
        assert {each["retention_in_days"] for each in full.of_type("aws_cloudwatch_log_group").values()} == {90}

    def test_everything_that_can_have_tags_has_them(self, full: Resources) -> None:
        for address, values in full.by_address.items():
            if "tags" in values:
                assert (values["tags"] or {}).get("team") == "data", address


class TestAlarms:
    def test_each_is_sent_to_the_topic(self, full: Resources) -> None:
        (topic,) = full.of_type("aws_sns_topic").values()
        for address, alarm in full.of_type("aws_cloudwatch_metric_alarm").items():
            assert topic["arn"] in alarm["alarm_actions"], address
        (subscription,) = full.of_type("aws_sns_topic_subscription").values()
        assert (subscription["topic_arn"], subscription["endpoint"]) == (topic["arn"], "you@example.com")
        policy = full.rendered("module.common.aws_sns_topic_policy.alarms")
        said = {each["Principal"]["Service"] for each in policy["Statement"]}
        assert said == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}

    def test_each_looks_at_a_metric_that_is_made(self, state: Resources) -> None:
        made = {
            (each["namespace"], each["name"])
            for values in state.of_type("aws_cloudwatch_log_metric_filter").values()
            for each in values["metric_transformation"]
        }
        watched = {
            (alarm["namespace"], alarm["metric_name"])
            for alarm in state.of_type("aws_cloudwatch_metric_alarm").values()
        }
        assert made
        assert {each for each in watched if not each[0].startswith("AWS/")} == made

    def test_a_failure_that_writes_no_line_is_told_too(self, state: Resources) -> None:
        """The service's own event, or an alarm of its own metric: a job may end before csv2kafka has said anything."""
        (topic,) = state.of_type("aws_sns_topic").values()
        told = {
            each["rule"]
            for each in state.of_type("aws_cloudwatch_event_target").values()
            if each["arn"] == topic["arn"]
        }
        services = {json.loads(each["event_pattern"])["source"][0] for each in rules_named(state, told)}
        assert services == {{"ecs": "aws.states", "batch": "aws.batch", "ec2": "aws.autoscaling"}[state.target]}

    def test_what_is_told_is_json_whatever_happened(self, state: Resources) -> None:
        """EventBridge puts values in as they are: of a sentence that AWS wrote a quote would make it no JSON."""
        plain = {"status", "name", "error", "executionArn", "jobName", "jobId", "region", "AutoScalingGroupName"}
        for address, target in state.of_type("aws_cloudwatch_event_target").items():
            for transformer in target["input_transformer"]:
                assert isinstance(json.loads(transformer["input_template"]), str), address
                assert {path.rpartition(".")[2] for path in transformer["input_paths"].values()} <= plain, address

    def test_a_network_that_was_never_open_is_told(self, state: Resources) -> None:
        """Such a run is started again, up to fifty times."""
        (each,) = [
            each
            for each in state.of_type("aws_cloudwatch_log_metric_filter").values()
            if each["metric_transformation"][0]["name"] == "OutOfReach"
        ]
        ends = [{"event": "failed", "exit_code": code} for code in (69, 75, 65)]
        assert filter_patterns.values(each, ends) == [1.0]
        alarm = state.resource('module.common.aws_cloudwatch_metric_alarm.job["out-of-reach"]')
        assert raises(alarm, [[1.0], [], [], [1.0], [], [], [], [], [1.0]])
        assert not raises(alarm, [[1.0], [], [1.0]])


def rules_named(state: Resources, names: set[str]) -> list[Mapping[str, Any]]:
    return [each for each in state.of_type("aws_cloudwatch_event_rule").values() if each["name"] in names]


class TestFiles:
    def test_the_example_can_be_brought_up_as_it_stands(self, terraform: Terraform, target: str) -> None:
        state = terraform.apply_file(target, DEPLOY / target / "terraform.tfvars.example")
        assert loaded(environment_of(state)).topic == "orders"

    def test_the_users_variables_are_one_file(self, target: str) -> None:
        link = DEPLOY / target / "common.tf"
        assert link.is_symlink()
        assert Path(link.readlink()) == Path("../modules/common/variables.tf")

    def test_a_target_passes_each_variable_on(self, planned: Planned, target: str) -> None:
        users = set(re.findall(r'^variable "(\w+)"', (DEPLOY / MODULE / "variables.tf").read_text(), re.MULTILINE))
        call = configuration(planned(target))["module_calls"]["common"]["expressions"]
        assert users
        for name in users:
            assert call.get(name, {}).get("references") == [f"var.{name}"], name

    def test_each_variable_and_output_says_what_it_is(self, planned: Planned, target: str) -> None:
        root = configuration(planned(target))
        for module in (root, root["module_calls"]["common"]["module"]):
            for kind in ("variables", "outputs"):
                bare = [name for name, said in module[kind].items() if not said.get("description")]
                assert bare == [], kind

    def test_versions_are_bounded(self, target: str) -> None:
        for folder in (target, MODULE):
            text = (DEPLOY / folder / "versions.tf").read_text()
            assert re.search(r'required_version = ">= 1\.\d+', text), folder
            assert re.search(r'source\s+= "hashicorp/aws"\n\s+version\s+= "~> 6\.\d+"', text), folder


def configuration(plan: Resources) -> Mapping[str, Any]:
    root: Mapping[str, Any] = plan.raw["configuration"]["root_module"]
    return root
