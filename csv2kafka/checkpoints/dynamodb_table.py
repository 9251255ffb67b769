"""Making the table of a DynamoDB store: ``csv2kafka init dynamodb://TABLE``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from csv2kafka.aws.client import code_of, not_aws
from csv2kafka.checkpoints.dynamodb_item import ARN, EXPIRES, KEY, wrong_key
from csv2kafka.errors import ConfigError, Unreachable

READY_SECONDS = 120.0  # for a table to be ACTIVE; it takes about ten
LOOK_SECONDS = 1.0
SCHEMA = {
    "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": KEY, "AttributeType": "S"}],
}

Call = Callable[..., Awaitable[Any]]


async def make_table(call: Call, table: str) -> list[str]:
    """Makes it, on demand, if it is not there, and switches its TTL on; gives what was found or made, for people.

    ``call``: an operation on the table. Raises ConfigError for a table of another kind, Unreachable if it is not
    ready in time.
    """
    told = []
    if await _described(call) is None:
        if ARN.fullmatch(table):
            raise ConfigError(
                f"DynamoDB table {table} is not there",
                hint="make it in its own account and region, by its name alone: csv2kafka init dynamodb://NAME",
            )
        if await _made(call):
            told.append(f"table {table}: made, on demand")
    found = await _ready(call, table)
    _check_key(found, table)
    told = told or [f"table {table}: is there, {_billing(found)}"]
    return [*told, await _expiry(call)]


async def _described(call: Call) -> Mapping[str, Any] | None:
    try:
        answer = await call(
            "describe_table",
            doing="looking for it",
            action="dynamodb:DescribeTable",
            passing={"ResourceNotFoundException"},
        )
    except ClientError:
        return None
    table: Mapping[str, Any] = answer.get("Table", {})
    if not {"TableStatus", "KeySchema", "AttributeDefinitions"} <= table.keys():
        raise not_aws("describing the table", "there is no table in it")
    return table


async def _made(call: Call) -> bool:
    """False if somebody else makes it at this moment."""
    try:
        await call(
            "create_table",
            doing="making it",
            action="dynamodb:CreateTable",
            passing={"ResourceInUseException"},
            BillingMode="PAY_PER_REQUEST",
            **SCHEMA,
        )
    except ClientError:
        return False
    return True


async def _ready(call: Call, table: str) -> Mapping[str, Any]:
    """The table, once it can be used."""
    loop = asyncio.get_running_loop()
    until = loop.time() + READY_SECONDS
    while True:
        found = await _described(call)
        status = "not there" if found is None else found["TableStatus"]
        if found is not None and status in ("ACTIVE", "UPDATING"):
            return found
        if loop.time() > until:
            raise Unreachable(
                f"DynamoDB table {table}: expected it to be ACTIVE within {READY_SECONDS:g} s, it is {status}",
                hint="see what becomes of it in the AWS console, and run csv2kafka init again",
            )
        await asyncio.sleep(LOOK_SECONDS)


def _check_key(found: Mapping[str, Any], table: str) -> None:
    types = {each.get("AttributeName"): each.get("AttributeType") for each in found["AttributeDefinitions"]}
    if found["KeySchema"] != SCHEMA["KeySchema"] or types.get(KEY) != "S":
        keys = (
            f"{each.get('AttributeName')} ({types.get(each.get('AttributeName'))}, {each.get('KeyType')})"
            for each in found["KeySchema"]
        )
        raise wrong_key(f"DynamoDB table {table}", f"found {', '.join(keys)}")


def _billing(found: Mapping[str, Any]) -> str:
    # Absent in the answer for a table that was always provisioned.
    on_demand = found.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST"
    return "on demand" if on_demand else "with provisioned capacity"


async def _expiry(call: Call) -> str:
    """Switches the TTL on for EXPIRES; gives what it found or did."""
    enabled = await _expires_by(call)
    if enabled == EXPIRES:
        return f"TTL: is on, by {EXPIRES}"
    if enabled:
        return f"TTL: is on by another attribute, {enabled}: completed jobs are never removed, whatever ?ttl= says"
    try:
        await call(
            "update_time_to_live",
            doing="switching its TTL on",
            action="dynamodb:UpdateTimeToLive",
            passing={"ValidationException"},
            TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRES},
        )
    except ClientError as error:
        # Somebody else has done it at this moment; or it was changed within the last hour, which DynamoDB refuses.
        if (enabled := await _expires_by(call)) == EXPIRES:
            return f"TTL: is on, by {EXPIRES}"
        raise ConfigError(
            f"switching the TTL on: {code_of(error)}: {error.response.get('Error', {}).get('Message', '')}",
            hint="run csv2kafka init again in an hour; the store can be used meanwhile",
        ) from error
    return f"TTL: switched on, by {EXPIRES}"


async def _expires_by(call: Call) -> str:
    answer = await call("describe_time_to_live", doing="looking at its TTL", action="dynamodb:DescribeTimeToLive")
    said = answer.get("TimeToLiveDescription", {})
    if "TimeToLiveStatus" not in said:
        raise not_aws("looking at its TTL", "there is no TTL in it")
    return str(said.get("AttributeName", "")) if said["TimeToLiveStatus"] in ("ENABLED", "ENABLING") else ""
