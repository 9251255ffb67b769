"""IAM as far as deploy/ uses it: whether policies allow a call, and which policies a planned role has.

    rights = rights_of(state, state.resource("aws_ecs_task_definition.job")["task_role_arn"])
    rights.allow("s3:ListBucket", "arn:aws:s3:::exports", {"s3:prefix": "orders/"})

The rules are those of AWS for one account: a matching Deny wins, else a matching Allow, else it is refused. A condition
with an operator that is not known here is an error, as is a policy variable: what the tests cannot judge, they do not
pass. Whether an action exists and goes with a resource is the linter's to say (tests/aws/test_iam.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from tests.deploy.terraform import Resources

Statement = Mapping[str, Any]
Context = Mapping[str, str]

_STRINGS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, found: wanted == found,
    "StringLike": lambda wanted, found: like(wanted, found),
    "ArnEquals": lambda wanted, found: like(wanted, found),
    "ArnLike": lambda wanted, found: like(wanted, found),
    "Bool": lambda wanted, found: wanted.lower() == found.lower(),
}
_NEGATED = {"StringNotEquals": "StringEquals", "StringNotLike": "StringLike", "ArnNotEquals": "ArnEquals"}

# Real ARNs, with {} for region and account, in place of those that the stand-in makes up. {type: (ARN, attribute)}
_ARNS: Mapping[str, tuple[str, str]] = {
    "aws_autoscaling_group": ("autoscaling:{}:{}:autoScalingGroup:1234abcd:autoScalingGroupName/", "name"),
    "aws_batch_compute_environment": ("batch:{}:{}:compute-environment/", "name"),
    "aws_batch_job_definition": ("batch:{}:{}:job-definition/", "name"),
    "aws_batch_job_queue": ("batch:{}:{}:job-queue/", "name"),
    "aws_cloudwatch_event_rule": ("events:{}:{}:rule/", "name"),
    "aws_cloudwatch_log_group": ("logs:{}:{}:log-group:", "name"),
    "aws_dynamodb_table": ("dynamodb:{}:{}:table/", "name"),
    "aws_ecr_repository": ("ecr:{}:{}:repository/", "name"),
    "aws_ecs_cluster": ("ecs:{}:{}:cluster/", "name"),
    "aws_ecs_task_definition": ("ecs:{}:{}:task-definition/", "family"),
    "aws_iam_instance_profile": ("iam::{1}:instance-profile/", "name"),
    "aws_iam_policy": ("iam::{1}:policy/", "name"),
    "aws_iam_role": ("iam::{1}:role/", "name"),
    "aws_kms_key": ("kms:{}:{}:key/", "key_id"),
    "aws_launch_template": ("ec2:{}:{}:launch-template/", "id"),
    "aws_s3_bucket": ("s3:::", "bucket"),
    "aws_scheduler_schedule": ("scheduler:{}:{}:schedule/default/", "name"),
    "aws_secretsmanager_secret": ("secretsmanager:{}:{}:secret:", "name"),
    "aws_sfn_state_machine": ("states:{}:{}:stateMachine:", "name"),
    "aws_sns_topic": ("sns:{}:{}:", "name"),
    "aws_sqs_queue": ("sqs:{}:{}:", "name"),
}
REGION, ACCOUNT = "us-east-1", "123456789012"  # the stand-in's


@frozen
class Rights:
    """``statements``: of all policies of a role. ``managed``: ARNs of AWS's own policies that it has besides."""

    statements: Sequence[Statement]
    managed: Sequence[str] = ()

    def allow(self, action: str, resource: str = "*", context: Context | None = None) -> bool:
        """Whether the call is allowed; ``context``: condition keys and what the call has for them."""
        hits = [each["Effect"] for each in self.statements if applies(each, action, resource, context or {})]
        return "Deny" not in hits and "Allow" in hits


def applies(statement: Statement, action: str, resource: str, context: Context) -> bool:
    """Whether the statement is about this call."""
    return (
        _named(statement, "Action", action.lower(), str.lower)
        and _named(statement, "Resource", resource, str)
        and all(
            _holds(operator, key, listed(wanted), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def listed(value: Any) -> list[Any]:
    """One value or several, as policies have them."""
    return value if isinstance(value, list) else [value]


def like(pattern: str, text: str) -> bool:
    """``*`` stands for anything, ``?`` for one character, and nothing else does."""
    if "${" in pattern:
        raise ValueError(f"{pattern}: policy variables are not read here")
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _named(statement: Statement, what: str, found: str, fold: Callable[[str], str]) -> bool:
    if f"Not{what}" in statement:
        return not any(like(fold(each), found) for each in listed(statement[f"Not{what}"]))
    return any(like(fold(each), found) for each in listed(statement[what]))


def _holds(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    base = operator.removesuffix("IfExists")
    names = {name.lower(): value for name, value in context.items()}
    found = names.get(key.lower())
    if base == "Null":
        return (found is None) == (str(wanted[0]).lower() == "true")
    if base not in _STRINGS and base not in _NEGATED:
        raise ValueError(f"{operator}: this condition is not read here")
    if found is None:
        return operator.endswith("IfExists") or base in _NEGATED
    test = _STRINGS[_NEGATED.get(base, base)]
    return any(test(str(each), found) for each in wanted) != (base in _NEGATED)


def policies(state: Resources) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every policy that gives something to a role, with its address."""
    for kind in ("aws_iam_policy", "aws_iam_role_policy"):
        for address in state.of_type(kind):
            yield address, with_real_arns(state, state.rendered(address))


def resource_policies(state: Resources) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every policy of a key, topic, queue, bucket, endpoint and so on, and those that say who may take on a role."""
    of_roles = ("aws_iam_policy", "aws_iam_role_policy", "aws_ecr_lifecycle_policy")
    for address, kind in state.types.items():
        name = "assume_role_policy" if kind == "aws_iam_role" else "policy"
        text = state.by_address[address].get(name) or ""
        if text.startswith("{") and kind not in of_roles:  # one that begins otherwise was made up by the stand-in
            yield address, with_real_arns(state, json.loads(text))


def rights_of(state: Resources, role: str) -> Rights:
    """What the role may do; ``role``: its name or ARN, as another resource has it."""
    roles = state.of_type("aws_iam_role").values()
    (name,) = [each["name"] for each in roles if role in (each["name"], each["arn"], each["id"])]
    by_arn = {values["arn"]: address for address, values in state.of_type("aws_iam_policy").items()}
    statements, managed = [], []
    for address, values in state.of_type("aws_iam_role_policy").items():
        if values["role"] == name:
            statements += _statements(state, address)
    for values in state.of_type("aws_iam_role_policy_attachment").values():
        if values["role"] == name and values["policy_arn"] in by_arn:
            statements += _statements(state, by_arn[values["policy_arn"]])
        elif values["role"] == name:
            managed.append(values["policy_arn"])
    return Rights(statements, managed)


def _statements(state: Resources, address: str) -> list[Statement]:
    return listed(with_real_arns(state, state.rendered(address))["Statement"])


def with_real_arns(state: Resources, policy: Mapping[str, Any]) -> Mapping[str, Any]:
    """The policy with ARNs as AWS would have made them."""
    text = json.dumps(policy)
    for made_up, real in sorted(_arns(state), reverse=True):  # a longer one before one that it begins with
        text = re.sub(rf"{re.escape(made_up)}(?![\w-])", real, text)
    read: Mapping[str, Any] = json.loads(text)
    return read


def _arns(state: Resources) -> Iterator[tuple[str, str]]:
    for address, kind in state.types.items():
        arn = state.by_address[address].get("arn")
        if kind in _ARNS and arn:
            stem, attribute = _ARNS[kind]
            yield arn, f"arn:aws:{stem.format(REGION, ACCOUNT)}{state.by_address[address][attribute]}"
