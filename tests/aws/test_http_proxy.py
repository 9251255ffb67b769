"""The proxy that the fault tests lean on does what it says, as boto3 without retries sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from tests.aws.conftest import Aws
from tests.aws.http_proxy import HttpProxy, Request, does, every, gets

CONTENT = bytes(range(256)) * 100


@pytest.fixture
async def proxy(aws: Aws) -> AsyncIterator[HttpProxy]:
    async with HttpProxy(aws.url) as proxy:
        yield proxy


def client(service: str, proxy: HttpProxy) -> Any:
    config = Config(retries={"total_max_attempts": 1}, read_timeout=1)
    return boto3.client(service, endpoint_url=proxy.url, config=config)


@pytest.fixture
def read(aws: Aws, bucket: str, proxy: HttpProxy) -> Callable[[], bytes]:
    """Reads the object through the proxy."""
    aws.client("s3").put_object(Bucket=bucket, Key="a.csv", Body=CONTENT)

    def get() -> bytes:
        answer = client("s3", proxy).get_object(Bucket=bucket, Key="a.csv", Range="bytes=10-")
        content: bytes = answer["Body"].read()
        return content

    return get


async def test_hands_on_what_is_asked_and_answered(proxy: HttpProxy, read: Callable[[], bytes], bucket: str) -> None:
    assert await asyncio.to_thread(read) == CONTENT[10:]
    assert [(each.operation, each.path) for each in proxy.requests] == [("GET", f"/{bucket}/a.csv")]

    def write_and_look() -> bytes:
        s3 = client("s3", proxy)
        s3.put_object(Bucket=bucket, Key="b.csv", Body=b"new")
        content: bytes = s3.get_object(Bucket=bucket, Key="b.csv")["Body"].read()
        return content

    assert await asyncio.to_thread(write_and_look) == b"new"


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError")])
async def test_answers_in_its_place(proxy: HttpProxy, read: Callable[[], bytes], status: int, code: str) -> None:
    rule = (proxy.slow_down if status == 503 else proxy.internal_error)(gets("a.csv"))
    with pytest.raises(ClientError) as raised:
        await asyncio.to_thread(read)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert rule.struck == 1
    assert await asyncio.to_thread(read) == CONTENT[10:]


async def test_throttles_dynamodb(proxy: HttpProxy) -> None:
    proxy.throttle(does("ListTables"))
    with pytest.raises(ClientError, match="ProvisionedThroughputExceeded"):
        await asyncio.to_thread(lambda: client("dynamodb", proxy).list_tables())
    assert proxy.requests[0].operation == "ListTables"
    assert "TableNames" in await asyncio.to_thread(lambda: client("dynamodb", proxy).list_tables())


async def test_cuts_in_the_middle_of_a_body(proxy: HttpProxy, read: Callable[[], bytes]) -> None:
    proxy.cut_body(gets("a.csv"), at=1000)
    with pytest.raises(ResponseStreamingError):
        await asyncio.to_thread(read)


@pytest.mark.parametrize("after", [False, True])
async def test_cuts_around_the_request(proxy: HttpProxy, aws: Aws, bucket: str, after: bool) -> None:
    proxy.cut(lambda request: request.operation == "PUT", after=after)
    with pytest.raises(ConnectionClosedError):
        await asyncio.to_thread(lambda: client("s3", proxy).put_object(Bucket=bucket, Key="b", Body=b"1"))
    done = "Contents" in aws.client("s3").list_objects_v2(Bucket=bucket)
    assert done is after


async def test_stalls(proxy: HttpProxy, read: Callable[[], bytes]) -> None:
    proxy.stall(gets("a.csv"), at=1000)
    with pytest.raises(ReadTimeoutError):
        await asyncio.to_thread(read)


async def test_goes_away_and_comes_back(proxy: HttpProxy, read: Callable[[], bytes]) -> None:
    url = proxy.url
    await proxy.go_away()
    with pytest.raises(EndpointConnectionError):
        await asyncio.to_thread(read)
    await proxy.come_back()
    assert proxy.url == url
    assert await asyncio.to_thread(read) == CONTENT[10:]


def test_every_third() -> None:
    where = every(3, does("GET"))
    assert [where(Request(name, "/", {}, b"")) for name in ("GET", "PUT", "GET", "GET", "GET")] == [
        False, False, False, True, False,
    ]  # fmt: skip
