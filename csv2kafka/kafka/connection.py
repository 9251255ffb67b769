"""One connection to one broker, opened once: all that is leaned on of aiokafka beyond its documented interface.

``aiokafka.conn.AIOKafkaConnection`` gives TLS, SASL, API versions, correlation ids and the task that reads
answers. Not used is the client above it: it opens connections again in silence and keeps no cause of a failure,
and its requests copy a batch six times. What is relied on is pinned in test_aiokafka_reliance.py.

Ours are: a request whose last field is written from where it stands, time-outs that close the connection,
closing that drops what has not been sent, and logging in again before a login's time is over (KIP-368): a broker
closes a connection at the first request behind that time.
"""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.api import Response
from attrs import frozen
from typing_extensions import Buffer

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt
from csv2kafka.kafka.security import check_scram, likely_cause, refused_handshake, words
from csv2kafka.kafka.settings import ClientSettings
from csv2kafka.kafka.wire import (
    Request,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)

R = TypeVar("R", bound=Response)

LARGEST_ANSWER_BYTES = (
    257 << 20
)  # a batch of more could not be unpacked, and what a broker says is not to fill the memory
SEND_BUFFER_BYTES = 1 << 20  # about a batch: fewer wake-ups of the loop for each
CLOSE_SECONDS = 1.0
LONGEST_THROTTLE_MS = 60_000  # what is held back for longer is late: transactions do not live much longer
# Of a login's time, what is over when the next begins: the rest is for the network and the clocks. Connections are
# spread over a tenth of it, as Kafka's own clients spread them.
LOGIN_AGAIN = (0.85, 0.95)
LOGINS_APART_SECONDS = 1.0  # brokers refuse a second one within a second
# OAUTHBEARER: why a token is refused comes in an answer without an error; heard, the broker sends the error
# (RFC 7628, 3.2.3). aiokafka takes the first for a yes.
_HEARD = b"\x01"

_SIZE = struct.Struct(">i")
# What opening a connection, or an answer on it, fails with when it is not a mistake in the program. ValueError:
# a SCRAM server that does not know the password either.
_FAILURES = (KafkaError, OSError, EOFError, TimeoutError, ValueError, OverflowError)
# What reading an answer that makes no sense comes to in aiokafka's own hands.
_NONSENSE = (AssertionError, LookupError, TypeError, ValueError)


class TooLong(ValueError):
    """A length that no answer has. ``expected``: that length, by which another protocol is known."""

    def __init__(self, message: str, expected: int) -> None:
        super().__init__(message)
        self.expected = expected


class Answer:
    """A request on its way: the future of its answer, and when it went out (the loop's time)."""

    def __init__(self, name: str, future: asyncio.Future[Any], sent_at: float) -> None:
        self.name = name
        self.future = future
        self.sent_at = sent_at


@frozen(kw_only=True, eq=False)
class _Held:
    """A request that waits until a login is over."""

    request: Request
    tail: Buffer
    future: asyncio.Future[Any]


class Connection(AIOKafkaConnection):
    """Requests in the order of ``post``, answers in the same order. Closed once, it stays closed.

    A login that is held again is a conversation in which nothing else may be said. So what is posted meanwhile
    waits, in order, and behind what was posted before: a round trip or two, once in each login's time. If it
    fails, the connection closes, and the session's end is the doubt it always is; the next session's own login
    tells whether waiting helps.
    """

    def __init__(
        self, host: str, port: int, settings: ClientSettings, draw: Callable[[], float] = random.random
    ) -> None:
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
        self._answered_at: float | None = None  # when the last answer came, or when the broker reads on behind it
        self._why_closed = ""
        self._draw = draw
        self._logging_in = False
        self._login_ends = math.inf  # the loop's time, not later than the broker's
        self._held: list[_Held] = []
        self._next_login: asyncio.TimerHandle | None = None
        self._login: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, host: str, port: int, settings: ClientSettings) -> Connection:
        """Connect, shake hands, log in, learn the broker's versions.

        Raises NotAuthorized or ConfigError where waiting does not help, else Doubt, with a guess at the cause.
        """
        connection = cls(host, port, settings)
        try:
            async with asyncio.timeout(settings.connect_seconds):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (*_FAILURES, *_NONSENSE, Doubt) as error:
            address, secured = connection.address, settings.security
            final = refused_handshake(error, address, secured)
            if final is None and isinstance(error, Doubt):
                raise
            hint = likely_cause(error, secured.protocol, host)
            raise final or Doubt(f"{address}: {words(error)}", hint=hint) from error
        connection._tune()
        return connection

    def post(self, request: Request, tail: Buffer = b"") -> Answer:
        """Write the request, and ``tail`` behind its last field; both go out in the order of the calls.

        ``tail`` must not be changed before the answer is there. Doubt if the connection is gone.
        """
        if not self.connected() or self._writer is None:  # type: ignore[no-untyped-call]
            raise self._gone(request.NAME)
        self.speaks(request)
        future: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(self._note_answer)
        held = _Held(request=request, tail=tail, future=future)
        now = self._loop.time()
        if self._logging_in or now >= self._login_ends:
            self._held.append(held)
        else:
            self._put(held)
        return Answer(request.NAME, future, now)

    def speaks(self, request: Request | type[Request]) -> None:
        """ConfigError if the broker does not speak the request in its one version."""
        low, high = self._versions.get(request.API_KEY, (0, -1))
        if not low <= request.API_VERSION <= high:
            raise ConfigError(
                f"{self.address}: the broker does not speak {request.NAME} version {request.API_VERSION} "
                f"({f'it speaks {low} to {high}' if high >= low else 'nor any other'})",
                hint="Kafka 2.8 to 4.x is needed",
            )

    def certificate(self) -> dict[str, Any]:
        """The broker's, as ``ssl.SSLSocket.getpeercert`` has it; empty without TLS, or where it was not verified."""
        secured = None if self._writer is None else self._writer.get_extra_info("ssl_object")
        return (secured.getpeercert() if secured is not None else None) or {}

    async def answer(self, posted: Answer, kind: type[R]) -> R:
        """Wait for it. Doubt if the connection is cut, or nothing at all came from it for the time allowed.

        The time begins anew with each answer on this connection, and behind the pause that a quota makes after it:
        behind four large batches on a slow line, the fourth is not late because of the others. The wait stays
        bounded by what was in flight before it.
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
            hint = likely_cause(error, self._security_protocol, self._host) if self._answered_at is None else ""
            why = self._why_closed or words(error)
            raise Doubt(f"{self.address}: {posted.name} had no answer: {why}", hint=hint) from error
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
        if self._next_login is not None:
            self._next_login.cancel()
        if self._login is not None:
            self._login.cancel()
        self._requests.extend((None, held.request, held.future) for held in self._held)  # they fail with the others
        self._held.clear()
        closed: asyncio.Future[None] | None = super().close(reason, exc)  # type: ignore[no-untyped-call]
        if writer is not None:
            writer.transport.abort()
        return closed

    @property
    def login(self) -> asyncio.Task[None] | None:
        """The latest login that was held on the open connection."""
        return self._login

    def _put(self, held: _Held) -> None:
        """Write it."""
        assert self._writer is not None
        number = self._next_correlation_id()  # type: ignore[no-untyped-call]
        head = held.request.build_request_header(number, self._client_id).encode() + held.request.encode()
        body = memoryview(held.tail).cast("B")  # a view: transports slice what they could not send at once
        self._writer.write(_SIZE.pack(len(head) + len(body)) + head)
        if len(body):
            self._writer.write(body)
        self._requests.append((number, held.request, held.future))

    @staticmethod
    async def _read(self_ref: weakref.ref[Connection]) -> None:
        """aiokafka's own, with a bound. The connection is not held while an answer is awaited: nobody may want it."""
        connection = self_ref()
        reader = None if connection is None else connection._reader
        del connection
        while reader is not None:
            (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
            if not 0 <= size <= LARGEST_ANSWER_BYTES:
                raise TooLong(f"expected an answer of at most {LARGEST_ANSWER_BYTES:,} bytes, found {size:,}", size)
            frame = await reader.readexactly(size)
            connection = self_ref()
            if connection is None:
                return
            connection._handle_frame(frame)  # type: ignore[no-untyped-call]
            del connection

    async def _do_sasl_handshake(self) -> None:
        """Log in: ``connect`` calls it behind the look-up of versions. aiokafka's own forgets how long it lasts."""
        steps = self._authenticator()
        step = await self._first_step(steps)  # a token may take its time; what is posted until then still goes out
        self._logging_in = True
        sent_at = self._loop.time()
        handshake = await self._say(SaslHandshakeRequest(self._sasl_mechanism), SaslHandshakeResponse)
        if handshake.error_code:
            raise for_code(handshake.error_code)(
                f"it takes {', '.join(map(str, handshake.mechanisms or ())) or 'none'}"
            )
        lifetime_ms = 0
        while step is not None:
            payload, _ = step
            sent_at = self._loop.time()
            said = await self._say(SaslAuthenticateRequest(payload), SaslAuthenticateResponse)
            if said.error_code:
                raise for_code(said.error_code)(said.error_message)
            lifetime_ms = said.session_lifetime_ms
            step = await self._next_step(steps, said.auth_bytes)
            if step is None and self._sasl_mechanism == "OAUTHBEARER" and said.auth_bytes:
                step = _HEARD, True
        self._logged_in(sent_at, lifetime_ms / 1000)

    async def _first_step(self, steps: Any) -> Any:
        """What to say first. Doubt if a token provider fails or takes too long, but for errors of this package."""
        try:
            async with asyncio.timeout(self._seconds):
                return await steps.step(None)
        except Csv2KafkaError:
            raise
        except Exception as error:
            told = f"nothing came in {self._seconds:g} s" if isinstance(error, TimeoutError) else repr(error)
            raise Doubt(
                f"{self.address}: SASL {self._sasl_mechanism}: no credentials to log in with: {told}"
            ) from error

    async def _next_step(self, steps: Any, said: bytes | None) -> Any:
        if self._sasl_mechanism.startswith("SCRAM"):
            check_scram(said or b"", self.address)
        try:
            return await steps.step(said or b"")
        except ValueError:
            raise
        except _NONSENSE as error:
            raise Doubt(
                f"{self.address}: SASL {self._sasl_mechanism}: what the broker said is no part of logging in: {error!r}"
            ) from error

    def _authenticator(self) -> Any:
        """aiokafka's, new for each login."""
        by_mechanism: dict[str, Callable[[], Any]] = {
            "PLAIN": self.authenticator_plain,
            "OAUTHBEARER": self.authenticator_oauth,
            "GSSAPI": self.authenticator_gssapi,
        }
        return by_mechanism.get(self._sasl_mechanism, self.authenticator_scram)()

    async def _say(self, request: Request, kind: type[R]) -> R:
        """Ask, while all else is held."""
        if self._writer is None:
            raise self._gone(request.NAME)
        future: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(self._note_answer)
        self._put(_Held(request=request, tail=b"", future=future))
        return await self.answer(Answer(request.NAME, future, self._loop.time()), kind)

    def _logged_in(self, sent_at: float, seconds: float) -> None:
        """Send what was held. ``seconds``: how long the login lasts; 0: for ever."""
        self._logging_in, self._login_ends = False, math.inf
        if seconds > 0:
            self._login_ends = sent_at + seconds
            low, high = LOGIN_AGAIN
            pause = max(seconds * (low + (high - low) * self._draw()), LOGINS_APART_SECONDS)
            self._next_login = self._loop.call_at(sent_at + pause, self._begin_login)
        held, self._held = self._held, []
        for one in held:
            self._put(one)

    def _begin_login(self) -> None:
        self._login = self._loop.create_task(self._log_in_again())

    async def _log_in_again(self) -> None:
        try:
            await self._do_sasl_handshake()
        except Exception as error:  # a mistake in a mechanism too: nobody else awaits this task
            told = error.message if isinstance(error, Csv2KafkaError) else words(error)
            self._why_closed = f"logging in again failed: {told}"
            self.close(CloseReason.AUTH_FAILURE, error)

    def _due(self, posted: Answer) -> float:
        return max(posted.sent_at, self._answered_at or 0.0) + self._seconds

    def _gone(self, name: str) -> Doubt:
        why = f" ({self._why_closed})" if self._why_closed else ""
        return Doubt(f"{self.address}: {name} not sent: the connection is closed{why}, and a session has but one")

    def _note_answer(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            # A broker that holds a client to a quota says so, and reads nothing more from it for that time.
            held_back_ms = min(getattr(future.result(), "throttle_time_ms", 0), LONGEST_THROTTLE_MS)
            self._answered_at = self._loop.time() + held_back_ms / 1000

    def _tune(self) -> None:
        raw = self._writer.get_extra_info("socket") if self._writer is not None else None
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def close_all(connections: list[Connection]) -> None:
    """Close them and wait, not for long, until they are."""
    closing: list[asyncio.Future[None]] = []
    for connection in connections:
        closed = connection.close()
        closing += [one for one in (closed, connection.login) if one is not None]
    if closing:
        await asyncio.wait(closing, timeout=CLOSE_SECONDS)
