"""A share of the campaign over Kafka's answers; and over a socket what the frame around them can have wrong."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve

from csv2kafka.errors import Doubt
from csv2kafka.kafka import wire
from csv2kafka.kafka.connection import LARGEST_ANSWER_BYTES, Connection, close_all
from csv2kafka.kafka.settings import client_settings
from tests.hostile import kafka_answers
from tests.hostile.campaign import campaign
from tests.unit.kafka.fake_node import FakeNode

SETTINGS = evolve(client_settings({"bootstrap_servers": "unused"}), request_seconds=0.3)
END = wire.EndTxnRequest("job", 1, 0, True)
RIGHT = struct.pack(">iiih", 10, 0, 0, 0)  # length, correlation id, throttle time, error
Frame = Callable[[bytes], bytes]


class Spoiling(FakeNode):
    """Behind the look-up of versions, what it sends is what ``frame`` makes of a right answer."""

    def __init__(self, frame: Frame, *, cut: bool = False) -> None:
        super().__init__({"EndTxn": lambda _: RIGHT[8:]})
        self._frame = frame
        self._cut = cut

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                key, _, correlation_id, _ = struct.unpack_from(">hhih", request)
                answer = self._answer(number, key, request[10:]) or b""
                frame = struct.pack(">ii", len(answer) + 4, correlation_id) + answer
                writer.write(self._frame(frame) if key == END.API_KEY else frame)
                await writer.drain()
                if key == END.API_KEY and self._cut:
                    writer.close()


async def asked(frame: Frame, *, cut: bool) -> str:
    """What a request comes to."""
    async with Spoiling(frame, cut=cut) as node:
        connection = await Connection.open("127.0.0.1", node.port, SETTINGS)
        try:
            async with asyncio.timeout(20):
                answer = await connection.ask(END, wire.EndTxnResponse)
            return f"answered {answer.error_code}"
        except Doubt:
            return "doubt"
        finally:
            await close_all([connection])


def wrong_frames() -> Iterator[tuple[str, Frame]]:
    for size in range(len(RIGHT)):
        yield f"cut at {size}", lambda frame, size=size: frame[:size]  # type: ignore[misc]
    for at in range(4, 8):
        yield f"correlation id {at}", lambda frame, at=at: frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]  # type: ignore[misc]
    for length in (0, 1, 3, 9, -1, -(2**31), 2**31 - 1, LARGEST_ANSWER_BYTES + 1):
        yield f"length {length}", lambda frame, length=length: struct.pack(">i", length) + frame[4:]  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("name", "frame"), list(wrong_frames()))
async def test_a_frame_that_is_wrong_is_a_doubt(name: str, frame: Frame, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "aiokafka.conn")
    assert await asked(frame, cut=name.startswith("cut")) == "doubt"


async def test_what_comes_unasked_ends_the_connection_and_not_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "aiokafka.conn")
    for behind in (b"\0", RIGHT, RIGHT * 1000, b"\x7f\xff\xff\xff", bytes(range(256)) * 100):
        assert await asked(lambda frame, behind=behind: frame + behind, cut=False) == "answered 0"  # type: ignore[misc]


async def test_another_servers_greeting_is_not_taken_for_kafka(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "aiokafka.conn")
    greetings = [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail ESMTP\r\n",
        bytes(64),
        b"\xff" * 64,
        struct.pack(">iihi", 14, 1, 0, -1) + bytes(4),  # versions: none at all
        struct.pack(">iihihhh", 20, 1, 0, 1, 3, 9, 1) + bytes(4),  # the least above the most
        struct.pack(">iihi", 14, 1, 0, 2**31 - 1) + bytes(4),
    ]
    for greeting in greetings:
        said = greeting

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes = said) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
                writer.write(said)
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Doubt):
                await Connection.open("127.0.0.1", port, SETTINGS)


def test_answers_that_no_kafka_gives() -> None:
    tally = campaign("answers", kafka_answers.try_one, count=3000, first=1)
    assert tally.ends["Doubt"] > 300
    assert tally.ends["answered"] > 300


def test_right_answers_are_taken() -> None:
    """Or a wrong one would be refused for another reason."""

    async def main() -> None:
        for ask in kafka_answers.questions(kafka_answers.Said(lambda _, answer: answer)):
            await ask()

    asyncio.run(main())
