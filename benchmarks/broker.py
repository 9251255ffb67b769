"""The one broker that all share: topics made and deleted, what stands in them, and the CPU it takes."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from benchmarks.content import Hash, Hashes
from benchmarks.processes import cpu_seconds, pinned
from csv2kafka.cli.local_kafka import LocalKafka

ADMIN_SECONDS = 30.0
ASK_SECONDS = 1.0
READ_SECONDS = 600.0
SILENT_SECONDS = 30.0
QUIET_SECONDS = 5.0
# What deleted topics held is to be gone before the next one is written.
QUIET = {"log_level": 0}  # librdkafka tells of the broker's end, which is meant
CONFIG = {"log.segment.delete.delay.ms": "100"}


class Kafka:
    """A LocalKafka on some CPUs. Its own clients run on any."""

    def __init__(self, directory: Path, cpus: Sequence[int]) -> None:
        self._node = LocalKafka(directory, config=CONFIG, say=print)
        self._cpus = cpus
        self._topics = 0
        self._grew: dict[str, tuple[int, float]] = {}  # each topic's end, and when it was first seen there

    def __enter__(self) -> Self:
        with pinned(self._cpus):
            self._node.start()
        self._admin = AdminClient({"bootstrap.servers": self.servers, **QUIET})
        return self

    def __exit__(self, *_: object) -> None:
        self._node.stop()

    @property
    def servers(self) -> str:
        return self._node.bootstrap_servers

    @property
    def pid(self) -> int:
        return self._node.pid

    def cpu_seconds(self) -> float:
        """What it has taken so far."""
        return cpu_seconds(self.pid)

    def new_topic(self) -> str:
        """A topic with one partition."""
        self._topics += 1
        name = f"bench-{self._topics}"
        self._admin.create_topics([NewTopic(name, num_partitions=1, config={"file.delete.delay.ms": "100"})])[
            name
        ].result(ADMIN_SECONDS)
        deadline = time.monotonic() + ADMIN_SECONDS
        while not self._led(name):
            if time.monotonic() > deadline:
                raise RuntimeError(f"topic {name} has no leader after {ADMIN_SECONDS:.0f} s")
            time.sleep(0.02)
        return name

    def _led(self, topic: str) -> bool:
        """Whether its partition has a leader. Asked for offsets before that, librdkafka remembers that it has none."""
        partitions = self._admin.list_topics(topic, timeout=ADMIN_SECONDS).topics[topic].partitions
        return 0 in partitions and partitions[0].leader >= 0

    def delete(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result(ADMIN_SECONDS)

    def end(self, topic: str) -> int:
        """The partition's end, what is not committed included."""
        place, deadline = TopicPartition(topic, 0), time.monotonic() + ADMIN_SECONDS
        while True:
            try:
                asked = self._admin.list_offsets({place: OffsetSpec.latest()}, request_timeout=ASK_SECONDS)
                return int(asked[place].result().offset)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def quiet(self, topic: str, records: int) -> bool:
        """Whether at least so many records stand there, and no more came in the last seconds. Asked repeatedly."""
        end, now = self.end(topic), time.monotonic()
        known, since = self._grew.get(topic, (-1, now))
        if end != known:
            self._grew[topic] = (end, now)
            return False
        return end >= records and now - since > QUIET_SECONDS

    def values(self, topic: str, hash_of: Hash) -> Hashes:
        """The number of each record's value, in order, as a consumer with read_committed sees them."""
        hashes = array("q")
        consumer = Consumer(
            {
                "bootstrap.servers": self.servers,
                **QUIET,
                "group.id": "benchmarks",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
                "queued.max.messages.kbytes": 65536,
            }
        )
        try:
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            deadline, silent = time.monotonic() + READ_SECONDS, time.monotonic() + SILENT_SECONDS
            while time.monotonic() < min(deadline, silent):
                for message in consumer.consume(num_messages=20_000, timeout=0.2):
                    silent = time.monotonic() + SILENT_SECONDS
                    error = message.error()
                    if error is None:
                        hashes.append(hash_of(message.value() or b""))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return hashes
                    else:
                        raise RuntimeError(f"reading {topic}: {error}")
            raise RuntimeError(f"the end of {topic} was not reached; {len(hashes):,} records so far")
        finally:
            consumer.close()
