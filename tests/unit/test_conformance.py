"""The package's own implementations pass the suites that plug-ins must pass."""

from __future__ import annotations

import base64
import json
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.checkpoints.kafka import KafkaStore
from csv2kafka.checkpoints.sqlite import SQLiteStore
from csv2kafka.encoding import JsonEncoder, RawEncoder
from csv2kafka.kafka import checkpoint_topic
from csv2kafka.kafka.writer import ProducerState, Writer
from csv2kafka.model import Checkpoint, Dialect, Manifest
from csv2kafka.protocols import LEASE_SECONDS, CheckpointStore, Encoder, Sink, Source
from csv2kafka.sinks.file import FileSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.sources.stdin import StdinSource
from csv2kafka.testing import (
    CheckpointStoreConformance,
    EncoderConformance,
    FakeSource,
    LeaselessStoreConformance,
    MemorySink,
    MemoryStore,
    SinkConformance,
    SourceConformance,
    run_virtual,
)
from csv2kafka.testing.values import Row
from tests.simulation.broker import Network, network
from tests.simulation.clock import now, simulate


class TestLocalSource(SourceConformance):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        for name, content in objects:
            (self.directory / name).write_bytes(content)

    def make(self) -> Source:
        return LocalSource(self.directory)


class TestFakeSource(SourceConformance):
    def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        self.contents = dict(objects)
        if hasattr(self, "source"):
            for name, content in objects:
                self.source.change(name, content)

    def make(self) -> Source:
        self.source = FakeSource(self.contents)
        return self.source


class TestStdinSource(SourceConformance):
    """From a file, as `run - < FILE` does; pipes are in test_stdin.py."""

    replayable = False
    several = False

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "input"
        with ExitStack() as self.opened:
            yield

    def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        ((_, content),) = objects
        self.path.write_bytes(content)

    def make(self) -> Source:
        return StdinSource(fd=self.opened.enter_context(self.path.open("rb")).fileno())


class TestJsonEncoder(EncoderConformance):
    def make(self) -> Encoder:
        return JsonEncoder(dialect=Dialect())


class TestJsonEncoderWithKeys(EncoderConformance):
    def make(self) -> Encoder:
        return JsonEncoder(dialect=Dialect(), keys=("name", "id"))


class TestRawEncoder(EncoderConformance):
    def make(self) -> Encoder:
        return RawEncoder(dialect=Dialect(), keys=("id",))


class TestFileSink(SinkConformance):
    keeps_keys = False
    restart_empties = True

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "rows.jsonl"

    def make(self) -> Sink:
        return FileSink(self.path)

    async def read(self) -> list[Row]:
        return [(None, line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    async def dead_letters(self) -> list[bytes] | None:
        bad = Path(f"{self.path}.bad")
        lines = bad.read_bytes().splitlines() if bad.exists() else []
        return [_value(json.loads(line)) for line in lines]


class TestMemorySink(SinkConformance):
    atomic = True
    too_large = 200_001

    @pytest.fixture(autouse=True)
    def _sink(self) -> None:
        self.sink = MemorySink(atomic=self.atomic, max_record=200_000)

    def make(self) -> Sink:
        return self.sink

    async def read(self) -> list[Row]:
        return self.sink.rows

    async def dead_letters(self) -> list[bytes] | None:
        return [letter.value for letter in self.sink.dead_letters]


class TestMemorySinkReconciled(TestMemorySink):
    atomic = False
    dead_letters_can_double = True


class TestSQLiteStore(CheckpointStoreConformance):
    lease_seconds = LEASE_SECONDS

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "checkpoints.sqlite"

    def make(self) -> CheckpointStore:
        return SQLiteStore(self.path, lease_seconds=self.lease_seconds)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        run_virtual(main)


class TestMemoryStore(CheckpointStoreConformance):
    lease_seconds = LEASE_SECONDS

    @pytest.fixture(autouse=True)
    def _store(self) -> None:
        self.store = MemoryStore()

    def make(self) -> CheckpointStore:
        return self.store

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        run_virtual(main)


class TestKafkaStore(LeaselessStoreConformance):
    network: Network

    def make(self) -> CheckpointStore:
        return KafkaStore(broker_factory=lambda: self.network.factory("store")(), clock=now)

    async def put(self, store: CheckpointStore, checkpoint: Checkpoint, manifest: Manifest | None = None) -> None:
        """As a sink writes it, without the rows."""
        async with self.network.factory("sink")() as broker:
            topic = checkpoint_topic.partition_of("csv2kafka-checkpoints")
            await checkpoint_topic.prepare(broker, topic.topic, min_insync_replicas=None)
            producer = ProducerState(await broker.init_producer(None, timeout_ms=1000))
            writer = Writer(broker, producer, transactional_id=None, clock=now, next_offsets={})
            if manifest is not None:
                await writer.write(topic, checkpoint_topic.manifest_record(checkpoint.job, manifest))
            await writer.write(topic, checkpoint_topic.checkpoint_record(checkpoint))
            await writer.confirmed()
            await writer.leave(for_good=True)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        async def with_cluster() -> None:
            self.network = network()
            await main

        simulate(with_cluster())


def _value(letter: dict[str, str]) -> bytes:
    return letter["value"].encode() if "value" in letter else base64.b64decode(letter["value_base64"])
