"""A sink's session at work, as the pipeline works with it: the driver of the sinks' suite."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, field, mutable

from csv2kafka.model import Checkpoint, Completion, DeadLetter
from csv2kafka.protocols import Job, Lease, SinkSession
from csv2kafka.testing.memory_store import MemoryStore
from csv2kafka.testing.values import Row, records


@mutable(kw_only=True)
class SessionWork:
    """One session at work: ``rows`` are written so far."""

    session: SinkSession
    store: MemoryStore
    lease: Lease
    job: Job
    rows: int
    bad: int = 0
    asked: bool = field(default=False)

    async def write(self, rows: Sequence[Row], last: int | None = None) -> None:
        """Write ``rows`` (all of the job's) up to ``last``, from where this session is on; what stands there already
        is not written again."""
        if not self.asked:
            self.asked = True
            async for batch in self.session.standing():
                for row in batch.rows():
                    assert row == rows[self.rows], "what stands there is what was written"
                    self.rows += 1
        last = len(rows) if last is None else last
        packed = self.session.packer.pack(records(rows), min(self.rows, last), last)
        assert packed.too_large == ()
        for payload in packed.payloads:
            await self.session.write(payload)
        self.rows = max(self.rows, last)

    async def refuse(self, rows: Sequence[DeadLetter]) -> None:
        for payload in self.session.packer.pack_dead_letters(rows):
            await self.session.write(payload)
        self.bad += len(rows)

    async def commit(self, *, saved: bool = True, complete: bool = False) -> Checkpoint:
        start = self.session.resume_from
        checkpoint = evolve(
            start,
            run_id=self.job.run_id,
            position=evolve(start.position, rows=self.rows),
            counts=evolve(start.counts, rows=self.rows, bad_rows=self.bad),
            transactions=start.transactions + 1,
            complete=complete,
        )
        done = await self.session.commit(checkpoint, Completion(value=b"{}") if complete else None)
        assert evolve(done, sink=checkpoint.sink, transactions=0) == evolve(checkpoint, transactions=0)
        if saved:
            await self.store.save(self.lease, done)
        return done
