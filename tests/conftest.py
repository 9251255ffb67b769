"""What all tests share: a real Kafka, topics in it, and watchers for blocked loops and things left behind.

The broker: ``CSV2KAFKA_TEST_BOOTSTRAP``'s, or one that is started for each test process the first time it is
asked for. One for each, not one for all: an open transaction of one test must not hold up another's.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest
from attrs import frozen
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from csv2kafka import kernel
from csv2kafka.cli.local_kafka import LocalKafka, missing_tools
from tests import blocking, leaks, twins

EXTERNAL = os.environ.get("CSV2KAFKA_TEST_BOOTSTRAP", "")
IN_CI = os.environ.get("CI", "").lower() in {"true", "1"}
NEED_KAFKA = frozenset({"kafka", "bootstrap_servers", "make_topic", "topic", "own_kafka"})
ADMIN_SECONDS = 20.0


def pytest_configure() -> None:
    hypothesis.settings.register_profile("csv2kafka", deadline=None)  # a busy machine is no failure
    hypothesis.settings.load_profile("csv2kafka")
    blocking.install()
    leaks.install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if NEED_KAFKA & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.broker)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("broker") and not EXTERNAL:
        need_local_kafka()


@functools.cache
def _missing() -> str:
    return ", ".join(missing_tools())


def need_local_kafka() -> None:
    """Skips the test where no Kafka can be started; in CI it fails."""
    if _missing() and IN_CI:
        pytest.fail(f"a Kafka broker is missing, and CI is set: {_missing()}", pytrace=False)
    elif _missing():
        pytest.skip(f"needs a Kafka broker: {_missing()}")


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    """Fails a test after which the package had blocked the loop, or something was left running."""
    blocking.take()
    before = leaks.Before.now()
    yield
    found = blocking.take() + [f"left behind: {what}" for what in before.left_behind()]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.fixture(scope="module", params=["python", "native"])
def each_kernel(request: pytest.FixtureRequest) -> Iterator[str]:
    """The module's tests run with one kernel and then with the other. Gives its name."""
    chosen = twins.kernel_of(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "NAME", request.param)
        for name in chosen.__all__:
            patch.setattr(kernel, name, getattr(chosen, name))
        yield request.param


@frozen
class RunningKafka:
    """The broker that tests share."""

    bootstrap_servers: str


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningKafka]:
    """A running Kafka, for tests that neither stop it nor change its settings."""
    if EXTERNAL:
        yield RunningKafka(EXTERNAL)
        return
    directory = tmp_path_factory.mktemp("kafka")
    with LocalKafka(directory, config={"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500"}) as node:
        yield RunningKafka(node.bootstrap_servers)
    shutil.rmtree(directory / "data")  # the log stays, as long as pytest keeps the directory


@pytest.fixture
def bootstrap_servers(kafka: RunningKafka) -> str:
    """``host:port`` of the shared broker."""
    return kafka.bootstrap_servers


class OwnKafka(Protocol):
    """Starts a broker of the test's own; arguments as ``LocalKafka``'s."""

    def __call__(
        self,
        *,
        config: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        advertised: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
    ) -> LocalKafka: ...


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[OwnKafka]:
    """For tests that stop the broker or need settings of their own. Starting one takes about 5 s."""
    need_local_kafka()
    nodes: list[LocalKafka] = []

    def start(
        *,
        config: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        advertised: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
    ) -> LocalKafka:
        directory = tmp_path / f"kafka-{len(nodes)}"
        node = LocalKafka(directory, config=config, listeners=listeners, advertised=advertised, scram_users=scram_users)
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.kill()


class MakeTopic(Protocol):
    """Creates a topic with a name of its own and gives the name."""

    def __call__(self, *, partitions: int = 1, config: Mapping[str, str] | None = None) -> str: ...


@pytest.fixture
def make_topic(kafka: RunningKafka, request: pytest.FixtureRequest) -> Iterator[MakeTopic]:
    """Topics in the shared broker; those in somebody else's are deleted afterwards."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    stem = re.sub(r"[^a-zA-Z0-9_-]+", "-", request.node.name)[:80].strip("-")
    made: list[str] = []

    def make(*, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        name = f"{stem}-{uuid.uuid4().hex[:8]}"
        create_topic(kafka.bootstrap_servers, name, partitions=partitions, config=config, admin=admin)
        made.append(name)
        return name

    yield make
    if EXTERNAL and made:
        for deleted in admin.delete_topics(made).values():
            deleted.result(ADMIN_SECONDS)


@pytest.fixture
def topic(make_topic: Callable[[], str]) -> str:
    """The name of a new topic with one partition, in the shared broker."""
    return make_topic()


def create_topic(
    bootstrap_servers: str,
    name: str,
    *,
    partitions: int = 1,
    config: Mapping[str, str] | None = None,
    admin: AdminClient | None = None,
) -> None:
    """Create the topic with librdkafka, and wait until its leaders answer."""
    admin = admin or AdminClient({"bootstrap.servers": bootstrap_servers})
    new = NewTopic(name, num_partitions=partitions, config=dict(config or {}))
    admin.create_topics([new])[name].result(ADMIN_SECONDS)
    asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(partitions)}
    deadline = time.monotonic() + ADMIN_SECONDS
    while True:  # a broker tells who leads a moment before the leader itself knows
        try:
            for end in admin.list_offsets(asked).values():
                end.result(ADMIN_SECONDS)
            return
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
