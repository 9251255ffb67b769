"""Answers that no Kafka gives: what a client makes of them is an error of ours, soon, and never another's success.

Each answer is a right one, as brokers give it, made wrong (``spoil``). What the network adds to that (lengths and
correlation ids that lie, frames cut off) ``test_kafka_answers`` tries over a socket.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka.protocol.api import Response

from csv2kafka.errors import Csv2KafkaError, Doubt
from csv2kafka.kafka import client, wire
from csv2kafka.kafka.connection import Answer
from csv2kafka.kafka.port import Isolation, LogEnds, Producer, TopicPartition
from csv2kafka.kafka.settings import client_settings
from tests.hostile.spoil import spoiled
from tests.record_batches import batch

ORDERS = TopicPartition("orders", 0)
OURS = Producer(producer_id=7, epoch=1)
TAGS: dict[int, bytes] = {}
PARTITIONS = [(0, 0, 1, 3, [1, 2], [1, 2], [], TAGS), (0, 1, 2, 3, [2, 1], [2], [1], TAGS)]
LOG = b"".join(
    batch([b"v" * size for size in (1, 100, 0)], OURS, transactional=True, sequence=number) for number in range(3)
)
RIGHT: dict[str, bytes] = {
    name: answer.encode()
    for name, answer in {
        "Metadata": wire.MetadataResponse(
            0,
            [(1, "127.0.0.1", 9092, None, TAGS), (2, "broker-2", 9093, "zone", TAGS)],
            "cluster",
            1,
            [(0, "orders", bytes(range(16)), False, PARTITIONS, 0b1111111000, TAGS)],
            wire.OPERATIONS_UNKNOWN,
            TAGS,
        ),
        "DescribeConfigs": wire.DescribeConfigsResponse(
            0, [(0, None, 2, "orders", [("cleanup.policy", "delete", False, 5, False, [("a", "b", 1)])])]
        ),
        "FindCoordinator": wire.FindCoordinatorResponse(0, 0, None, 1, "127.0.0.1", 9092),
        "InitProducerId": wire.InitProducerIdResponse(0, 0, 7, 1),
        "AddPartitionsToTxn": wire.AddPartitionsToTxnResponse(0, [("orders", [(0, 0)])]),
        "Produce": wire.ProduceResponse([("orders", [(0, 0, 5, -1, 0, [(1, "why")], None)])], 0),
        "EndTxn": wire.EndTxnResponse(0, 0),
        "ListOffsets": wire.ListOffsetsResponse(0, [("orders", [(0, 0, -1, 5)])]),
        "Fetch": wire.FetchResponse(0, 0, 0, [("orders", [(0, 0, 9, 9, 0, [(7, 3), (8, 0)], -1, LOG)])]),
        "CreateTopics": wire.CreateTopicsResponse(0, [("orders", 0, None)]),
    }.items()
}


class Said:
    """In a connection's place: each answer is read as a connection reads it. ``spoil`` changes the bytes."""

    def __init__(self, spoil: Callable[[str, bytes], bytes]) -> None:
        self._spoil = spoil

    def post(self, request: wire.Request, tail: object = b"") -> Answer:
        return Answer(request.NAME, asyncio.get_running_loop().create_future(), 0.0)

    async def answer(self, posted: Answer, kind: type[Response]) -> Response:
        try:
            return kind.decode(io.BytesIO(self._spoil(posted.name, RIGHT[posted.name])))
        except Exception as error:  # ends the task that reads, and with it the connection
            raise Doubt("closed") from error

    async def ask(self, request: wire.Request, kind: type[Response]) -> Response:
        return await self.answer(self.post(request), kind)


def questions(said: Said) -> list[Callable[[], Coroutine[Any, Any, Any]]]:
    """All that is asked of a cluster, of a client that has a connection to everybody."""
    broker: Any = client._Client(client_settings({"bootstrap_servers": "unused", "request_timeout_ms": 1000}))
    broker._first = said

    async def connected(node: int, role: object) -> Said:
        return said

    broker._connected = connected
    return [
        lambda: broker.topic("orders"),
        lambda: broker.create_topic("orders", partitions=1, config={"a": "b"}, only_try=True),
        lambda: broker.init_producer("job", timeout_ms=1000),
        lambda: broker.init_producer(None, timeout_ms=1000),
        lambda: broker.add_partitions("job", OURS, [ORDERS]),
        lambda: broker.produce(ORDERS, batch([b"v"], OURS), transactional_id="job"),
        lambda: broker.end_transaction("job", OURS, commit=True),
        lambda: broker.log_ends(ORDERS, refresh=True),
        lambda: broker.read(ORDERS, 0, Isolation.READ_COMMITTED, max_bytes=1 << 20),
        lambda: broker.read(ORDERS, 0, Isolation.READ_UNCOMMITTED, max_bytes=1 << 20),
    ]


def try_one(seed: int) -> str:
    """One question, one answer to it or all wrong. What came of it: ``answered``, or the error's name."""
    draw = random.Random(seed)
    wrong = draw.choice([*RIGHT, ""])

    def spoil(name: str, answer: bytes) -> bytes:
        return spoiled(draw, answer) if wrong in (name, "") else answer

    ask = draw.choice(questions(Said(spoil)))
    try:
        answer = asyncio.run(asyncio.wait_for(ask(), 20))
    except Csv2KafkaError as error:
        return type(error).__name__
    if isinstance(answer, (Producer, LogEnds, int)):
        repr(answer)
    return "answered"
