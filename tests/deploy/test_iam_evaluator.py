"""The judge of IAM policies that tests of deploy/ use: against AWS's rules, and against moto's where that has some."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.iam.access_control import IAMPolicyStatement, PermissionResult

from tests.deploy.iam import ACCOUNT, REGION, Rights, like, rights_of, with_real_arns
from tests.deploy.terraform import Resources

BUCKET, OBJECT = "arn:aws:s3:::exports", "arn:aws:s3:::exports/orders/1.csv"


def statement(**changed: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{BUCKET}/*", **changed}


def with_condition(operator: str, key: str, value: Any) -> dict[str, Any]:
    return statement(Condition={operator: {key: value}})


@pytest.mark.parametrize(
    ("statements", "action", "resource", "context", "allowed"),
    [
        ([], "s3:GetObject", OBJECT, {}, False),
        ([statement()], "s3:GetObject", OBJECT, {}, True),
        ([statement()], "S3:getobject", OBJECT, {}, True),
        ([statement()], "s3:GetObjectVersion", OBJECT, {}, False),
        ([statement()], "s3:GetObject", BUCKET, {}, False),
        ([statement()], "s3:GetObject", OBJECT.upper(), {}, False),
        ([statement(Resource=["arn:aws:s3:::other/*", f"{BUCKET}/orders/?.csv"])], "s3:GetObject", OBJECT, {}, True),
        ([statement(Action=["s3:Get*"])], "s3:GetObjectVersion", OBJECT, {}, True),
        ([statement(), statement(Effect="Deny", Action="s3:*")], "s3:GetObject", OBJECT, {}, False),
        ([statement(Effect="Deny"), statement()], "s3:GetObject", OBJECT, {}, False),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], "s3:GetObject", OBJECT, {}, True),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], "s3:GetObject", OBJECT, {}, False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": OBJECT}], "s3:GetObject", OBJECT, {}, False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": OBJECT}], "s3:GetObject", BUCKET, {}, True),
        (
            [with_condition("StringLike", "s3:prefix", ["a/*", "b/*"])],
            "s3:GetObject",
            OBJECT,
            {"s3:prefix": "b/"},
            True,
        ),
        ([with_condition("StringLike", "s3:prefix", "a/*")], "s3:GetObject", OBJECT, {"S3:Prefix": "a/1"}, True),
        ([with_condition("StringLike", "s3:prefix", "a/*")], "s3:GetObject", OBJECT, {"s3:prefix": "b/"}, False),
        ([with_condition("StringLike", "s3:prefix", "a/*")], "s3:GetObject", OBJECT, {}, False),
        ([with_condition("StringLikeIfExists", "s3:prefix", "a/*")], "s3:GetObject", OBJECT, {}, True),
        ([with_condition("StringEquals", "s3:prefix", "a/*")], "s3:GetObject", OBJECT, {"s3:prefix": "a/1"}, False),
        ([with_condition("StringNotEquals", "s3:prefix", "a")], "s3:GetObject", OBJECT, {"s3:prefix": "a"}, False),
        ([with_condition("StringNotEquals", "s3:prefix", "a")], "s3:GetObject", OBJECT, {}, True),
        ([with_condition("Bool", "aws:SecureTransport", "true")], "s3:GetObject", OBJECT, {}, False),
        ([with_condition("Null", "s3:prefix", "true")], "s3:GetObject", OBJECT, {}, True),
        ([with_condition("Null", "s3:prefix", "true")], "s3:GetObject", OBJECT, {"s3:prefix": ""}, False),
    ],
)
def test_a_call(
    statements: list[dict[str, Any]], action: str, resource: str, context: dict[str, str], allowed: bool
) -> None:
    assert Rights(statements).allow(action, resource, context) == allowed


@pytest.mark.parametrize(
    "unread",
    [with_condition("NumericLessThan", "s3:max-keys", "10"), statement(Resource="arn:aws:s3:::${aws:username}/*")],
)
def test_what_it_cannot_judge_it_refuses(unread: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not read here"):
        Rights([unread]).allow("s3:GetObject", OBJECT)


words = st.text(alphabet="ab:/*", min_size=1, max_size=6)


@given(effect=st.sampled_from(["Allow", "Deny"]), action=words, resource=words, asked=words, of=words)
def test_moto_says_the_same_where_there_are_no_conditions(
    effect: str, action: str, resource: str, asked: str, of: str
) -> None:
    asked, of = asked.replace("*", "a"), of.replace("*", "b")
    one = {"Effect": effect, "Action": action, "Resource": resource}
    motos = IAMPolicyStatement(one).is_action_permitted(asked, of)
    assert Rights([one]).allow(asked, of) == (motos == PermissionResult.PERMITTED)


def test_signs_of_regular_expressions_are_letters() -> None:
    assert like("a.b[c]", "a.b[c]")
    assert not like("a.b", "axb")


def of(**by_address: dict[str, Any]) -> Resources:
    """A state with these, each with its type's last word as name."""
    named = {f"aws_{kind.replace('__', '.')}": values for kind, values in by_address.items()}
    return Resources("ecs", named, {address: address.partition(".")[0] for address in named}, {}, {})


def policy(action: str, resource: str = "*") -> str:
    return f'{{"Statement": [{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}]}}'


STATE = of(
    iam_role__job={"name": "job", "arn": "arn:role/job", "id": "job"},
    iam_role__other={"name": "other", "arn": "arn:role/other", "id": "other"},
    iam_policy__job={"name": "p", "arn": "arn:policy/p", "policy": policy("s3:GetObject")},
    iam_role_policy__job={"role": "job", "policy": policy("sns:Publish", "arn:made-up/alarms")},
    iam_role_policy__other={"role": "other", "policy": policy("iam:PassRole")},
    iam_role_policy_attachment__job={"role": "job", "policy_arn": "arn:policy/p"},
    iam_role_policy_attachment__aws={"role": "job", "policy_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
    sns_topic__alarms={"name": "alarms", "arn": "arn:made-up/alarms"},
    sns_topic__more={"name": "alarms-more", "arn": "arn:made-up/alarms-more"},
)


def test_a_role_has_what_is_attached_to_it_and_what_is_its_own() -> None:
    rights = rights_of(STATE, "arn:role/job")
    assert rights.allow("s3:GetObject", OBJECT)
    assert rights.allow("sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms")
    assert not rights.allow("iam:PassRole")
    assert rights.managed == ["arn:aws:iam::aws:policy/ReadOnlyAccess"]


def test_made_up_arns_become_real_ones() -> None:
    found = with_real_arns(STATE, {"Resource": ["arn:made-up/alarms", "arn:made-up/alarms-more", "arn:made-up/x"]})
    stem = f"arn:aws:sns:{REGION}:{ACCOUNT}"
    assert found == {"Resource": [f"{stem}:alarms", f"{stem}:alarms-more", "arn:made-up/x"]}
