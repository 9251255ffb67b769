"""What tests of the stores in AWS share: a loop with a virtual clock that stands while a request is under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from csv2kafka.aws.client import AwsClient
from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.testing import VirtualClockLoop

T = TypeVar("T")


@contextlib.contextmanager
def requests_take_no_time() -> Iterator[None]:
    """In a VirtualClockLoop, requests are waited for in earnest, as threads are. Time passes only between them."""
    asked = AwsClient.call

    async def call(self: AwsClient, *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualClockLoop):
            return await asked(self, *args, **kwargs)
        loop._threads += 1
        try:
            answer = await asked(self, *args, **kwargs)
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

    async def __aenter__(self) -> _Read:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self) -> bytes:
        return self._body


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """``csv2kafka.testing.run_virtual``, for what asks AWS."""
    with requests_take_no_time(), asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)


def make_table(name: str) -> None:
    """A table for DynamoDBStore."""

    async def main() -> None:
        store = DynamoDBStore(name)
        await store.create()
        await store.close()

    asyncio.run(main())
