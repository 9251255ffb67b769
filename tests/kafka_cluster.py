"""Three real brokers on this machine, as a small production cluster: replication 3, two of them in sync at least.

Each is a broker and a voter of the controllers' quorum, so what stops one of them takes a controller, too.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient, TopicMetadata  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from csv2kafka.cli.local_kafka import LocalKafka, fetch_jars, java, new_cluster_id

BROKERS = 3
SECONDS = 60.0
CONFIG = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "auto.leader.rebalance.enable": "false",  # leaders move when a test says so
    "replica.lag.time.max.ms": "3000",
    "quota.window.num": "2",  # the default lets a client first send what it may in eleven seconds
}


class KafkaCluster:
    """``nodes``: by number, 1 to 3. All calls block."""

    def __init__(self, directory: Path) -> None:
        cluster_id = new_cluster_id()
        self.nodes = {
            number: LocalKafka(directory / f"kafka-{number}", cluster_id=cluster_id) for number in range(1, BROKERS + 1)
        }
        voters = ",".join(f"{number}@{node.address('CONTROLLER')}" for number, node in self.nodes.items())
        for number, node in self.nodes.items():
            node.configure({**CONFIG, "node.id": str(number), "controller.quorum.voters": voters})

        self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.nodes.values())

    def __enter__(self) -> Self:
        """Start all at once: none answers before two are there."""
        try:
            with ThreadPoolExecutor(BROKERS) as pool:
                list(pool.map(LocalKafka.start, self.nodes.values()))
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    def _kill(self) -> None:
        for node in self.nodes.values():
            node.kill()

    def create_topic(self, name: str) -> None:
        """One partition, on all three."""
        self._admin.create_topics([NewTopic(name, num_partitions=1)])[name].result(SECONDS)
        self.until_in_sync()

    def leader(self, topic: str) -> int:
        """The number of the node that leads the topic's partition; -1 for none."""
        return int(self._topics()[topic].partitions[0].leader)

    def preferred_leader(self, topic: str) -> int:
        return int(self._topics()[topic].partitions[0].replicas[0])

    def elect_preferred_leaders(self) -> None:
        """Every partition's leader becomes its first replica, where it is not already."""
        for result in self._admin.elect_leaders(ElectionType.PREFERRED, None).result(SECONDS).values():
            assert result is None or "not needed" in str(result).lower(), result

    def until_in_sync(self) -> None:
        """Until each partition has a leader and all its replicas."""

        def in_sync() -> bool:
            topics = self._topics().values()
            parts = [partition for topic in topics for partition in topic.partitions.values()]
            return all(len(part.isrs) == BROKERS and part.leader > 0 for part in parts)

        until(in_sync)

    def limit_producers(self, bytes_per_second: int | None) -> None:
        """A quota on every broker for clients called csv2kafka; None: none."""
        change = ["--delete-config", "producer_byte_rate"]
        if bytes_per_second is not None:
            change = ["--add-config", f"producer_byte_rate={bytes_per_second}"]
        program = java()
        assert program is not None
        command = [program, "-cp", f"{fetch_jars()}/*", "kafka.admin.ConfigCommand"]
        command += ["--bootstrap-server", self.bootstrap_servers, "--alter", "--entity-type", "clients"]
        command += ["--entity-name", "csv2kafka", *change]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)

    def _topics(self) -> dict[str, TopicMetadata]:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return dict(self._admin.list_topics(timeout=5).topics)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise


def until(true: Callable[[], bool]) -> None:
    """Wait for it; AssertionError after a minute."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, f"waited {SECONDS} s"
        time.sleep(0.1)
