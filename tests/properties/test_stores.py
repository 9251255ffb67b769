"""What is stored, under any sequence of events: leases and checkpoints of two competing owners, the
checkpoint topic beside its runs, and the file
sink's files under commits, crashes and torn tails."""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from csv2kafka.checkpoints.kafka import KafkaStore
from csv2kafka.checkpoints.sqlite import SQLiteStore
from csv2kafka.errors import LeaseHeld, StaleLease
from csv2kafka.model import Checkpoint, DeadLetter, Manifest
from csv2kafka.protocols import HEARTBEAT_SECONDS, LEASE_SECONDS, CheckpointStore, Lease, SinkSession
from csv2kafka.sinks.file import FileSink
from csv2kafka.testing import MemoryStore, VirtualClockLoop, example_job, records
from tests.simulation.broker import Network, network
from tests.simulation.clock import VirtualLoop, now
from tests.simulation.job import CHECKPOINTS, DATA, Run, advanced
from tests.simulation.job import payload as rows_between

JOB = "orders"
OWNERS = st.sampled_from(["a", "b"])


class Leases(RuleBasedStateMachine):
    """Two owners and one job, against a model: who holds it under which epoch, and what was saved last."""

    def open_stores(self) -> dict[str, CheckpointStore]:
        """For each owner the same store, as two processes would have it."""
        raise NotImplementedError

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner(loop_factory=VirtualClockLoop)
        self.stores = self.open_stores()
        self.held: dict[str, tuple[AbstractAsyncContextManager[Lease | None], Lease]] = {}
        self.dead: list[
            tuple[AbstractAsyncContextManager[Lease | None], Lease]
        ] = []  # kept, so that nothing tidies up after them
        self.epoch = 0
        self.holder: str | None = None
        self.checkpoint: Checkpoint | None = None
        self.manifest: Manifest | None = None

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    @precondition(lambda self: len(self.held) < 2)
    @rule(owner=OWNERS)
    def take(self, owner: str) -> None:
        """A free lease is had at once, a silent one after its time to live."""
        if owner in self.held:
            return
        context = self.stores[owner].lease(JOB, owner)

        async def enter() -> tuple[Lease, float]:
            start = asyncio.get_running_loop().time()
            lease = await context.__aenter__()
            assert lease is not None
            return lease, asyncio.get_running_loop().time() - start

        lease, seconds = self.run(enter())
        assert seconds == (0 if self.holder is None else pytest.approx(LEASE_SECONDS))
        self.epoch += 1
        assert lease.epoch == self.epoch
        self.holder = owner
        self.held[owner] = context, lease

    @precondition(lambda self: self.holder in self.held)
    @rule(heartbeat=st.floats(0.1, LEASE_SECONDS * 0.9))
    def refused_while_renewed(self, heartbeat: float) -> None:
        lease = self.held[self.holder or ""][1]
        other = next(store for owner, store in self.stores.items() if owner != self.holder)

        async def main() -> None:
            taking = asyncio.ensure_future(other.lease(JOB, "newcomer").__aenter__())
            while not taking.done():
                await asyncio.wait({taking}, timeout=heartbeat)
                await lease.renew()
            with pytest.raises(LeaseHeld):
                taking.result()

        self.run(main())

    @precondition(lambda self: self.held)
    @rule(owner=OWNERS, rows=st.integers(0, 9), objects=st.none() | st.integers(0, 9))
    def save(self, owner: str, rows: int, objects: int | None) -> None:
        if owner not in self.held:
            return
        checkpoint = Checkpoint(job=JOB, run_id=owner, transactions=rows)
        manifest = None if objects is None else Manifest(objects=(("x", objects, "v"),))
        saving = self.stores[owner].save(self.held[owner][1], checkpoint, manifest)
        if self.holder == owner:
            self.run(saving)
            self.checkpoint, self.manifest = checkpoint, manifest or self.manifest
        else:
            with pytest.raises(StaleLease):
                self.run(saving)

    @precondition(lambda self: self.held)
    @rule(owner=OWNERS)
    def renew(self, owner: str) -> None:
        if owner not in self.held:
            return
        if self.holder == owner:
            self.run(self.held[owner][1].renew())
        else:
            with pytest.raises(StaleLease):
                self.run(self.held[owner][1].renew())

    @precondition(lambda self: self.held)
    @rule(owner=OWNERS)
    def leave(self, owner: str) -> None:
        """Giving back frees one's own lease, never a successor's."""
        if owner not in self.held:
            return
        context, _ = self.held.pop(owner)
        self.run(context.__aexit__(None, None, None))
        if self.holder == owner:
            self.holder = None

    @precondition(lambda self: self.held)
    @rule(owner=OWNERS)
    def die(self, owner: str) -> None:
        """It stays held, and silent."""
        if owner in self.held:
            self.dead.append(self.held.pop(owner))

    @rule(owner=OWNERS)
    def delete(self, owner: str) -> None:
        self.run(self.stores[owner].delete(JOB))
        self.epoch += 1  # it had the lease meanwhile
        self.holder = self.checkpoint = self.manifest = None

    @rule(seconds=st.sampled_from([HEARTBEAT_SECONDS, LEASE_SECONDS * 2]))
    def time_passes(self, seconds: float) -> None:
        """Nothing is lost by time alone: only a newcomer who watches takes a lease away."""
        self.run(asyncio.sleep(seconds))

    @invariant()
    def every_client_sees_the_model(self) -> None:
        for store in self.stores.values():
            assert self.run(store.load(JOB)) == self.checkpoint
            assert self.run(store.load_manifest(JOB)) == self.manifest
            statuses = self.run(_listed(store))
            assert [status.checkpoint for status in statuses] == ([self.checkpoint] if self.checkpoint else [])
            assert all(status.owner == self.holder for status in statuses)

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        for context, _ in [*self.held.values(), *self.dead]:
            self.run(context.__aexit__(None, None, None))
        self.runner.close()


class MemoryLeases(Leases):
    def open_stores(self) -> dict[str, CheckpointStore]:
        store = MemoryStore()
        return {"a": store, "b": store}


class SQLiteLeases(Leases):
    def open_stores(self) -> dict[str, CheckpointStore]:
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name) / "checkpoints.sqlite"
        return {"a": SQLiteStore(path), "b": SQLiteStore(path)}

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "directory"):
            self.directory.cleanup()


async def _listed(store: CheckpointStore) -> list[Any]:
    return [status async for status in store.jobs()]


class TopicStore(RuleBasedStateMachine):
    """``kafka://`` beside runs of two jobs that commit, complete, and die between commits, against a model: it
    knows of each job the last checkpoint that a run committed, and nothing of what was not."""

    jobs = st.sampled_from(["orders", "orders/eu"])

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.network = self.runner.run(self._cluster())
        self.store = KafkaStore(broker_factory=self.network.factory("store"), clock=now)
        self.last: dict[str, Checkpoint] = {}
        self.runs = 0

    @staticmethod
    async def _cluster() -> Network:
        net = network()
        net.cluster.make_topic(DATA.topic)
        return net

    @rule(job=jobs, commits=st.integers(0, 3), unfinished=st.booleans())
    def a_run_commits_and_dies(self, job: str, commits: int, unfinished: bool) -> None:
        """``unfinished``: rows under way, whose transaction is left to the next opening, or to its time-out."""
        self.runs += 1
        run = Run(network=self.network, job=job, name=f"run {self.runs}")

        async def main() -> None:
            async with run.session() as session:
                at = session.resume_from
                self.last.setdefault(job, at)  # a first opening commits row 0, a later one nothing of its own
                for _ in range(0 if at.complete else commits):
                    row = at.counts.rows
                    await session.write(rows_between(row, row + 2))
                    at = self.last[job] = await run.commit(session, advanced(at, row + 2))
                if unfinished and not at.complete:
                    await session.write(rows_between(at.counts.rows, at.counts.rows + 2))
                    await asyncio.sleep(1)
                    self.network.dead.add(run.name)
            await asyncio.sleep(1)

        self.runner.run(main())

    @rule(job=jobs)
    def a_run_completes(self, job: str) -> None:
        self.runs += 1
        run = Run(network=self.network, job=job, name=f"run {self.runs}", rows=40)
        self.last[job] = self.runner.run(run.run())
        self.runner.run(asyncio.sleep(1))

    @rule(job=jobs)
    def delete(self, job: str) -> None:
        self.runner.run(asyncio.sleep(100))  # a dead run's transaction hides what comes behind it until its time-out
        self.runner.run(self.store.delete(job))
        self.last.pop(job, None)

    @rule()
    def compaction(self) -> None:
        if CHECKPOINTS.topic in self.network.cluster.topics:
            self.network.cluster.log(CHECKPOINTS).compact()

    @invariant()
    def the_store_sees_the_model(self) -> None:
        for job in ("orders", "orders/eu"):
            assert self.runner.run(self.store.load(job)) == self.last.get(job)
            manifest = self.runner.run(self.store.load_manifest(job))
            assert manifest == (Manifest() if job in self.last else None)
        listed = [status.checkpoint for status in self.runner.run(_listed(self.store))]
        assert listed == [self.last[job] for job in sorted(self.last)]

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()


class Files(RuleBasedStateMachine):
    """Rows and refused rows into the file sink. The store's checkpoint counts, wherever a crash falls; what the
    crash leaves behind the committed length may be anything."""

    context: AbstractAsyncContextManager[SinkSession]

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "rows.jsonl"
        self.bad_path = Path(f"{self.path}.bad")
        self.stored: Checkpoint | None = None
        self.committed: tuple[list[bytes], list[int]] = ([], [])
        self.written: tuple[list[bytes], list[int]] = ([], [])
        self.session: SinkSession | None = None

    @precondition(lambda self: self.session is None)
    @rule()
    def open(self) -> None:
        self.context = FileSink(self.path).open(example_job(), self.stored, None)
        self.session = self.runner.run(self.context.__aenter__())
        self.stored = self.session.resume_from  # the pipeline saves it before the first write
        self.written = (list(self.committed[0]), list(self.committed[1]))
        self.stands(self.committed)

    @precondition(lambda self: self.session is not None)
    @rule(values=st.lists(st.binary(max_size=9).map(lambda value: value.replace(b"\n", b"")), min_size=1))
    def write(self, values: list[bytes]) -> None:
        assert self.session
        for payload in self.session.packer.pack(records((None, value) for value in values)).payloads:
            self.runner.run(self.session.write(payload))
        self.written[0].extend(values)

    @precondition(lambda self: self.session is not None)
    @rule(row=st.integers(1, 99))
    def refuse(self, row: int) -> None:
        assert self.session
        letter = DeadLetter(value=b"x", source="x.csv", row=row, line=row, byte=row, reason="bad")
        for payload in self.session.packer.pack_dead_letters([letter]):
            self.runner.run(self.session.write(payload))
        self.written[1].append(row)

    @precondition(lambda self: self.session is not None)
    @rule(saved=st.booleans())
    def commit(self, saved: bool) -> None:
        """``saved``: the crash may come before the store has it."""
        assert self.session
        assert self.stored
        done = self.runner.run(self.session.commit(evolve(self.stored, transactions=self.stored.transactions + 1)))
        self.stands(self.written)
        if saved:
            self.stored = done
            self.committed = (list(self.written[0]), list(self.written[1]))

    @precondition(lambda self: self.session is not None)
    @rule(torn=st.tuples(st.floats(0, 1), st.floats(0, 1)), rest=st.binary(max_size=20))
    def crash(self, torn: tuple[float, float], rest: bytes) -> None:
        """What was not committed is cut anywhere and followed by anything, as by a power loss."""
        assert self.stored
        self.runner.run(self.context.__aexit__(None, None, None))
        self.session = None
        for path, target, part in zip((self.path, self.bad_path), ("data", "dead-letter"), torn, strict=True):
            if path.exists():
                content, kept = path.read_bytes(), self.stored.sink.offsets[target]
                path.write_bytes(content[: kept + round((len(content) - kept) * part)] + rest)

    def stands(self, expected: tuple[list[bytes], list[int]]) -> None:
        values, rows = expected
        assert self.path.read_bytes() == b"".join(value + b"\n" for value in values)
        found = self.bad_path.read_bytes().splitlines() if self.bad_path.exists() else []
        assert [json.loads(line)["row"] for line in found] == rows

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        if self.session is not None:
            self.runner.run(self.context.__aexit__(None, None, None))
        self.runner.close()
        self.directory.cleanup()


@pytest.mark.parametrize(
    ("machine", "examples"),
    [(MemoryLeases, 50), (SQLiteLeases, 12), (TopicStore, 30), (Files, 50)],
    ids=["memory", "sqlite", "kafka", "file"],
)
def test_any_sequence(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))
