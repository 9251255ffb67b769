"""Objects of a bucket, written only over the version that is expected there. ``s3`` keeps checkpoints in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from typing import Any

from botocore.exceptions import ClientError

from csv2kafka.aws.client import FAILURES, AwsClient, code_of, explained, not_aws
from csv2kafka.aws.http import held
from csv2kafka.aws.listing import keys_of, next_page
from csv2kafka.checkpoints.remote import CONNECT_SECONDS, READ_SECONDS
from csv2kafka.errors import ConfigError, Csv2KafkaError, StateContradiction

LARGEST_BYTES = 256 << 20  # a manifest of a million objects is smaller; an endless body is not to fill the memory
NOT_DONE = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409"})
ABSENT = frozenset({"NoSuchKey"})  # a 404 without S3's word for it may be a proxy's, and a checkpoint be there
REFUSED = frozenset({"AccessDenied", "403"})


class Bucket:
    """Its name, or an access point's ARN. Keys are whole; each body is small enough to be held."""

    def __init__(self, name: str, *, region: str | None = None, endpoint_url: str | None = None) -> None:
        self.name = name
        self._region = region
        self._endpoint_url = endpoint_url
        self._opened: AwsClient | None = None

    def url(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    async def get(self, key: str) -> tuple[bytes | None, str | None]:
        """An object's body and ETag; None if there is none."""
        try:
            answer = await self._call("get_object", key, action="s3:GetObject", passing=ABSENT | REFUSED)
        except ClientError as error:
            # To whom it does not let list the whole bucket, S3 does not say that an object is absent.
            if code_of(error) in ABSENT or not await self._is_listed(key):
                return None, None
            where = self.url(key)
            raise explained(error, doing=f"reading {where}", action="s3:GetObject", resource=where) from error
        try:
            async with asyncio.timeout(READ_SECONDS), answer["Body"] as stream:
                etag, body = self._etag(answer), await held(stream.read, LARGEST_BYTES)
        except FAILURES as error:
            raise explained(error, doing=f"reading {self.url(key)}") from error
        if len(body) > LARGEST_BYTES:
            raise StateContradiction(
                f"{self.url(key)}: it has more than {LARGEST_BYTES:,} bytes, and is none of a checkpoint store",
                hint="see what wrote it, or give another prefix",
            )
        return body, etag

    async def put_over(self, key: str, body: bytes, etag: str | None) -> str | None:
        """The ETag of what was written over ``etag`` (None: where nothing stood); None if that does not stand there."""
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        try:
            answer = await self._call(
                "put_object",
                key,
                action="s3:PutObject",
                passing=NOT_DONE,
                Body=body,
                ContentType="application/json",
                **condition,
            )
        except ClientError:
            return None
        return self._etag(answer)

    async def put_new(self, key: str, body: bytes) -> None:
        """Write an object whose name was never used before."""
        await self._call("put_object", key, action="s3:PutObject", Body=body, ContentType="application/json")

    async def drop(self, key: str) -> None:
        """Delete what nothing names any more; left there, it only takes room."""
        with suppress(Csv2KafkaError):
            await self._call("delete_object", key, action="s3:DeleteObject")

    async def _is_listed(self, key: str) -> bool:
        page = await self._call("list_objects_v2", None, action="s3:ListBucket", Prefix=key, MaxKeys=1)
        return key in keys_of(page, self.url(key))

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        more: dict[str, str] = {}
        while True:
            page = await self._call("list_objects_v2", None, action="s3:ListBucket", Prefix=prefix, **more)
            for key in keys_of(page, self.url(prefix)):
                yield key
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": next_page(page, more, self.url(prefix))}

    async def _call(
        self, operation: str, key: str | None, *, action: str, passing: Collection[str] = (), **parameters: Any
    ) -> Any:
        """An operation on an object (None: on the bucket). Raises what ``AwsClient.call`` does."""
        if self._opened is None:
            self._opened = AwsClient(
                "s3",
                region=self._region,
                endpoint_url=self._endpoint_url,
                connect_seconds=CONNECT_SECONDS,
                read_seconds=READ_SECONDS,
            )
        where = self.url("" if key is None else key)
        try:
            return await self._opened.call(
                operation,
                doing=f"{where}: {operation.replace('_', ' ')}",
                action=action,
                resource=where,
                passing={*passing, "NoSuchBucket"},
                Bucket=self.name,
                **({} if key is None else {"Key": key}),
                **parameters,
            )
        except ClientError as error:
            if code_of(error) != "NoSuchBucket":
                raise
            raise ConfigError(
                f"s3://{self.name}: there is no such bucket", hint="make it, or give another one"
            ) from error

    def _etag(self, answer: Mapping[str, Any]) -> str:
        if "ETag" not in answer:
            raise not_aws(f"s3://{self.name}", "it gives an object no ETag")
        return str(answer["ETag"])

    async def close(self) -> None:
        """Give back connections; the next use opens others."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()
