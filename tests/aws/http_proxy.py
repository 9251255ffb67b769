"""An HTTP proxy in front of moto that answers in its place, delays, cuts and stalls, and can go away.

    async with HttpProxy(aws.url) as proxy:
        rule = proxy.cut_body(at=1_000_000, where=gets("orders.csv"))
        ... a client with AWS_ENDPOINT_URL=proxy.url ...
        assert rule.struck == 1

Requests and answers are held as a whole: they are a range of some MiB at most. It runs in the loop that entered it;
clients may be in this process or in others. Requests need a Content-Length, as S3 and DynamoDB clients give it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
from collections.abc import Callable, Mapping
from typing import Self
from urllib.parse import urlsplit

from attrs import define, frozen

HOST = "127.0.0.1"
SLICE_BYTES = 64 << 10
SECONDS = 60.0  # for moto's answer


@frozen(eq=False)
class Request:
    """``operation``: S3's method (``GET``), or DynamoDB's (``PutItem``). ``headers``: names in small letters."""

    operation: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@frozen(eq=False)
class _Answer:
    """``head``: status line and headers, without the blank line behind them."""

    head: bytes
    body: bytes


class _Action(enum.Enum):
    ANSWER = enum.auto()
    DELAY = enum.auto()
    CUT_BEFORE = enum.auto()
    CUT_AFTER = enum.auto()
    CUT_BODY = enum.auto()
    STALL = enum.auto()


@define(eq=False)
class Rule:
    """What happens to ``times`` requests (None: to all) of those it is for. ``struck``: to how many it has."""

    action: _Action
    where: Callable[[Request], bool]
    times: int | None
    answer: _Answer | None = None
    at: int = 0
    seconds: float = 0.0
    struck: int = 0

    def strikes(self, request: Request) -> bool:
        """Count the request; whether it is one."""
        if (self.times is not None and self.struck >= self.times) or not self.where(request):
            return False
        self.struck += 1
        return True


Where = Callable[[Request], bool]


def gets(key: str, *, least: int = 0) -> Where:
    """Reads of this S3 object, of ranges of ``least`` bytes or more."""

    def is_one(request: Request) -> bool:
        first, _, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        asked = int(last) + 1 - int(first) if last else least
        path = request.path.partition("?")[0]
        return request.operation == "GET" and path.endswith(f"/{key}") and asked >= least

    return is_one


def does(*operations: str) -> Where:
    """These operations of DynamoDB."""
    return lambda request: request.operation in operations


def every(number: int, where: Where) -> Where:
    """Each ``number``-th of them."""
    count = 0

    def is_one(request: Request) -> bool:
        nonlocal count
        count += where(request)
        return where(request) and count % number == 0

    return is_one


def behind(number: int, where: Where) -> Where:
    """All but the first ``number`` of them."""
    count = 0

    def is_one(request: Request) -> bool:
        nonlocal count
        count += where(request)
        return where(request) and count > number

    return is_one


class HttpProxy:
    """See the module. ``requests``: all that came, in order of arrival. ``bytes_per_second``: of all bodies of
    answers together; None: as fast as it goes."""

    def __init__(self, url: str, *, bytes_per_second: float | None = None) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname, parts.port)
        self._rules: list[Rule] = []
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._port = 0
        self._bytes_per_second = bytes_per_second
        self._line = asyncio.Lock()
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_away()

    async def go_away(self) -> None:
        """Cut all connections and take no more: connecting is refused."""
        if self._server is not None:
            self._server.close()
            pending = set(self._serving)
            while pending:  # a task may swallow a cancellation that comes just when its connection ends
                for task in pending:
                    task.cancel()
                _, pending = await asyncio.wait(pending, timeout=0.2)
            await self._server.wait_closed()
            self._server = None

    async def come_back(self) -> None:
        """Take connections, at the same port as before."""
        self._server = await asyncio.start_server(self._accept, HOST, self._port, reuse_address=True)
        self._port = self._server.sockets[0].getsockname()[1]

    def slow_down(self, where: Where, *, times: int | None = 1) -> Rule:
        """503 SlowDown, as S3 answers when it is asked too often."""
        return self._error(503, "SlowDown", "Please reduce your request rate.", where, times)

    def internal_error(self, where: Where, *, times: int | None = 1) -> Rule:
        """500 InternalError, as S3 answers now and then."""
        return self._error(500, "InternalError", "We encountered an internal error. Please try again.", where, times)

    def throttle(self, where: Where, *, times: int | None = 1) -> Rule:
        """400 ProvisionedThroughputExceededException, as DynamoDB answers when it is asked too often."""
        kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
        body = json.dumps({"__type": kind, "message": "The level of configured provisioned throughput was exceeded."})
        answer = _answer("400 Bad Request", "application/x-amz-json-1.0", body)
        return self._add(Rule(_Action.ANSWER, where, times, answer=answer))

    def delay(self, seconds: float, where: Where, *, times: int | None = 1) -> Rule:
        """The request reaches moto ``seconds`` late."""
        return self._add(Rule(_Action.DELAY, where, times, seconds=seconds))

    def cut(self, where: Where, *, after: bool = False, times: int | None = 1) -> Rule:
        """Cut the connection: before moto sees the request, or ``after`` it did it but before it answers."""
        return self._add(Rule(_Action.CUT_AFTER if after else _Action.CUT_BEFORE, where, times))

    def cut_body(self, where: Where, *, at: int, times: int | None = 1) -> Rule:
        """Cut the connection behind ``at`` bytes of the answer's body; a body that has no more is not touched."""
        return self._add(Rule(_Action.CUT_BODY, where, times, at=at))

    def stall(self, where: Where, *, at: int, times: int | None = 1) -> Rule:
        """Send ``at`` bytes of the body, and then nothing, until the client or the proxy goes."""
        return self._add(Rule(_Action.STALL, where, times, at=at))

    def _error(self, status: int, code: str, message: str, where: Where, times: int | None) -> Rule:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return self._add(
            Rule(_Action.ANSWER, where, times, answer=_answer(f"{status} {code}", "application/xml", body))
        )

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            # Cancelled by go_away: asyncio asks this task for its error.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._serve(reader, writer):
                    pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection goes on."""
        head, request = await _read_request(reader, writer)
        self.requests.append(request)
        rule = next((rule for rule in self._rules if rule.strikes(request)), None)
        action = rule.action if rule is not None else None
        if action is _Action.CUT_BEFORE:
            return False
        if rule is not None and action is _Action.DELAY:
            await asyncio.sleep(rule.seconds)
        answer = rule.answer if rule is not None else None
        if answer is None:
            answer = await self._ask(head, request)
        if action is _Action.CUT_AFTER:
            return False
        body = answer.body
        if rule is not None and action in (_Action.CUT_BODY, _Action.STALL):
            body = body[: rule.at]
        writer.write(answer.head + b"\r\n\r\n")
        await self._send(writer, body)
        if action is _Action.STALL and len(body) < len(answer.body):
            await reader.read(1)
        return len(body) == len(answer.body)

    async def _send(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        for start in range(0, len(body), SLICE_BYTES):
            part = body[start : start + SLICE_BYTES]
            if self._bytes_per_second is not None:
                async with self._line:
                    await asyncio.sleep(len(part) / self._bytes_per_second)
            writer.write(part)
            await writer.drain()

    async def _ask(self, head: list[bytes], request: Request) -> _Answer:
        """What moto answers, over a connection of its own."""
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(b"\r\n".join([*head, b"Connection: close", b"", b""]) + request.body)
            answer = await asyncio.wait_for(reader.read(), SECONDS)
        finally:
            writer.transport.abort()
        lines, _, body = answer.partition(b"\r\n\r\n")
        kept = [line for line in lines.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return _Answer(b"\r\n".join(kept), body)


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[list[bytes], Request]:
    """Its head's lines, to be sent on, and what is in it. Raises IncompleteReadError where none comes any more."""
    lines = (await reader.readuntil(b"\r\n\r\n")).rstrip(b"\r\n").split(b"\r\n")
    pairs = [line.decode("latin-1").partition(":") for line in lines[1:]]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert "transfer-encoding" not in headers, "the proxy needs a Content-Length"
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = lines[0].decode("latin-1").split(" ", 2)
    operation = headers.get("x-amz-target", "").rpartition(".")[2] or method
    kept = [line for line in lines if not line.lower().startswith((b"connection:", b"expect:"))]
    return kept, Request(operation, path, headers, body)


def _answer(status: str, kind: str, body: str) -> _Answer:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body.encode())}"
    return _Answer(head.encode(), body.encode())
