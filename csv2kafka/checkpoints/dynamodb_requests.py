"""Requests to a DynamoDB checkpoint table, and what it refuses as this package's errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from botocore.exceptions import ClientError

from csv2kafka.aws.client import AwsClient, code_of, not_aws
from csv2kafka.checkpoints.dynamodb_item import ARN, KEY, Item, Value, too_large, wrong_key
from csv2kafka.checkpoints.remote import CONNECT_SECONDS, READ_SECONDS
from csv2kafka.errors import ConfigError


class Table:
    """Its name, or its ARN, whose region then counts. Each request raises what ``AwsClient.call`` does."""

    def __init__(self, name: str, *, region: str | None = None, endpoint_url: str | None = None) -> None:
        arn = ARN.fullmatch(name)
        self.name = name
        self._region = region or (arn[1] if arn else None)
        self._endpoint_url = endpoint_url
        self._opened: AwsClient | None = None

    def __str__(self) -> str:
        return f"DynamoDB table {self.name}"

    async def update(
        self,
        key: str,
        *,
        doing: str,
        condition: str,
        set: Mapping[str, Value] | None = None,
        remove: Collection[str] = (),
        given: Mapping[str, Value] | None = None,
    ) -> tuple[bool, Item]:
        """One conditional UpdateItem: whether it was done, and the item as it is then (if done: what was set, and
        when a lease was taken all of it)."""
        values = {**(set or {}), **(given or {})}
        expression = f"SET {', '.join(f'#{name} = :{name}' for name in set)}" if set else ""
        if remove:
            expression += f" REMOVE {', '.join(f'#{name}' for name in remove)}"
        try:
            answer = await self.call(
                "update_item",
                doing=doing,
                action="dynamodb:UpdateItem",
                passing={"ConditionalCheckFailedException"},
                Key={KEY: {"S": key}},
                UpdateExpression=expression.strip(),
                ConditionExpression=condition,
                ExpressionAttributeNames={
                    f"#{name}": name for name in {*(set or ()), *remove, *re.findall(r"#(\w+)", condition)}
                },
                ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
                ReturnValues="ALL_NEW" if "owner" in (set or ()) else "NONE",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            return False, error.response.get("Item", {})
        return True, answer.get("Attributes") or set or {}

    async def get(self, key: str, names: Collection[str]) -> Item:
        """The attributes ``names`` of an item, as they are now; empty if it has none of them or is not there."""
        answer = await self.call(
            "get_item",
            doing="reading it",
            action="dynamodb:GetItem",
            Key={KEY: {"S": key}},
            ConsistentRead=True,
            ProjectionExpression=", ".join(f"#{name}" for name in names),
            ExpressionAttributeNames={f"#{name}": name for name in names},
        )
        item: Item = answer.get("Item", {})
        return item

    async def scan(self, names: Collection[str], *, condition: str) -> AsyncIterator[Item]:
        """The attributes ``names`` of all items that meet the condition. Reads the whole table."""
        start: dict[str, Any] = {}
        while True:
            page = await self.call(
                "scan",
                doing="listing the jobs",
                action="dynamodb:Scan",
                ConsistentRead=True,
                ProjectionExpression=", ".join(f"#{name}" for name in names),
                FilterExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in names},
                **start,
            )
            if "Items" not in page:
                raise not_aws(f"{self}: listing the jobs", "a page without items")
            for item in page["Items"]:
                yield item
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def call(
        self, operation: str, *, doing: str, action: str, passing: Collection[str] = (), **parameters: Any
    ) -> Any:
        """An operation on the table. ``passing``: error codes that are raised as botocore's ClientError."""
        if self._opened is None:
            self._opened = AwsClient(
                "dynamodb",
                region=self._region,
                endpoint_url=self._endpoint_url,
                connect_seconds=CONNECT_SECONDS,
                read_seconds=READ_SECONDS,
            )
        told = {"ResourceNotFoundException", "ValidationException"} - set(passing)
        try:
            return await self._opened.call(
                operation,
                doing=f"{self}: {doing}",
                action=action,
                resource=f"table {self.name}",
                passing={*passing, *told},
                TableName=self.name,
                **parameters,
            )
        except ClientError as error:
            if code_of(error) not in told:
                raise
            raise self._refused(error) from error

    def _refused(self, error: ClientError) -> ConfigError:
        message = error.response.get("Error", {}).get("Message", "")
        if code_of(error) == "ResourceNotFoundException":
            return ConfigError(f"{self} is not there, or not ready yet", hint=f"csv2kafka init dynamodb://{self.name}")
        if "schema" in message or "mismatch for key" in message:
            return wrong_key(str(self), message)
        if "size" in message:
            return too_large(str(self), message)
        return ConfigError(f"{self}: {message}", hint=f"see that it is made by: csv2kafka init dynamodb://{self.name}")

    async def close(self) -> None:
        """Give back connections; the next use opens others."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()
