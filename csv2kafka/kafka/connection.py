"""One connection to one broker, opened once: all that is leaned on of aiokafka beyond its documented interface.

``aiokafka.conn.AIOKafkaConnection`` gives TLS, SASL, API versions, correlation ids and the task that reads
answers. Not used is the client above it: it opens connections again in silence and keeps no cause of a failure,
and its requests copy a batch six times. What is relied on is pinned in test_aiokafka_reliance.py.

Ours are: a request whose last field is written from where it stands, time-outs that close the connection, and
closing that drops what has not been sent.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, TypeVar

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Response
from typing_extensions import Buffer

from csv2kafka.errors import ConfigError, Doubt
from csv2kafka.kafka.security import likely_cause, refused_handshake, words
from csv2kafka.kafka.settings import ClientSettings
from csv2kafka.kafka.wire import Request

R = TypeVar("R", bound=Response)

SEND_BUFFER_BYTES = 1 << 20  # about a batch: fewer wake-ups of the loop for each
CLOSE_SECONDS = 1.0

_SIZE = struct.Struct(">i")
# What opening a connection, or an answer on it, fails with when it is not a mistake in the program. ValueError:
# a SCRAM server that does not know the password either.
_FAILURES = (KafkaError, OSError, EOFError, TimeoutError, ValueError)


class Answer:
    """A request on its way: the future of its answer, and when it went out (the loop's time)."""

    def __init__(self, name: str, future: asyncio.Future[Any], sent_at: float) -> None:
        self.name = name
        self.future = future
        self.sent_at = sent_at


class Connection(AIOKafkaConnection):
    """Requests in the order of ``post``, answers in the same order. Closed once, it stays closed."""

    def __init__(self, host: str, port: int, settings: ClientSettings) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            host,
            port,
            client_id=settings.client_id,
            request_timeout_ms=int(settings.request_seconds * 1000),
            max_idle_ms=None,  # a session that has nothing to say is not one in doubt
            **settings.security.arguments,
        )
        self.address = f"{host}:{port}"
        self._seconds = settings.request_seconds
        self._answered_at: float | None = None  # when the last answer to a ``post`` came
        self._why_closed = ""

    @classmethod
    async def open(cls, host: str, port: int, settings: ClientSettings) -> Connection:
        """Connect, shake hands, log in, learn the broker's versions.

        Raises NotAuthorized or ConfigError where waiting does not help, else Doubt, with a guess at the cause.
        """
        connection = cls(host, port, settings)
        try:
            async with asyncio.timeout(settings.connect_seconds):
                await connection.connect()  # type: ignore[no-untyped-call]
        except _FAILURES as error:
            address, secured = connection.address, settings.security
            final = refused_handshake(error, address, secured)
            raise final or Doubt(f"{address}: {words(error)}", hint=likely_cause(error, secured.protocol)) from error
        connection._tune()
        return connection

    def post(self, request: Request, tail: Buffer = b"") -> Answer:
        """Write the request, and ``tail`` behind its last field; both go out in the order of the calls.

        ``tail`` must not be changed before the answer is there. Doubt if the connection is gone.
        """
        if not self.connected() or self._writer is None:  # type: ignore[no-untyped-call]
            raise self._gone(request.NAME)
        low, high = self._versions.get(request.API_KEY, (0, -1))
        if not low <= request.API_VERSION <= high:
            raise ConfigError(
                f"{self.address}: the broker does not speak {request.NAME} version {request.API_VERSION} "
                f"({f'it speaks {low} to {high}' if high >= low else 'nor any other'})",
                hint="Kafka 2.8 to 4.x is needed",
            )
        number = self._next_correlation_id()  # type: ignore[no-untyped-call]
        head = request.build_request_header(number, self._client_id).encode() + request.encode()
        body = memoryview(tail).cast("B")  # a view: transports slice what they could not send at once
        self._writer.write(_SIZE.pack(len(head) + len(body)) + head)
        if len(body):
            self._writer.write(body)
        future: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(self._note_answer)
        self._requests.append((number, request, future))
        return Answer(request.NAME, future, self._loop.time())

    async def answer(self, posted: Answer, kind: type[R]) -> R:
        """Wait for it. Doubt if the connection is cut, or nothing at all came from it for the time allowed.

        The time begins anew with each answer on this connection: behind four large batches on a slow line, the
        fourth is not late because of the others. The wait stays bounded by what was in flight before it.
        """
        while not posted.future.done():
            await asyncio.wait({posted.future}, timeout=self._due(posted) - self._loop.time())
            if not posted.future.done() and self._loop.time() >= self._due(posted):
                self._why_closed = f"{posted.name} had no answer in {self._seconds:g} s"
                self.close(CloseReason.CONNECTION_TIMEOUT)
                raise Doubt(f"{self.address}: {self._why_closed}: its outcome is unknown")
        try:
            answer = posted.future.result()
        except _FAILURES as error:
            hint = likely_cause(error, self._security_protocol) if self._answered_at is None else ""
            raise Doubt(f"{self.address}: {posted.name} had no answer: {words(error)}", hint=hint) from error
        assert isinstance(answer, kind)
        return answer

    async def ask(self, request: Request, kind: type[R]) -> R:
        """``post`` and ``answer``."""
        return await self.answer(self.post(request), kind)

    def close(self, reason: CloseReason | None = None, exc: BaseException | None = None) -> asyncio.Future[None] | None:
        """Close at once. What has not been sent yet is dropped: nobody waits for its answer any more."""
        writer = self._writer
        if exc is not None and not self._why_closed:
            self._why_closed = words(exc)
        closed: asyncio.Future[None] | None = super().close(reason, exc)  # type: ignore[no-untyped-call]
        if writer is not None:
            writer.transport.abort()
        return closed

    def _due(self, posted: Answer) -> float:
        return max(posted.sent_at, self._answered_at or 0.0) + self._seconds

    def _gone(self, name: str) -> Doubt:
        why = f" ({self._why_closed})" if self._why_closed else ""
        return Doubt(f"{self.address}: {name} not sent: the connection is closed{why}, and a session has but one")

    def _note_answer(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._answered_at = self._loop.time()

    def _tune(self) -> None:
        raw = self._writer.get_extra_info("socket") if self._writer is not None else None
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def close_all(connections: list[Connection]) -> None:
    """Close them and wait, not for long, until they are."""
    closing = [closed for connection in connections if (closed := connection.close()) is not None]
    if closing:
        await asyncio.wait(closing, timeout=CLOSE_SECONDS)
