"""Where faults are brought about: one broker that trials share, three brokers, one of a trial's own; a small disk."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from attrs import define
from confluent_kafka.admin import AdminClient

from csv2kafka.cli import local_kafka
from csv2kafka.cli.local_kafka import LocalKafka
from tests import kafka_cluster
from tests.conftest import create_topic
from tests.kafka_cluster import KafkaCluster

CLONE_NEWNS = 0x00020000
MOUNT_SECONDS = 10.0
BUSY_SECONDS = 300.0
# A dead run's transaction is looked for every half second; logins are held for two.
CONFIG: Mapping[str, str] = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "listener.name.login.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.login.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "listener.name.login.scram-sha-512.connections.max.reauth.ms": "2000",
}


class Place(Protocol):
    """Where topics are."""

    @property
    def servers(self) -> str: ...

    def create_topic(self, name: str) -> None: ...

    def delete_topic(self, name: str) -> None: ...


@define(eq=False)
class OneBroker:
    """A broker, with a second listener that asks for a SCRAM login."""

    node: LocalKafka

    @classmethod
    def at(cls, directory: Path) -> OneBroker:
        return cls(LocalKafka(directory, config=CONFIG, listeners={"LOGIN": "SASL_PLAINTEXT"}))

    @property
    def servers(self) -> str:
        return self.node.bootstrap_servers

    def create_topic(self, name: str) -> None:
        create_topic(self.servers, name)

    def delete_topic(self, name: str) -> None:
        AdminClient({"bootstrap.servers": self.servers, "log_level": 0}).delete_topics([name])[name].result(20)

    @contextmanager
    def running(self) -> Iterator[OneBroker]:
        try:
            self.node.start()
            yield self
        finally:
            self.node.kill()


@define(eq=False)
class ThreeBrokers:
    cluster: KafkaCluster

    @classmethod
    def at(cls, directory: Path) -> ThreeBrokers:
        return cls(KafkaCluster(directory))

    @property
    def servers(self) -> str:
        return self.cluster.bootstrap_servers

    def create_topic(self, name: str) -> None:
        self.cluster.create_topic(name)

    def delete_topic(self, name: str) -> None:
        AdminClient({"bootstrap.servers": self.servers, "log_level": 0}).delete_topics([name])[name].result(20)

    @contextmanager
    def running(self) -> Iterator[ThreeBrokers]:
        with self.cluster:
            yield self


def be_patient() -> None:
    """On a very busy machine a broker takes more than the minute that it is given."""
    local_kafka.START_SECONDS = local_kafka.FORMAT_SECONDS = kafka_cluster.SECONDS = BUSY_SECONDS


def own_mounts() -> bool:
    """From now on what this process mounts is seen by it and its children alone, and ends with them. Whether that
    can be done; before any thread is started."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS) != 0:
        return False
    return _run("mount", "--make-rprivate", "/")


@contextmanager
def small_disk(directory: Path, kibibytes: int) -> Iterator[bool]:
    """A file system of that size. False where none can be mounted."""
    directory.mkdir(parents=True, exist_ok=True)
    mounted = _run("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "chaos", str(directory))
    try:
        yield mounted
    finally:
        if mounted:
            _run("umount", "--lazy", str(directory))


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=MOUNT_SECONDS).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False
