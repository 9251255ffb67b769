"""Reads a partition back with a client that shares nothing with the package: librdkafka."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

READ_SECONDS = 60.0


class Row(NamedTuple):
    """A record as a consumer sees it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    offset: int


def read_partition(
    bootstrap_servers: str,
    topic: str,
    partition: int = 0,
    *,
    isolation: str = "read_committed",
    seconds: float = READ_SECONDS,
) -> list[Row]:
    """All records from the partition's start to its end (with read_committed: to the last stable offset).

    AssertionError if the end is not reached in ``seconds``.
    """
    return list(each_row(bootstrap_servers, topic, partition, isolation=isolation, seconds=seconds))


def each_row(
    bootstrap_servers: str,
    topic: str,
    partition: int = 0,
    *,
    isolation: str = "read_committed",
    seconds: float = READ_SECONDS,
) -> Iterator[Row]:
    """The same one at a time, for millions of them."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reading",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            "check.crcs": True,
            "fetch.wait.max.ms": 50,
        }
    )
    count = 0
    deadline = time.monotonic() + seconds
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
        while time.monotonic() < deadline:
            for message in consumer.consume(num_messages=10_000, timeout=0.1):
                error = message.error()
                if error is None:
                    headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
                    count += 1
                    yield Row(message.key(), message.value(), tuple(headers), message.offset() or 0)
                elif error.code() == KafkaError._PARTITION_EOF:
                    return
                else:
                    raise AssertionError(f"reading {topic}-{partition}: {error}")
        raise AssertionError(f"the end of {topic}-{partition} was not reached in {seconds} s; {count} records so far")
    finally:
        consumer.close()
