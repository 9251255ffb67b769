"""One connection: order, time, closing, and what is said when it is gone."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from attrs import evolve

from csv2kafka.errors import ConfigError, Doubt
from csv2kafka.kafka import wire
from csv2kafka.kafka.connection import LARGEST_ANSWER_BYTES, Connection, close_all
from csv2kafka.kafka.settings import ClientSettings, client_settings
from tests.unit.kafka.fake_node import VERSIONS, FakeNode

DONE = struct.pack(">ih", 0, 0)
END = wire.EndTxnRequest("job", 1, 0, True)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    async with FakeNode({"EndTxn": lambda _: DONE, "Produce": lambda _: None}) as node:
        yield node


@pytest.fixture
def settings() -> ClientSettings:
    return evolve(client_settings({"bootstrap_servers": "unused"}), request_seconds=0.2)


@pytest.fixture
async def connection(node: FakeNode, settings: ClientSettings) -> AsyncIterator[Connection]:
    connection = await Connection.open("127.0.0.1", node.port, settings)
    yield connection
    await close_all([connection])


async def test_what_is_posted_goes_out_in_order_and_whole(node: FakeNode, connection: Connection) -> None:
    batch = bytearray(range(256)) * 8000
    head = wire.ProduceRequest(None, -1, 1, [("t", [(0, len(batch))])])
    node.says["Produce"] = lambda body: struct.pack(">ii", 0, 0)

    posted = [connection.post(END), connection.post(head, memoryview(batch)), connection.post(END)]
    await connection.answer(posted[0], wire.EndTxnResponse)
    await connection.answer(posted[1], wire.ProduceResponse)
    await connection.answer(posted[2], wire.EndTxnResponse)

    assert [(name, body) for _, name, body in node.requests] == [
        ("EndTxn", END.encode()),
        ("Produce", head.encode() + batch),
        ("EndTxn", END.encode()),
    ]


async def test_no_answer_closes_the_connection_and_all_that_waits(node: FakeNode, connection: Connection) -> None:
    node.says["EndTxn"] = lambda _: None
    first, second = connection.post(END), connection.post(END)
    with pytest.raises(Doubt, match=r"EndTxn had no answer in 0\.2 s: its outcome is unknown"):
        await connection.answer(first, wire.EndTxnResponse)
    with pytest.raises(Doubt, match="EndTxn had no answer"):
        await connection.answer(second, wire.EndTxnResponse)
    with pytest.raises(Doubt, match=r"not sent: the connection is closed \(EndTxn had no answer in 0\.2 s\)"):
        connection.post(END)
    assert node.count("EndTxn") == 2


async def test_the_pause_that_a_quota_makes_is_not_counted(node: FakeNode, connection: Connection) -> None:
    throttled = struct.pack(">ih", 60_000, 0)
    node.says["EndTxn"] = lambda _: throttled if node.count("EndTxn") == 1 else None
    await connection.ask(END, wire.EndTxnResponse)
    with pytest.raises(TimeoutError):  # ours, not the connection's after 0.2 s
        await asyncio.wait_for(connection.ask(END, wire.EndTxnResponse), 0.6)
    assert connection.connected()  # type: ignore[no-untyped-call]


async def test_a_cut_connection_is_a_doubt_and_stays_cut(node: FakeNode, connection: Connection) -> None:
    await connection.ask(END, wire.EndTxnResponse)
    node.says["EndTxn"] = lambda _: node.hang_up()
    with pytest.raises(Doubt, match="EndTxn had no answer: the server closed the connection") as caught:
        await connection.ask(END, wire.EndTxnResponse)
    assert caught.value.hint == ""  # it did work before, so nothing is guessed about its settings
    with pytest.raises(Doubt, match="not sent"):
        await connection.ask(END, wire.EndTxnResponse)
    assert node.connections == 1


async def test_a_server_that_goes_while_nothing_is_asked_is_noticed(node: FakeNode, connection: Connection) -> None:
    node.hang_up()
    while connection.connected():  # type: ignore[no-untyped-call]
        await asyncio.sleep(0)
    with pytest.raises(Doubt, match="EndTxn not sent"):
        connection.post(END)


async def test_a_caller_that_is_cancelled_leaves_the_others_their_answers(
    node: FakeNode, connection: Connection
) -> None:
    first, second = connection.post(END), connection.post(END)
    waiting = asyncio.ensure_future(connection.answer(first, wire.EndTxnResponse))
    await asyncio.sleep(0)
    waiting.cancel()
    assert (await connection.answer(second, wire.EndTxnResponse)).error_code == 0


async def test_a_broker_that_does_not_speak_our_version_is_named(settings: ClientSettings) -> None:
    for versions, told in (
        (VERSIONS | {26: (3, 5)}, "it speaks 3 to 5"),
        ({key: low for key, low in VERSIONS.items() if key != 26}, "nor any other"),
    ):
        async with FakeNode(versions=versions) as node:
            connection = await Connection.open("127.0.0.1", node.port, settings)
            with pytest.raises(ConfigError, match=f"does not speak EndTxn version 2 .{told}") as caught:
                connection.post(END)
            assert "2.8" in caught.value.hint
            await close_all([connection])


async def test_an_answer_that_makes_no_sense_is_a_doubt(node: FakeNode, connection: Connection) -> None:
    node.says["EndTxn"] = lambda _: b"\0"
    with pytest.raises(Doubt, match="EndTxn had no answer"):
        await connection.ask(END, wire.EndTxnResponse)


async def test_closing_drops_what_is_not_sent(node: FakeNode, settings: ClientSettings) -> None:
    """The node reads nothing more, so most of the batch is still here when the connection is closed."""
    reading = asyncio.Event()

    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        frame = await reader.readexactly(size)
        listed = struct.pack(">hhh", 0, 8, 8)
        body = frame[4:8] + struct.pack(">hi", 0, 1) + listed + struct.pack(">i", 0)
        writer.write(struct.pack(">i", len(body)) + body)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await reading.wait()
        writer.transport.abort()

    server = await asyncio.start_server(stalled, "127.0.0.1", 0)
    async with server:
        connection = await Connection.open("127.0.0.1", server.sockets[0].getsockname()[1], settings)
        batch = bytes(64 << 20)
        posted = connection.post(wire.ProduceRequest(None, -1, 1, [("t", [(0, len(batch))])]), batch)
        assert connection._writer is not None
        transport = connection._writer.transport
        assert transport.get_write_buffer_size() > 0
        await asyncio.wait_for(close_all([connection]), 5)
        assert transport.get_write_buffer_size() == 0
        with pytest.raises(Doubt):
            await connection.answer(posted, wire.ProduceResponse)
        reading.set()
        await asyncio.sleep(0)


@pytest.mark.parametrize("size", [-1, -(2**31), LARGEST_ANSWER_BYTES + 1, 2**31 - 1])
async def test_an_answer_of_a_length_that_cannot_be_closes_the_connection(
    node: FakeNode, connection: Connection, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """At once: nothing of it is waited for or kept."""
    caplog.set_level("CRITICAL", "aiokafka.conn")
    posted = connection.post(wire.ProduceRequest(None, -1, 1, []))
    while not node.count("Produce"):
        await asyncio.sleep(0)
    for writer in node._writers:
        writer.write(struct.pack(">i", size))
    with pytest.raises(Doubt, match=r"found -?[0-9,]+"):
        await connection.answer(posted, wire.ProduceResponse)
    assert not connection.connected()  # type: ignore[no-untyped-call]
