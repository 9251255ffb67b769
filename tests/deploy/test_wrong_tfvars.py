"""A wrong terraform.tfvars is refused when it is planned, before anything is made, with a sentence that names the
variable and says what to do.

Terraform tells all that is wrong at once, so cases that are about different variables share a plan.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from attrs import frozen

from tests.deploy.conftest import Refusal
from tests.deploy.terraform import TARGETS

COMMON = "modules/common"
CLUSTER = "arn:aws:kafka:eu-west-1:123456789012:cluster/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2"
SECRETS = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"


@frozen(eq=False)
class Wrong:
    """``variable``: what is to be named. ``why``: words of the sentence. ``set``: what is wrong, alone or together.
    ``alone``: a precondition, which is only looked at where all variables are fine."""

    variable: str
    why: str
    set: Mapping[str, Any]
    target: str = COMMON
    alone: bool = False

    def __str__(self) -> str:
        target = "" if self.target == COMMON else f"{self.target} "
        return f"{target}{self.variable}: {', '.join(f'{name}={value}' for name, value in self.set.items())}"


def wrong(variable: str, value: Any, why: str, *, target: str = COMMON, **also: Any) -> Wrong:
    return Wrong(variable, why, {variable: value, **also}, target)


def of(variable: str, values: Iterable[Any], why: str, *, target: str = COMMON) -> list[Wrong]:
    return [wrong(variable, value, why, target=target) for value in values]


CASES = [
    *of("name", ["CSV_2_Kafka", "c" * 31, "csv2kafka-", "2kafka"], "beginning with a letter"),
    *of("source_bucket", ["s3://example-exports", "Example_Exports", "x"], "without s3:// and without a key"),
    *of("source_prefix", ["orders", "/orders/", "orders*/"], "ends with '/'"),
    wrong("sources", ["s3://another-bucket/orders/a.csv"], "source_bucket, '/' and source_prefix"),
    wrong("sources", ["s3://example-exports/invoices/a.csv"], "source_bucket, '/' and source_prefix"),
    wrong("sources", ["https://example-exports.s3.amazonaws.com/orders/a.csv"], "begin with s3://"),
    wrong("sources", ["s3://example-exports/orders"], "source_bucket, '/' and source_prefix"),
    *of("topic", ["or ders", "orders/2026", ""], "letters, digits"),
    wrong("more_topics", ["fine", "not fine"], "letters, digits"),
    *of("partition", [-1, 0.5], "whole number from 0"),
    *of("dead_letter_topic", ["orders", "bad rows"], "another topic than topic"),
    *of("completion_topic", ["orders", "all loaded"], "another topic than topic"),
    *of("job", ["last night", ""], "letters, digits"),
    *of(
        "after",
        ["rename", "move:loaded/", "move:s3://example-exports/loaded", "tag:loaded"],
        "move:s3://BUCKET/PREFIX/",
    ),
    wrong("environment", {"PATH": "/bin"}, "begin with CSV2KAFKA_ or AWS_"),
    wrong("environment", {"CSV2KAFKA_TOPIC": "orders"}, "set from others here"),
    wrong("environment", {"CSV2KAFKA_METRICS": "none"}, "that the alarms need"),
    wrong("environment", {"CSV2KAFKA_RESTART": "true"}, "anew after each crash"),
    wrong("environment", {"AWS_SECRET_ACCESS_KEY": "secretsmanager://x"}, "that the job's role gives"),
    wrong("environment", {"CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": "hunter2"}, "plain text would be readable"),
    wrong("environment", {"CSV2KAFKA_KAFKA_SSL_PASSWORD": "hunter2"}, "plain text would be readable"),
    wrong("environment", {"CSV2KAFKA_S3_SSE_CUSTOMER_KEY": "hunter2"}, "plain text would be readable"),
    wrong("environment", {"CSV2KAFKA_KAFKA": "a=ssm://b sasl_plain_password=hunter2"}, "within CSV2KAFKA_KAFKA"),
    wrong("environment", {"CSV2KAFKA_S3": "'sse_customer_key=hunter2'"}, "within CSV2KAFKA_KAFKA and CSV2KAFKA_S3"),
    *of("bootstrap_servers", ["b-1.example.com", "b-1:9092, b-2:9092", "b-1:9092;b-2:9092"], "HOST:PORT"),
    *of("bootstrap_servers", ["b-1.example.com:99999", "b-1:9092,b-2:0"], "ports from 1 to 65535"),
    wrong("bootstrap_servers", "b-1.example.com:9092,b-2.example.com:9093", "one port for all brokers"),
    wrong("bootstrap_servers", "b-1.example.com:9098", "change authentication"),
    wrong("authentication", "kerberos", "iam, scram, mtls or none"),
    wrong("authentication", "scram", "CSV2KAFKA_KAFKA_SASL_PLAIN_USERNAME", bootstrap_servers="b-1:9096"),
    wrong("authentication", "mtls", "CSV2KAFKA_KAFKA_SSL_CERTFILE", bootstrap_servers="b-1:9094"),
    *of(
        "msk_cluster_arn",
        [f"{CLUSTER}/*", CLUSTER.replace(":cluster/", ":topic/"), "csv2kafka-example"],
        "cluster/NAME/UUID",
    ),
    Wrong("msk_cluster_arn", "rights name the cluster", {"authentication": "iam", "bootstrap_servers": "b-1:9098"}),
    *of("kafka_security_group_id", ["sg-xyz", "brokers"], "sg- and 8 to 17 hex digits"),
    wrong("kafka_security_group_id", None, "kafka_cidr_blocks instead"),
    *of("kafka_cidr_blocks", [["10.0.0.1"], ["10.0.0.0/33"], ["0.0.0.0/0"], ["2001:db8::/32"]], "such as 10.0.0.0/16"),
    *of("vpc_id", ["vpc-1", "subnet-0123456789abcdef0"], "vpc- and 8 to 17 hex digits"),
    *of("subnet_ids", [[], ["subnet-1"], ["subnet-0123456789abcdef0"] * 2], "none twice"),
    wrong("vpc_endpoints", "some", "none, gateway or all"),
    wrong("route_table_ids", ["rtb-1"], "rtb- and 8 to 17 hex digits"),
    Wrong("route_table_ids", "gateway endpoints", {"vpc_endpoints": "gateway"}),
    Wrong("route_table_ids", "gateway endpoints", {"vpc_endpoints": "all"}),
    *of(
        "secret_arns",
        [["AmazonMSK_csv2kafka"], ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:*"]],
        "without '*'",
    ),
    *of("kms_key_arns", [["alias/exports"], ["arn:aws:kms:eu-west-1:123456789012:alias/exports"]], "key/"),
    Wrong("secret_arns", "environment and", {"environment": {"CSV2KAFKA_COMMENT": "secretsmanager://comment"}}),
    Wrong("secret_arns", "may read no other secrets", {"bootstrap_servers": "ssm:///prod/kafka/servers"}),
    wrong("alarm_email", "nobody", "an e-mail address"),
    *of("no_progress_minutes", [0, 1.5, 1441], "from 2 to 1440"),
    *of("log_retention_days", [31, 0], "that CloudWatch has"),
    *of("tags", [{"aws:team": "data"}, {"team": "d" * 257}], "do not begin with aws:"),
]
REQUIRED = ("source_bucket", "bootstrap_servers", "vpc_id", "subnet_ids")
OF_ECS = [
    *of("cpu", [1000, 0], "what Fargate has", target="ecs"),
    wrong("memory", 4096, "with that cpu", target="ecs", cpu=4096),
    wrong("memory", 6000, "with that cpu", target="ecs", cpu=1024),
    wrong("architecture", "arm64", "ARM64 or X86_64", target="ecs"),
    *of("image", ["csv2kafka", "example.com/csv2kafka:la test"], "REPOSITORY:TAG", target="ecs"),
    Wrong("topic", "every job of this target", {"topic": None}, "ecs", alone=True),
    *of("schedule", ["every day", "cron(0 4 * * ? *"], "EventBridge Scheduler", target="ecs"),
    wrong("schedule", "rate(1 day)", "expected sources", target="ecs", sources=[]),
    wrong("schedule_timezone", "Berlin time", "IANA", target="ecs"),
    *of("max_attempts", [0, 501, 1.5], "from 1 to 500", target="ecs"),
    *of("timeout_hours", [0, 73], "from 1 to 72", target="ecs"),
    wrong("run_on_upload", True, "loaded again", target="ecs", after="move:s3://example-exports/orders/done/"),
]
OF_BATCH = [
    wrong("architecture", "ARM64", "arm64 or x86_64", target="batch"),
    *of("instance_types", [["c7g.xlarge"], [], ["c7g", "m7g"]], "at least two types", target="batch"),
    wrong("instance_types", ["c7g.xlarge", "c7i.xlarge"], "types of the architecture", target="batch"),
    wrong(
        "instance_types",
        ["c7g.xlarge", "m7g.xlarge"],
        "types of the architecture",
        target="batch",
        architecture="x86_64",
    ),
    *of("vcpus", [0, 1.5], "from 1 to 192", target="batch"),
    *of("memory", [100, 6144.5], "from 512", target="batch"),
    wrong("max_vcpus", 2, "not less than vcpus", target="batch"),
    *of("attempts", [0, 11], "from 1 to 10", target="batch"),
    *of("timeout_hours", [0, 400], "from 1 to 336", target="batch"),
    *of("manifest_prefix", ["jobs", "orders/jobs/"], "outside of source_prefix", target="batch"),
    wrong("image", "csv2kafka", "REPOSITORY:TAG", target="batch"),
]
OF_EC2 = [
    wrong("architecture", "ARM64", "arm64 or x86_64", target="ec2"),
    *of("instance_types", [[], ["c7g.xlarge", "c7g.xlarge"], ["c7g"]], "1 to 40 types", target="ec2"),
    wrong("instance_types", ["c7i.xlarge"], "types of var.architecture", target="ec2"),
    wrong("instance_types", ["c7g.xlarge"], "types of var.architecture", target="ec2", architecture="x86_64"),
    *of("max_hours", [0, 168], "from 1 to 167", target="ec2"),
    *of("bundle_bucket", ["s3://bundles", "B"], "the name alone", target="ec2"),
    *of("bundle_prefix", ["bundles", "/bundles/"], "ends with '/'", target="ec2"),
    Wrong("topic", "every job of this target", {"topic": None}, "ec2", alone=True),
]
ALL = [*CASES, *OF_ECS, *OF_BATCH, *OF_EC2]


def plans(cases: Iterable[Wrong]) -> list[tuple[str, dict[str, Any], list[Wrong]]]:
    """The cases in as few plans as it takes, so that none changes what another is about."""
    made: list[tuple[str, dict[str, Any], list[Wrong]]] = []

    def fits(case: Wrong, others: list[Wrong]) -> bool:
        names = {name for each in others for name in (each.variable, *each.set)}
        return not any(each.alone for each in (case, *others)) and not reach({case.variable, *case.set}) & reach(names)

    for case in cases:
        for target, variables, others in made:
            if target == case.target and fits(case, others):
                variables.update(case.set)
                others.append(case)
                break
        else:
            made.append((case.target, dict(case.set), [case]))
    return made


def reach(variables: set[str]) -> set[str]:
    """These and the variables that their conditions look at."""
    return variables.union(*(TOGETHER.get(name, {name}) for name in variables))


# Variables whose conditions look at each other's values.
TOGETHER = {
    name: group
    for group in (
        {"source_bucket", "source_prefix", "sources", "schedule", "manifest_prefix", "after", "run_on_upload"},
        {"bootstrap_servers", "authentication", "environment", "msk_cluster_arn", "secret_arns"},
        {"kafka_security_group_id", "kafka_cidr_blocks"},
        {"vpc_endpoints", "route_table_ids"},
        {"topic", "dead_letter_topic", "completion_topic"},
        {"cpu", "memory"},
        {"vcpus", "max_vcpus"},
        {"architecture", "instance_types"},
    )
    for name in group
}
PLANS = {case: (target, variables) for target, variables, cases in plans(ALL) for case in cases}


def test_of_another_type_it_is_named(refusal: Refusal) -> None:
    said = refusal(COMMON, target="ecs", partition="first", subnet_ids="subnet-0123456789abcdef0")
    assert any("a number is required" in line for line in said_of("partition", said)), said
    assert any("list of string required" in line for line in said_of("subnet_ids", said)), said


def said_of(variable: str, said: str) -> list[str]:
    """The sentences about it."""
    return [line for line in said.splitlines() if re.search(rf"\b(var\.)?{variable}\b", line)]


@pytest.mark.parametrize("case", ALL, ids=str)
def test_it_is_refused_with_a_sentence(refusal: Refusal, case: Wrong) -> None:
    target, variables = PLANS[case]
    more = {"target": "ecs"} if target == COMMON else {}
    said = refusal(target, **more, **variables)
    sentences = [line for line in said_of(case.variable, said) if case.why in line]
    assert sentences, said
    form = re.compile(rf": {case.variable}: (for \w+ )?expected .+; .+\.")
    assert any(form.search(line) for line in sentences), sentences


def test_what_must_be_there_is_named(refusal: Refusal) -> None:
    said = refusal(COMMON, target="ecs", **dict.fromkeys(REQUIRED))
    for variable in REQUIRED:
        assert any("may not be set to null" in line for line in said_of(variable, said)), said


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_refuses_what_the_module_does(refusal: Refusal, target: str) -> None:
    said = refusal(target, name="CSV", vpc_id="vpc-1", log_retention_days=31)
    for variable in ("name", "vpc_id", "log_retention_days"):
        assert said_of(variable, said), said
    assert len(said.splitlines()) == 3, said
