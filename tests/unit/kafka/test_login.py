"""Logging in again on an open connection: when, what waits meanwhile, and what its failure means."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka.abc import AbstractTokenProvider
from attrs import evolve

from csv2kafka.errors import ConfigError, Doubt, NotAuthorized
from csv2kafka.kafka import connection as module
from csv2kafka.kafka import wire
from csv2kafka.kafka.connection import Answer, Connection, close_all
from csv2kafka.kafka.settings import client_settings
from tests.unit.kafka.fake_node import FakeNode, Says

END = wire.EndTxnRequest("job", 1, 0, True)
DONE = struct.pack(">ih", 0, 0)
LIFETIME_MS = 200
REFUSED = 58  # SASL_AUTHENTICATION_FAILED


def handshake(*mechanisms: str, error: int = 0) -> bytes:
    listed = b"".join(struct.pack(">h", len(name)) + name.encode() for name in mechanisms)
    return struct.pack(">hi", error, len(mechanisms)) + listed


def authenticated(auth_bytes: bytes = b"", *, lifetime_ms: int = LIFETIME_MS, error: int = 0, said: str = "") -> bytes:
    message = struct.pack(">h", len(said)) + said.encode()
    return (
        struct.pack(">h", error)
        + message
        + struct.pack(f">i{len(auth_bytes)}sq", len(auth_bytes), auth_bytes, lifetime_ms)
    )


class Tokens(AbstractTokenProvider):
    """Gives "token" when ``ready``, or raises what it is told to."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.ready.set()
        self.asked = 0
        self.fails: Exception | None = None

    async def token(self) -> str:
        self.asked += 1
        await self.ready.wait()
        if self.fails is not None:
            raise self.fails
        return "token"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOGINS_APART_SECONDS", 0.0)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    says: dict[str, Says] = {
        "EndTxn": lambda _: DONE,
        "SaslHandshake": lambda _: handshake("OAUTHBEARER"),
        "SaslAuthenticate": lambda _: authenticated(),
    }
    async with FakeNode(says) as node:
        yield node


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


async def opened(node: FakeNode, tokens: Tokens, request_seconds: float = 5.0) -> Connection:
    options = {
        "bootstrap_servers": "unused",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_oauth_token_provider": tokens,
    }
    settings = evolve(client_settings(options), request_seconds=request_seconds)
    return await Connection.open("127.0.0.1", node.port, settings)


@pytest.fixture
async def connection(node: FakeNode, tokens: Tokens) -> AsyncIterator[Connection]:
    connection = await opened(node, tokens)
    yield connection
    await close_all([connection])


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


def names(node: FakeNode) -> list[str]:
    return [name for _, name, _ in node.requests]


async def test_an_idle_connection_logs_in_again_and_again(node: FakeNode, connection: Connection) -> None:
    await until(lambda: node.count("SaslAuthenticate") == 4)
    assert names(node)[:8] == ["SaslHandshake", "SaslAuthenticate"] * 4
    assert (await connection.ask(END, wire.EndTxnResponse)).error_code == 0
    assert node.connections == 1


async def test_a_login_that_lasts_for_ever_is_held_once(node: FakeNode, tokens: Tokens) -> None:
    node.says["SaslAuthenticate"] = lambda _: authenticated(lifetime_ms=0)
    connection = await opened(node, tokens)
    assert connection._next_login is None
    await close_all([connection])


async def test_what_is_posted_meanwhile_goes_out_behind_it_in_order(node: FakeNode, connection: Connection) -> None:
    """The node posts in the client's name when the second login has begun."""
    posted: list[Answer] = []
    ends = [wire.EndTxnRequest("job", number, 0, True) for number in range(3)]

    def amid(answer: bytes, *requests: wire.Request) -> Says:
        def say(_: bytes) -> bytes:
            posted.extend(connection.post(request) for request in requests)
            return answer

        return say

    node.says["SaslHandshake"] = amid(handshake("OAUTHBEARER"), ends[0], ends[1])
    node.says["SaslAuthenticate"] = amid(authenticated(lifetime_ms=0), ends[2])
    await until(lambda: len(posted) == 3)
    for one in posted:
        assert (await connection.answer(one, wire.EndTxnResponse)).error_code == 0
    assert names(node) == ["SaslHandshake", "SaslAuthenticate"] * 2 + ["EndTxn"] * 3
    assert [body for _, name, body in node.requests if name == "EndTxn"] == [end.encode() for end in ends]


async def test_while_a_token_is_awaited_requests_go_out_until_the_login_has_ended(
    node: FakeNode, tokens: Tokens, connection: Connection
) -> None:
    tokens.ready.clear()
    await until(lambda: tokens.asked == 2)
    if asyncio.get_running_loop().time() < connection._login_ends:
        assert (await connection.ask(END, wire.EndTxnResponse)).error_code == 0
    await until(lambda: asyncio.get_running_loop().time() >= connection._login_ends)
    late = connection.post(END)
    await asyncio.sleep(0.05)
    assert not late.future.done()  # sent now, it would have been the connection's end
    tokens.ready.set()
    assert (await connection.answer(late, wire.EndTxnResponse)).error_code == 0
    assert names(node)[-3:] == ["SaslHandshake", "SaslAuthenticate", "EndTxn"]


async def test_a_login_that_is_refused_is_a_doubt_for_all_that_waits(
    node: FakeNode, tokens: Tokens, connection: Connection
) -> None:
    tokens.ready.clear()
    node.says["SaslAuthenticate"] = lambda _: authenticated(error=REFUSED, said="not any more")
    await until(lambda: asyncio.get_running_loop().time() >= connection._login_ends)
    held = connection.post(END)
    tokens.ready.set()
    with pytest.raises(Doubt, match=r"EndTxn had no answer: logging in again failed: .*not any more"):
        await connection.answer(held, wire.EndTxnResponse)
    with pytest.raises(Doubt, match=r"not sent: .*logging in again failed: .*not any more"):
        connection.post(END)
    assert "EndTxn" not in names(node)


async def test_a_login_without_an_answer_is_a_doubt(node: FakeNode, tokens: Tokens) -> None:
    connection = await opened(node, tokens, request_seconds=0.3)
    node.says["SaslHandshake"] = lambda _: None
    await until(lambda: connection._logging_in)
    with pytest.raises(Doubt, match=r"logging in again failed|SaslHandshake had no answer in 0\.3 s"):
        await connection.ask(END, wire.EndTxnResponse)
    await close_all([connection])


@pytest.mark.parametrize("error", [ConfigError("no credentials"), Doubt("no answer"), RuntimeError("no idea")])
async def test_no_new_token_is_a_doubt(
    node: FakeNode, tokens: Tokens, connection: Connection, error: Exception
) -> None:
    tokens.fails = error
    await until(lambda: not connection.connected())  # type: ignore[no-untyped-call]
    with pytest.raises(Doubt, match=rf"logging in again failed: .*{error.args[0]}"):
        connection.post(END)


async def test_a_token_that_never_comes_ends_in_time(node: FakeNode, tokens: Tokens) -> None:
    connection = await opened(node, tokens, request_seconds=0.3)
    tokens.ready.clear()
    await until(lambda: not connection.connected())  # type: ignore[no-untyped-call]
    with pytest.raises(Doubt, match=r"no credentials to log in with: nothing came in 0\.3 s"):
        connection.post(END)


async def test_closing_ends_a_login(tokens: Tokens, connection: Connection) -> None:
    """Whoever leaves a task behind fails the test."""
    tokens.ready.clear()
    await until(lambda: tokens.asked == 2)
    await close_all([connection])
    assert connection.login is not None
    assert connection.login.done()


async def test_the_first_login_tells_whether_waiting_helps(node: FakeNode, tokens: Tokens) -> None:
    tokens.fails = ConfigError("no credentials")
    with pytest.raises(ConfigError, match="no credentials"):
        await opened(node, tokens)
    tokens.fails = RuntimeError("no idea")
    with pytest.raises(Doubt, match=r"no credentials to log in with: RuntimeError\('no idea'\)"):
        await opened(node, tokens)
    tokens.fails = None
    node.says["SaslHandshake"] = lambda _: handshake("PLAIN", error=33)
    with pytest.raises(ConfigError, match="does not take OAUTHBEARER here"):
        await opened(node, tokens)


async def test_a_refused_tokens_reason_is_heard(node: FakeNode, tokens: Tokens) -> None:
    """RFC 7628: the reason comes without an error; the error follows when it was heard."""
    heard: list[bytes] = []

    def say(body: bytes) -> bytes:
        heard.append(body[4:])
        if len(heard) == 1:
            return authenticated(b'{"status":"invalid_token"}')
        return authenticated(error=REFUSED, said="{invalid_token}")

    node.says["SaslAuthenticate"] = say
    with pytest.raises(NotAuthorized, match="invalid_token"):
        await opened(node, tokens)
    assert heard == [b"n,,\x01auth=Bearer token\x01\x01", b"\x01"]


async def test_a_scram_server_is_not_worked_for_without_end(node: FakeNode) -> None:
    """The password is not even hashed: that could not be ended."""

    def first(body: bytes) -> bytes:
        nonce = body.rpartition(b"r=")[2]
        return authenticated(b"r=" + nonce + b"x,s=c2FsdA==,i=4000000000")

    node.says |= {"SaslHandshake": lambda _: handshake("SCRAM-SHA-256"), "SaslAuthenticate": first}
    settings = client_settings(
        {
            "bootstrap_servers": "unused",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
            "sasl_plain_username": "me",
            "sasl_plain_password": "secret",
        }
    )
    with pytest.raises(ConfigError, match="asks for 4000000000 iterations of SCRAM"):
        await asyncio.wait_for(Connection.open("127.0.0.1", node.port, settings), 20)
