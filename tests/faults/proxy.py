"""A TCP proxy in front of a Kafka broker that loses, delays, repeats and holds single requests and answers.

    async with FaultProxy(kafka.bootstrap_servers) as proxy:
        client = ...(bootstrap_servers=proxy.bootstrap_servers)
        rule = proxy.drop_response("EndTxn", nth=2)
        ...
        await rule.happened()

It knows Kafka's framing (length, API key, version, correlation id), matches answers to requests by their order,
and rewrites the addresses in Metadata and FindCoordinator answers, so that all traffic of its clients comes
through it, from whatever broker. Several proxies can stand before one broker. It runs in the loop that entered
it; clients may be in this process or in others. Without TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Self

from attrs import Factory, define, field, frozen

from tests.faults.addresses import rewritten

HOST = "127.0.0.1"
DRAIN_SECONDS = 5.0  # for the broker's answers to a client that has gone
HAPPEN_SECONDS = 30.0

APIS = {
    "Produce": 0, "Fetch": 1, "ListOffsets": 2, "Metadata": 3, "FindCoordinator": 10, "ApiVersions": 18,
    "CreateTopics": 19, "InitProducerId": 22, "AddPartitionsToTxn": 24, "EndTxn": 26, "DescribeConfigs": 32,
}  # fmt: skip
_NAMES = {key: name for name, key in APIS.items()}


@frozen(eq=False)
class Request:
    """A request that came through. ``connection`` counts the proxy's client connections from 1."""

    api: str
    version: int
    correlation_id: int
    connection: int
    frame: bytes


class _Action(enum.Enum):
    DELAY_REQUEST = enum.auto()
    DELAY_RESPONSE = enum.auto()
    DROP_REQUEST = enum.auto()
    DROP_RESPONSE = enum.auto()
    REPEAT_REQUEST = enum.auto()
    HOLD_REQUEST = enum.auto()
    CUT_BEFORE = enum.auto()
    CUT_AFTER = enum.auto()
    ANSWER = enum.auto()


@define(eq=False)
class Rule:
    """What happens to the ``nth`` request of an API from now on (1: the next; None: to each one)."""

    api: str
    action: _Action
    nth: int | None
    where: Callable[[Request], bool]
    seconds: float = 0.0
    body: bytes = b""
    _seen: int = 0
    _happened: asyncio.Event = Factory(asyncio.Event)
    _released: asyncio.Event = Factory(asyncio.Event)
    _answered: asyncio.Event = Factory(asyncio.Event)

    async def happened(self, seconds: float = HAPPEN_SECONDS) -> None:
        """Wait until the rule has struck for the first time: the request is there, and dropped, held, …"""
        await asyncio.wait_for(self._happened.wait(), seconds)

    async def release(self, seconds: float = HAPPEN_SECONDS) -> None:
        """Let a held request go on to the broker, and wait until the broker has answered it."""
        self._released.set()
        await self.answered(seconds)

    async def answered(self, seconds: float = HAPPEN_SECONDS) -> None:
        """Wait until the broker has answered the request (whoever gets to see the answer)."""
        await asyncio.wait_for(self._answered.wait(), seconds)

    def strikes(self, request: Request) -> bool:
        """Count the request; whether it is the one."""
        if request.api != self.api or not self.where(request):
            return False
        self._seen += 1
        if self.nth is not None and self._seen != self.nth:
            return False
        self._happened.set()
        return True


def _any(_: Request) -> bool:
    return True


class FaultProxy:
    """See the module. ``requests``: all that came, in order of arrival."""

    def __init__(self, bootstrap_servers: str) -> None:
        host, _, port = bootstrap_servers.partition(",")[0].rpartition(":")
        self._upstream = (host, int(port))
        self._servers: dict[tuple[str, int], tuple[asyncio.Server, int]] = {}
        self._tunnels: dict[_Tunnel, asyncio.Task[None]] = {}
        self._rules: list[Rule] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._connections = 0
        self.requests: list[Request] = []
        self.bootstrap_servers = ""

    async def __aenter__(self) -> Self:
        host, port = await self.stand_in_for(*self._upstream)
        self.bootstrap_servers = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for server, _port in self._servers.values():
            server.close()
        tasks = list(self._tunnels.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server, _port in self._servers.values():
            await server.wait_closed()

    def delay(self, api: str, seconds: float, *, nth: int | None = 1, where: Callable[[Request], bool] = _any) -> Rule:
        """The request, and what comes behind it on its connection, reaches the broker ``seconds`` late."""
        return self._add(api, _Action.DELAY_REQUEST, nth, where, seconds=seconds)

    def delay_response(
        self, api: str, seconds: float, *, nth: int | None = 1, where: Callable[[Request], bool] = _any
    ) -> Rule:
        """The answer, and what comes behind it, reaches the client ``seconds`` late."""
        return self._add(api, _Action.DELAY_RESPONSE, nth, where, seconds=seconds)

    def drop_request(self, api: str, *, nth: int | None = 1, where: Callable[[Request], bool] = _any) -> Rule:
        """The broker never sees it."""
        return self._add(api, _Action.DROP_REQUEST, nth, where)

    def drop_response(self, api: str, *, nth: int | None = 1, where: Callable[[Request], bool] = _any) -> Rule:
        """The broker does it; the client never hears."""
        return self._add(api, _Action.DROP_RESPONSE, nth, where)

    def repeat_request(self, api: str, *, nth: int | None = 1, where: Callable[[Request], bool] = _any) -> Rule:
        """The broker gets it twice; the client sees the first answer only."""
        return self._add(api, _Action.REPEAT_REQUEST, nth, where)

    def hold_request(self, api: str, *, nth: int | None = 1, where: Callable[[Request], bool] = _any) -> Rule:
        """Stop it, and what comes behind it on its connection, until ``release``; also when its client has gone."""
        return self._add(api, _Action.HOLD_REQUEST, nth, where)

    def cut(
        self, api: str, *, after: bool = False, nth: int | None = 1, where: Callable[[Request], bool] = _any
    ) -> Rule:
        """Cut the request's connection: before the broker sees it, or ``after`` it did it but before it answers."""
        return self._add(api, _Action.CUT_AFTER if after else _Action.CUT_BEFORE, nth, where)

    def answer(self, api: str, body: bytes, *, nth: int | None = 1, where: Callable[[Request], bool] = _any) -> Rule:
        """Answer in the broker's place, who never sees it. ``body``: what stands behind the correlation id."""
        return self._add(api, _Action.ANSWER, nth, where, body=body)

    def pause(self) -> None:
        """Nothing goes through in either direction any more; connections stay open and are still taken."""
        self._flowing.clear()

    def resume(self) -> None:
        """All that has waited goes on."""
        self._flowing.set()

    def cut_all(self) -> None:
        """Cut every connection there is."""
        for tunnel in list(self._tunnels):
            tunnel.cut()

    def count(self, api: str) -> int:
        """How many requests of this API have come."""
        return sum(request.api == api for request in self.requests)

    async def stand_in_for(self, host: str, port: int) -> tuple[str, int]:
        """The proxy's own address for a broker's."""
        if (host, port) not in self._servers:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self._connections += 1
                tunnel = _Tunnel(proxy=self, number=self._connections, client=(reader, writer), broker=(host, port))
                task = self._tunnels[tunnel] = asyncio.ensure_future(tunnel.run())
                task.add_done_callback(lambda _: self._tunnels.pop(tunnel, None))

            server = await asyncio.start_server(accept, HOST, 0)
            self._servers[host, port] = (server, server.sockets[0].getsockname()[1])
        return HOST, self._servers[host, port][1]

    async def flow(self) -> None:
        """Wait while all is paused."""
        await self._flowing.wait()

    def struck(self, request: Request) -> Rule | None:
        """Note the request; the rule that it is subject to."""
        self.requests.append(request)
        return next((rule for rule in [*self._rules] if rule.strikes(request)), None)

    def _add(
        self,
        api: str,
        action: _Action,
        nth: int | None,
        where: Callable[[Request], bool],
        *,
        seconds: float = 0.0,
        body: bytes = b"",
    ) -> Rule:
        assert api in APIS, f"{api} is not one of {', '.join(APIS)}"
        rule = Rule(api, action, nth, where, seconds, body)
        self._rules.append(rule)
        return rule


@frozen(eq=False)
class _Pending:
    """A request the broker has got, and whose answer has not come yet."""

    request: Request
    rule: Rule | None
    swallow: bool = False


@define(eq=False)
class _Tunnel:
    """One client connection and its connection to the broker."""

    proxy: FaultProxy
    number: int
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    broker: tuple[str, int]
    _upstream: asyncio.StreamWriter | None = None
    _received: asyncio.Queue[bytes | None] = field(factory=asyncio.Queue)
    _pending: deque[_Pending] = field(factory=deque)
    _none_pending: asyncio.Event = field(factory=asyncio.Event)

    async def run(self) -> None:
        try:
            await self.proxy.flow()
            answers, self._upstream = await asyncio.open_connection(*self.broker)
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._receive())
                answering = group.create_task(self._answer(answers))
                await self._forward()
                reading.cancel()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_SECONDS):
                        await self._none_pending.wait()
                answering.cancel()
        except* OSError:
            pass  # either side is gone, and the other is cut with it
        finally:
            self.cut()

    def cut(self) -> None:
        for writer in (self.client[1], self._upstream):
            if writer is not None:
                writer.transport.abort()

    async def _receive(self) -> None:
        """All the client sends, at once: what it has sent is on its way, even when it goes."""
        async for frame in _frames(self.client[0]):
            self._received.put_nowait(frame)
        self._received.put_nowait(None)

    async def _forward(self) -> None:
        self._none_pending.set()
        while (frame := await self._received.get()) is not None:
            await self.proxy.flow()
            key, version, correlation_id = struct.unpack_from(">hhi", frame)
            api = _NAMES.get(key, str(key))
            request = Request(api, version, correlation_id, self.number, frame)
            await self._apply(request, self.proxy.struck(request))

    async def _apply(self, request: Request, rule: Rule | None) -> None:
        match rule.action if rule is not None else None:
            case _Action.DROP_REQUEST:
                return
            case _Action.CUT_BEFORE:
                raise ConnectionAbortedError
            case _Action.ANSWER:
                assert rule is not None
                _write(self.client[1], struct.pack(">i", request.correlation_id) + rule.body)
                return
            case _Action.DELAY_REQUEST:
                assert rule is not None
                await asyncio.sleep(rule.seconds)
            case _Action.HOLD_REQUEST:
                assert rule is not None
                await rule._released.wait()
        self._send(_Pending(request, rule))
        if rule is not None and rule.action is _Action.REPEAT_REQUEST:
            self._send(_Pending(request, rule, swallow=True))

    def _send(self, pending: _Pending) -> None:
        assert self._upstream is not None
        self._pending.append(pending)
        self._none_pending.clear()
        _write(self._upstream, pending.request.frame)

    async def _answer(self, answers: asyncio.StreamReader) -> None:
        async for frame in _frames(answers):
            await self.proxy.flow()
            pending = self._pending.popleft()
            assert struct.unpack_from(">i", frame)[0] == pending.request.correlation_id
            await self._pass_on(pending, frame)
            if not self._pending:
                self._none_pending.set()
        raise ConnectionResetError  # the broker has gone

    async def _pass_on(self, pending: _Pending, frame: bytes) -> None:
        rule, request = pending.rule, pending.request
        if rule is not None and (pending.swallow or rule.action is not _Action.REPEAT_REQUEST):
            rule._answered.set()
        if pending.swallow or (rule is not None and rule.action is _Action.DROP_RESPONSE):
            return
        if rule is not None and rule.action is _Action.CUT_AFTER:
            raise ConnectionAbortedError
        if rule is not None and rule.action is _Action.DELAY_RESPONSE:
            await asyncio.sleep(rule.seconds)
        _write(self.client[1], await rewritten(request.api, request.version, frame, self.proxy.stand_in_for))


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Length-prefixed messages, without the length, until the other side is gone."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            yield await reader.readexactly(size)


def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    if not writer.transport.is_closing():
        writer.write(struct.pack(">i", len(frame)))
        writer.write(frame)
