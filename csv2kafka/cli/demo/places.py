"""Where the demo's rows go: a Kafka that is started for it, the user's, or a file. What is made is removed."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from rich.console import Console

from csv2kafka.cli.demo.rows import Tally
from csv2kafka.cli.local_kafka import KAFKA_VERSION, LocalKafka, fetch_jars, missing_tools
from csv2kafka.config import PREFIX
from csv2kafka.errors import Csv2KafkaError, Unreachable

OUTPUT = "orders.jsonl"
QUIET_SECONDS = 20.0  # nothing from the broker for so long: it does not answer


@frozen(kw_only=True)
class Place:
    """``flags``: what names it on the command line. ``making``: the run's further ones. ``environment``: for the
    command. ``count``: reads all that stands there, by other means than the command's, into a tally."""

    flags: Sequence[str]
    making: Sequence[str] = ()
    environment: Mapping[str, str] = field(factory=dict)
    count: Callable[[Tally], None]


@contextlib.contextmanager
def place(
    directory: Path, console: Console, bootstrap_servers: str | None, kafka: Mapping[str, Any]
) -> Iterator[Place]:
    """The user's Kafka if it is named, else one of our own, else a file."""
    if bootstrap_servers:
        with _their_kafka(console, bootstrap_servers, kafka) as found:
            yield found
        return
    missing = _missing(console)
    if missing:
        _say(console, f"Into a file this time, with the same guarantees. For a real Kafka this is missing: {missing}")
        yield Place(flags=["-o", OUTPUT], count=lambda tally: _count_lines(directory / OUTPUT, tally))
        return
    begun = time.monotonic()
    with console.status("starting Kafka"):
        node = LocalKafka(directory / "kafka")
        node.start()
    try:
        took = f"{time.monotonic() - begun:.1f} s"
        _say(console, f"Apache Kafka {KAFKA_VERSION}, for this demo only: up in {took} at {node.bootstrap_servers}")
        yield _kafka(node.bootstrap_servers, "orders", {})
    finally:
        node.kill()  # its data goes, too


def _missing(console: Console) -> str:
    """What there is not, to start a Kafka here; empty if nothing."""
    missing = ", ".join(missing_tools())
    if not missing:
        try:
            fetch_jars(lambda text: _say(console, text))
        except Unreachable as error:
            return error.message
    return missing


@contextlib.contextmanager
def _their_kafka(console: Console, bootstrap_servers: str, kafka: Mapping[str, Any]) -> Iterator[Place]:
    """Topics with names of their own, which are deleted afterwards."""
    name = f"csv2kafka-demo-{uuid.uuid4().hex[:8]}"
    topics = [name, f"{name}-checkpoints"]
    _say(console, f"Into your Kafka at {bootstrap_servers}, topics {' and '.join(topics)}")
    there = _kafka(bootstrap_servers, name, kafka, checkpoint_topic=topics[1])
    try:
        yield there
    finally:
        try:
            asyncio.run(_delete(topics, bootstrap_servers, _security(bootstrap_servers, kafka)))
        except Exception as error:  # whatever it is: what there is to do stays the same
            _say(console, f"\nThe two topics could not be deleted ({error}); please delete {' and '.join(topics)}")
        else:
            _say(console, "\nThe two topics are deleted again.")


def _kafka(servers: str, topic: str, kafka: Mapping[str, Any], *, checkpoint_topic: str | None = None) -> Place:
    apart = ["--checkpoint-topic", checkpoint_topic] if checkpoint_topic else []
    return Place(
        flags=["-b", servers, "-t", topic],
        making=["--create-topic", *apart],
        # Not as flags: they are shown, and among them may be a password.
        environment={f"{PREFIX}KAFKA_{name.upper()}": str(value) for name, value in kafka.items()},
        count=lambda tally: asyncio.run(_count_records(topic, servers, _security(servers, kafka), tally)),
    )


def _security(servers: str, kafka: Mapping[str, Any]) -> Mapping[str, Any]:
    """TLS and SASL, as aiokafka's own clients take them."""
    from csv2kafka.kafka.settings import client_settings

    return client_settings({**kafka, "bootstrap_servers": servers}).security.arguments


def _count_lines(path: Path, tally: Tally) -> None:
    with path.open("rb") as file:
        for line in file:
            tally.add(line)


async def _count_records(topic: str, servers: str, security: Mapping[str, Any], tally: Tally) -> None:
    async with contextlib.aclosing(_read(topic, servers, security)) as values:
        async for value in values:
            tally.add(value)


async def _read(topic: str, servers: str, security: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
    """The values in partition 0, as any read_committed consumer gets them; aiokafka's, not a client of ours.

    Raises Unreachable if the end is not reached.
    """
    from aiokafka import AIOKafkaConsumer, TopicPartition

    now = asyncio.get_running_loop().time
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, isolation_level="read_committed", auto_offset_reset="none", **security
    )
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await consumer.start()
            consumer.assign([partition])
            consumer.seek(partition, 0)
            end = (await consumer.end_offsets([partition]))[partition]
        quiet_since = now()
        while await asyncio.wait_for(consumer.position(partition), QUIET_SECONDS) < end:
            for records in (await consumer.getmany(partition, timeout_ms=500)).values():
                quiet_since = now()
                for record in records:
                    if record.value is not None:  # ours all have one; what is not ours verify names
                        yield record.value
            if now() - quiet_since > QUIET_SECONDS:
                raise Unreachable(f"reading {topic} back: nothing more came for {QUIET_SECONDS:.0f} s before its end")
    finally:
        await asyncio.wait_for(consumer.stop(), QUIET_SECONDS)


async def _delete(topics: Sequence[str], servers: str, security: Mapping[str, Any]) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=servers, **security)
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await admin.start()
            answer: Any = await admin.delete_topics(list(topics))
        for name, code in answer.topic_error_codes:
            if code not in (0, 3):  # 3: there is no such topic
                raise Csv2KafkaError(f"{name}: the broker answered error {code}")
    finally:
        await asyncio.wait_for(admin.close(), QUIET_SECONDS)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
