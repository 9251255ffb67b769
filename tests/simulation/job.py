"""A run in miniature: rows ``row 0`` to ``row n-1`` through the real sink, as the pipeline drives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from attrs import define, evolve, field

from csv2kafka.errors import Csv2KafkaError, SettingsChanged, StaleLease, StateContradiction
from csv2kafka.kafka.port import Isolation, TopicPartition
from csv2kafka.kernel import pack_records, unpack_batch
from csv2kafka.model import Checkpoint, Completion, Counts, Manifest, Payload, Position, Target
from csv2kafka.protocols import Job, Lease, SinkSession
from csv2kafka.sinks.kafka import KafkaSink
from tests.simulation.broker import Network
from tests.simulation.clock import now

TOPIC = "rows"
DATA = TopicPartition(TOPIC, 0)
CHECKPOINTS = TopicPartition("csv2kafka-checkpoints", 0)


def value(row: int) -> bytes:
    return b"row %d" % row


@define
class MemoryStore:
    """A store with one lease, lost by hand: ``take``."""

    store_id: str = "store"
    epoch: int = 0
    checkpoint: Checkpoint | None = None

    def take(self) -> HeldLease:
        self.epoch += 1
        return HeldLease(self, self.epoch)


@define
class HeldLease:
    store: MemoryStore
    epoch: int

    @property
    def store_id(self) -> str:
        return self.store.store_id

    async def renew(self) -> None:
        if self.store.epoch != self.epoch:
            raise StaleLease("the lease was taken")


@define(kw_only=True)
class Run:
    """One run of the job. ``rows``: how many the source has; ``batch``: rows in a payload; ``interval``: payloads
    in a commit. ``stop_after``: commits after which it stops of itself."""

    network: Network
    name: str = "run"
    job: str = "job"
    topic: str = TOPIC
    checkpoint_topic: str = CHECKPOINTS.topic
    rows: int = 20
    batch: int = 2
    interval: int = 2
    store: MemoryStore | None = None
    manifest: Manifest = field(factory=Manifest)
    restart: bool = False
    on_foreign: str = "stop"
    delivery: str = "exactly-once"
    options: dict[str, object] = field(factory=dict)
    settings: dict[str, str] = field(factory=dict)
    draw: Callable[[], float] = lambda: 0.5
    clock: Callable[[], float] = now
    before_write: Callable[[int], None] = lambda row: None
    sessions: int = 0
    commits: int = 0
    failures: list[Csv2KafkaError] = field(factory=list)
    sink: KafkaSink = field(init=False)
    lease: HeldLease | None = None
    stored: Checkpoint | None = None

    def __attrs_post_init__(self) -> None:
        self.sink = KafkaSink(
            self.topic,
            checkpoint_topic=self.checkpoint_topic,
            delivery=self.delivery,  # type: ignore[arg-type]
            compression="none",
            broker_factory=self.network.factory(self.name),
            clock=self.clock,
            draw=self.draw,
            **self.options,  # type: ignore[arg-type]
        )
        if self.store is not None:
            self.lease = self.store.take()
            self.stored = self.store.checkpoint

    def description(self) -> Job:
        start = Checkpoint(
            job=self.job,
            run_id=self.name,
            manifest_digest=self.manifest.digest,
            settings=self.settings,
            at=datetime.fromtimestamp(0, UTC),
        )

        def check(checkpoint: Checkpoint, manifest: Manifest | None) -> None:
            if dict(checkpoint.settings) != self.settings:
                raise SettingsChanged("settings differ")

        return Job(
            name=self.job,
            run_id=self.name,
            start=start,
            manifest=self.manifest,
            check=check,
            restart=self.restart,
            on_foreign=self.on_foreign,  # type: ignore[arg-type]
        )

    async def run(self) -> Checkpoint:
        """To the end, over as many sessions as it takes; what cannot pass is raised."""
        pause = 0.1
        while True:
            try:
                return await self.one_session()
            except Csv2KafkaError as error:
                self.failures.append(error)
                if not error.retryable:
                    raise
                if len(self.failures) > 50:
                    raise AssertionError("no end of sessions") from error
            await asyncio.sleep(pause * (0.5 + self.draw()))
            pause = min(30.0, 2 * pause)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[SinkSession]:
        """The next session, opened as the pipeline does."""
        lease: Lease | None = self.lease
        self.sessions += 1
        async with self.sink.open(self.description(), self.stored, lease) as session:
            self.restart = False
            self._save(session.resume_from)
            yield session

    async def one_session(self) -> Checkpoint:
        async with self.session() as session:
            at = session.resume_from
            if at.complete:
                return at
            standing = [row async for batch in session.standing() for row in batch.rows()]
            row, payloads = at.counts.rows, 0
            while row < self.rows:
                count = min(self.batch, self.rows - row)
                if standing:
                    _, found = standing.pop(0)
                    if found != value(row):
                        raise StateContradiction(f"expected {value(row)!r}, found {found!r}")
                    row, at = row + 1, advanced(at, row + 1)
                    if row % (self.interval + 1) == 0:
                        at = await self.commit(session, at)
                    continue
                self.before_write(row)
                await session.write(payload(row, row + count))
                row, payloads = row + count, payloads + 1
                at = advanced(at, row)
                if payloads % self.interval == 0:
                    at = await self.commit(session, at)
            at = await self.commit(session, at)
            return await self.commit(session, evolve(at, complete=True))

    async def commit(self, session: SinkSession, checkpoint: Checkpoint) -> Checkpoint:
        completion = Completion(value=b"{}") if checkpoint.complete else None
        checkpoint = await session.commit(evolve(checkpoint, run_id=self.name), completion)
        self.commits += 1
        self._save(checkpoint)
        return checkpoint

    def _save(self, checkpoint: Checkpoint) -> None:
        if self.store is not None and self.lease is not None:
            if self.store.epoch != self.lease.epoch:
                raise StaleLease("the lease was taken")
            self.store.checkpoint = self.stored = checkpoint


def payload(first: int, last: int) -> Payload:
    """Rows ``first`` to ``last`` (excluded)."""
    body = pack_records([(None, value(row), []) for row in range(first, last)])
    return Payload(target=Target.DATA, body=body, first=0, last=last - first)


def advanced(checkpoint: Checkpoint, row: int) -> Checkpoint:
    return evolve(checkpoint, position=Position(rows=row), counts=Counts(rows=row))


def visible(network: Network, target: TopicPartition = DATA) -> list[bytes]:
    """What a read_committed reader sees in the partition."""
    log = network.cluster.log(target)
    found = log.read(log.start, Isolation.READ_COMMITTED, 1 << 40)
    batches = [b for b in found.batches if not b.is_control and not b.aborted]
    return [value for batch in batches for _, value in unpack_batch(batch.data).records.rows()]


def expected(rows: int) -> list[bytes]:
    return [value(row) for row in range(rows)]
