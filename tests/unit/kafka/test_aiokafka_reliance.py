"""Pins what ``kafka/connection.py`` leans on in aiokafka beyond its documented interface.

Fails when a new release changes it, before anything subtler does. The wire types are pinned in test_wire.py.
"""

from __future__ import annotations

import asyncio
import inspect
import struct
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from importlib.metadata import version
from io import BytesIO
from typing import Any

import pytest
from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.protocol.api import RequestStruct, Response

from csv2kafka.kafka import wire
from csv2kafka.kafka.settings import client_settings
from tests.unit.kafka.fake_node import VERSIONS, FakeNode

END = wire.EndTxnRequest("job", 1, 0, True)
DONE = struct.pack(">ih", 0, 0)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    async with FakeNode({"EndTxn": lambda _: DONE}) as node:
        yield node


@pytest.fixture
async def connection(node: FakeNode) -> AsyncIterator[Any]:
    """aiokafka's own, without anything of ours."""
    connection: Any = AIOKafkaConnection(
        "127.0.0.1", node.port, client_id="me", request_timeout_ms=5000, max_idle_ms=None
    )
    await connection.connect()
    yield connection
    closed = connection.close()
    await asyncio.wait_for(closed, 5)


def test_the_release_is_one_that_was_looked_at() -> None:
    assert version("aiokafka").startswith("0.14.")


def test_the_connection_takes_what_we_give_it() -> None:
    taken = inspect.signature(AIOKafkaConnection).parameters
    given = {"host", "port", "client_id", "request_timeout_ms", "max_idle_ms", "security_protocol", "ssl_context"}
    options = client_settings(
        {
            "bootstrap_servers": "unused",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_plain_username": "me",
            "sasl_plain_password": "secret",
        }
    )
    assert given | set(options.security.arguments) <= set(taken)


async def test_logging_in_is_a_step_of_connecting_that_can_be_replaced(node: FakeNode) -> None:
    """Behind the look-up of versions; and the mechanisms' sides of the conversation are had without it."""

    class Replaced(AIOKafkaConnection):
        versions: object = None

        async def _do_sasl_handshake(self) -> None:
            self.versions = dict(self._versions)

    options = client_settings(
        {
            "bootstrap_servers": "unused",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_plain_username": "me",
            "sasl_plain_password": "secret",
        }
    )
    replaced: Any = Replaced
    connection = replaced("127.0.0.1", node.port, **options.security.arguments)
    await connection.connect()
    assert connection.versions == connection._versions
    assert await connection.authenticator_plain().step(None) == (b"me\0me\0secret", True)
    connection._sasl_mechanism = "SCRAM-SHA-256"
    first, _ = await connection.authenticator_scram().step(None)
    assert first.startswith(b"n,,n=me,r=")
    assert callable(connection.authenticator_oauth)
    assert callable(connection.authenticator_gssapi)
    await asyncio.wait_for(connection.close(), 5)


async def test_a_connection_has_learned_the_brokers_versions(connection: Any) -> None:
    assert {key: connection._versions[key] for key in VERSIONS} == VERSIONS


async def test_our_frames_are_aiokafkas(node: FakeNode, connection: Any) -> None:
    """What ``post`` builds is what ``send`` builds."""

    class Prepared:
        def prepare(self, versions: object) -> RequestStruct:
            return END

    answer = await connection.send(Prepared())
    assert isinstance(answer, wire.EndTxnResponse)
    assert answer.error_code == 0
    assert node.requests == [(1, "EndTxn", END.encode())]

    # By hand, as ``post`` does.
    number = connection._next_correlation_id()
    head = END.build_request_header(number, connection._client_id).encode() + END.encode()
    connection._writer.write(struct.pack(">i", len(head)) + head)
    future = asyncio.get_running_loop().create_future()
    assert isinstance(connection._requests, deque)
    connection._requests.append((number, END, future))
    assert isinstance(await asyncio.wait_for(future, 5), wire.EndTxnResponse)
    assert node.requests[1] == (1, "EndTxn", END.encode())


async def test_a_cut_connection_fails_all_that_waits_with_the_cause(node: FakeNode, connection: Any) -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
    connection._requests.extend((number, END, future) for number, future in enumerate(futures))
    node.hang_up()
    for future in futures:
        with pytest.raises(errors.KafkaConnectionError) as caught:
            await asyncio.wait_for(future, 5)
        assert isinstance(caught.value.__cause__, (asyncio.IncompleteReadError, ConnectionError))
    assert not connection.connected()
    assert connection._writer is None


async def test_a_closed_connection_says_when_it_is(connection: Any) -> None:
    transport = connection._writer.transport
    closed = connection.close(CloseReason.CONNECTION_TIMEOUT, None)
    transport.abort()
    await asyncio.wait_for(closed, 5)
    assert not connection.connected()
    assert connection.close() is closed


def test_answers_are_parsed_by_what_the_request_names() -> None:
    assert END.RESPONSE_TYPE is wire.EndTxnResponse
    assert issubclass(wire.EndTxnResponse, Response)
    plain: Any = END.parse_response_header(BytesIO(struct.pack(">i", 5)))
    flexible: Any = wire.MetadataRequest.about().parse_response_header(BytesIO(struct.pack(">ib", 6, 0)))
    assert (plain.correlation_id, flexible.correlation_id) == (5, 6)


def test_the_package_is_whole_for_whoever_else_uses_it() -> None:
    """csv2kafka.kafka enters it without its clients; they are there when asked for."""
    code = """
import csv2kafka.kafka.connection, sys
assert "aiokafka.consumer" not in sys.modules
import aiokafka
assert aiokafka.errors.KafkaError is csv2kafka.kafka.connection.KafkaError
from aiokafka import AIOKafkaConsumer, TopicPartition
assert AIOKafkaConsumer is aiokafka.consumer.AIOKafkaConsumer
assert aiokafka.conn.AIOKafkaConnection is csv2kafka.kafka.connection.AIOKafkaConnection
assert not hasattr(aiokafka, "nothing") and aiokafka.__version__ and aiokafka is sys.modules["aiokafka"]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
