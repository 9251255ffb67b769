"""Jobs run to a simulated broker or into a file; then they are verified, proved, and their receipts checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from csv2kafka import registry
from csv2kafka.chunk_size import ChunkSize
from csv2kafka.config import RunConfig
from csv2kafka.kernel import pack_records, stamp
from csv2kafka.model import Event, Progressed
from csv2kafka.model.report import VerifyReport
from csv2kafka.pipeline import Pipeline
from csv2kafka.proof import Checked, Proof, TopicSide
from csv2kafka.protocols import Sink
from csv2kafka.sinks.file import FileSink
from csv2kafka.sinks.kafka import KafkaSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.testing import Crash, MemoryStore
from csv2kafka.verify import check_proof, partition, prove, verify
from csv2kafka.verify.checking import Only
from tests.simulation.broker import Network, network
from tests.simulation.clock import now, simulate
from tests.simulation.job import DATA, TOPIC

ROWS = 40
WHERE = f"topic {TOPIC} partition 0"
Rows = Sequence[tuple[bytes | None, bytes | None]]


@define
class Place:
    """A CSV file, a simulated cluster and a store. ``options``: of the runs and of verify alike."""

    path: Path
    options: dict[str, Any] = field(factory=dict)
    store: MemoryStore = field(factory=MemoryStore)
    _network: Network | None = None

    @property
    def network(self) -> Network:
        """The cluster, on the running loop; with the topic in it."""
        if self._network is None:
            self._network = network()
            self._network.cluster.make_topic(TOPIC)
        return self._network

    def config(self, **options: Any) -> RunConfig:
        where = (
            {} if "output" in {**self.options, **options} else {"topic": TOPIC, "bootstrap_servers": "simulated:9092"}
        )
        own = {"sources": (str(self.path),), "job": "job"}
        return RunConfig(**{**own, **where, **self.options, **options})

    async def load(self, text: bytes, *, crash_at: int = 0, **options: Any) -> None:
        """Run the job over ``text``, one commit for seven rows; it dies at the ``crash_at``-th chunk."""
        if not self.path.exists():
            self.path.write_bytes(text)
        config = self.config(**options)
        sink: Sink = KafkaSink(
            TOPIC, delivery=config.delivery, broker_factory=self.network.factory("run"), clock=now, compression="none"
        )
        if config.output is not None:
            sink = FileSink(config.output)
        chunks = 0

        def watch(event: Event) -> None:
            nonlocal chunks
            chunks += isinstance(event, Progressed)
            if chunks == crash_at > 0:
                raise Crash

        pipeline = Pipeline(
            LocalSource(self.path),
            sink,
            self.store,
            encoder=registry.build_encoder(config),
            job=config.job,
            checkpoint_rows=7,
            on_bad_row=config.on_bad_row,
            on_event=watch,
        )
        if crash_at:
            with pytest.raises(Crash):
                await pipeline.run()
        else:
            await pipeline.run()

    def write(self, rows: Rows, *, producer_id: int = -1) -> None:
        """Somebody else's records; or a batch of our own making."""
        batch = pack_records([(key, value, []) for key, value in rows])
        stamp(batch, producer_id=producer_id, epoch=-1, sequence=-1, timestamp_ms=0, transactional=False)
        self.network.cluster.produce(DATA, bytes(batch), None)

    async def verify(self, text: bytes | None = None, **options: Any) -> VerifyReport:
        """Against ``text``, where it is another than what was loaded."""
        if text is not None:
            self.path.write_bytes(text)
        return await verify(self.config(**options))

    async def prove(self, **options: Any) -> Proof:
        """The receipt of what is there, which is to be equal."""
        report, proof = await prove(self.config(**options))
        assert report.equal
        assert proof is not None
        return proof

    async def check(self, proof: Proof, *, only: Only | None = None, **options: Any) -> Checked:
        """The receipt against what is there now."""
        return await check_proof(self.config(**options), proof, only=only)


@contextmanager
def laid_out(path: Path) -> Iterator[Place]:
    """What runs and verify ask for is the place's."""
    place = Place(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "broker_factory", lambda _: place.network.factory("verify"))
        patch.setattr(registry, "build_store", lambda _: place.store)
        patch.setattr(ChunkSize, "bytes", lambda *_: 100)
        yield place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with laid_out(tmp_path / "rows.csv") as made:
        yield made


def played(test: Callable[[Place], Any]) -> Callable[[Place], None]:
    """The test in a loop with a virtual clock."""

    def run(place: Place) -> None:
        simulate(test(place))

    return run


def topic_of(proof: Proof) -> TopicSide:
    assert isinstance(proof.destination, TopicSide)
    return proof.destination
