"""What tests of the stores in AWS share: a virtual clock that stands while a request is under way, and lost answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from attrs import define
from botocore.exceptions import ClientError

from csv2kafka.aws.client import AwsClient
from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.errors import Csv2KafkaError
from csv2kafka.protocols import HEARTBEAT_SECONDS, Lease
from csv2kafka.testing import VirtualClockLoop

T = TypeVar("T")


@define
class Answers:
    """``lost``: of so many of the next writes the answer is lost, and botocore asks again."""

    lost: int = 0

    def loses(self, operation: str) -> bool:
        if not self.lost or operation not in ("update_item", "put_object"):
            return False
        self.lost -= 1
        return True


@contextlib.contextmanager
def requests_take_no_time(answers: Answers | None = None) -> Iterator[None]:
    """In a VirtualClockLoop, requests are waited for in earnest, as threads are. Time passes only between them."""
    asked = AwsClient.call

    async def call(self: AwsClient, operation: str, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        loop._threads += 1
        try:
            if answers is not None and answers.loses(operation):
                with contextlib.suppress(ClientError, Csv2KafkaError):
                    await asked(self, operation, **kwargs)
            answer = await asked(self, operation, **kwargs)
            if "Body" in answer:
                await _read(answer)
            return answer
        finally:
            loop._threads -= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsClient, "call", call)
        yield


async def _read(answer: dict[str, Any]) -> None:
    """Have the body at hand, since the clock stands only until the answer is given."""
    async with answer["Body"] as stream:
        body = await stream.read()
    answer["Body"] = _Read(body)


class _Read:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    async def __aenter__(self) -> _Read:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self, count: int = -1) -> bytes:
        start, self._at = self._at, len(self._body) if count < 0 else self._at + count
        return self._body[start : self._at]


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """``csv2kafka.testing.run_virtual``, for what asks AWS."""
    with requests_take_no_time(), asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)


async def beat_again(lease: Lease) -> None:
    """The next heartbeat of a run that lives."""
    await asyncio.sleep(HEARTBEAT_SECONDS)
    await lease.renew()


@contextlib.asynccontextmanager
async def no_aws(page: bytes = b"<html>") -> AsyncIterator[str]:
    """The address of a server that has the same page for every request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", asked)
                await reader.readexactly(int(length[1]) if length else 0)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
                writer.write(head.encode() + page)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def make_table(name: str) -> None:
    """A table for DynamoDBStore."""

    async def main() -> None:
        store = DynamoDBStore(name)
        await store.create()
        await store.close()

    asyncio.run(main())
