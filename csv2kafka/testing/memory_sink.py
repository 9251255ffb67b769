"""A sink in this process's memory: the smallest true one, to read before writing one's own, and to test with."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import define, evolve, field, frozen

from csv2kafka.errors import Doubt, TakenOver
from csv2kafka.model import (
    Checkpoint,
    Completion,
    DeadLetter,
    Manifest,
    Packed,
    Payload,
    Records,
    SinkState,
    Target,
)
from csv2kafka.protocols import Job, Lease
from csv2kafka.testing.faults import Faults
from csv2kafka.testing.values import Row, records

STANDING_ROWS = 1000  # in one Records of standing()


class MemorySink:
    """What readers see is in ``rows``, ``dead_letters`` and ``completions``. It outlives its sessions, as a server
    does.

    ``atomic``: rows are seen at their commit, and the sink keeps the ``checkpoint`` with them (exactly-once).
    Else each write is seen at once, the store's checkpoint counts, and the next session gives as ``standing``
    what is behind it (at-least-once, reconciled). ``max_record``: bytes of key and value. ``faults``: at ``open``,
    ``write``, ``commit``.
    """

    def __init__(self, name: str = "memory", *, atomic: bool = True, max_record: int = 1 << 20) -> None:
        self.faults = Faults()
        self.rows: list[Row] = []
        self.dead_letters: list[DeadLetter] = []
        self.completions: list[bytes] = []
        self.checkpoint: Checkpoint | None = None
        self.manifest: Manifest | None = None
        self.atomic = atomic
        self.max_record = max_record
        self.session: _Session | None = None
        self._name = name
        self._restarted = ""

    @property
    def destination(self) -> str:
        return f"memory {self._name}"

    @property
    def settings(self) -> dict[str, str]:
        return {"memory": self._name, "delivery": "exactly-once" if self.atomic else "at-least-once"}

    @asynccontextmanager
    async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[_Session]:
        async with self.faults.around("open"):
            if lease is not None:
                await lease.renew()
            restart = job.restart and self._restarted != job.run_id
            known = self.checkpoint if self.atomic else stored
            if known is not None and not job.restart:
                job.check(known, self.manifest)
            if known is None or restart:
                generation = known.generation + 1 if known is not None and restart else job.start.generation
                state = evolve(self.state(), first_offset=len(self.rows))
                known = evolve(job.start, generation=generation, sink=state)
                self._restarted = job.run_id if restart else self._restarted
            if self.atomic:
                self.checkpoint, self.manifest = known, job.manifest
            session = self.session = _Session(sink=self, run_id=job.run_id, resume_from=known)
        yield session

    def state(self) -> SinkState:
        offsets = {Target.DATA.value: len(self.rows), Target.DEAD_LETTER.value: len(self.dead_letters)}
        return SinkState(offsets=offsets, destination_id=self._name)


@define(kw_only=True, eq=False)
class _Session:
    """``staged``: written and not committed, where commits are atomic. ``wrote``: any data."""

    sink: MemorySink
    run_id: str
    resume_from: Checkpoint
    staged: list[Payload] = field(factory=list)
    wrote: bool = False

    @property
    def packer(self) -> MemoryPacker:
        return MemoryPacker(limit=self.sink.max_record)

    @property
    def keeps_checkpoint(self) -> bool:
        return self.sink.atomic

    async def standing(self) -> AsyncIterator[Records]:
        if self.sink.atomic:
            return
        rows = self.sink.rows[self.resume_from.sink.offsets.get(Target.DATA.value, 0) :]
        for first in range(0, len(rows), STANDING_ROWS):
            yield records(rows[first : first + STANDING_ROWS])

    async def write(self, payload: Payload) -> None:
        async with self.sink.faults.around("write"):
            self._check_current()
            self.staged.append(payload)
            self.wrote = self.wrote or payload.target is Target.DATA
            if not self.sink.atomic:
                self._show()

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        async with self.sink.faults.around("commit"):
            self._check_current()
            self._show()
            state = evolve(self.sink.state(), first_offset=self.resume_from.sink.first_offset)
            done = evolve(checkpoint, sink=self._behind(checkpoint, state))
            if completion is not None:
                self.sink.completions.append(completion.value)
            if self.sink.atomic:
                self.sink.checkpoint = done
        return done

    def _behind(self, checkpoint: Checkpoint, state: SinkState) -> SinkState:
        """The state behind the checkpoint's rows: before the first write, they are the standing ones passed so far."""
        if self.sink.atomic or self.wrote:
            return state
        passed = checkpoint.counts.rows - self.resume_from.counts.rows
        place = self.resume_from.sink.offsets.get(Target.DATA.value, 0) + passed
        return evolve(state, offsets={**state.offsets, Target.DATA.value: place})

    def _show(self) -> None:
        for payload in self.staged:
            # Only what MemoryPacker made comes here, in one process: pickle's trust is not abused.
            content = pickle.loads(payload.body)  # noqa: S301
            if payload.target is Target.DATA:
                self.sink.rows += content
            else:
                self.sink.dead_letters += content
        self.staged.clear()

    def _check_current(self) -> None:
        """A later session has shut this one out; whose it is tells what that means."""
        latest = self.sink.session
        if latest is not None and latest is not self:
            if latest.run_id != self.run_id:
                raise TakenOver(f"run {latest.run_id} has taken over from run {self.run_id}")
            raise Doubt("a later session of this run is open")


@frozen(kw_only=True)
class MemoryPacker:
    """Payloads of up to ``limit`` bytes of keys and values, pickled."""

    limit: int

    def pack(self, records: Records, first: int = 0, last: int | None = None) -> Packed:
        stop = len(records) if last is None else last
        payloads: list[Payload] = []
        too_large: list[tuple[int, str]] = []
        rows: list[Row] = []
        start, size = first, 0
        for index, (key, value) in enumerate(records.rows(first, stop), first):
            length = len(key or b"") + len(value)
            if rows and (size + length > self.limit):
                payloads.append(_payload(Target.DATA, rows, start, index))
                rows, start, size = [], index, 0
            if length > self.limit:
                too_large.append((index, f"{length} bytes, and {self.limit} are allowed"))
                start = index + 1
                continue
            rows.append((key, value))
            size += length
        if rows:
            payloads.append(_payload(Target.DATA, rows, start, stop))
        return Packed(payloads=tuple(payloads), too_large=tuple(too_large))

    def pack_dead_letters(self, rows: Sequence[DeadLetter]) -> tuple[Payload, ...]:
        fitting = [row if len(row.value) <= self.limit else evolve(row, value=b"") for row in rows]
        return tuple(_payload(Target.DEAD_LETTER, [row], index, index + 1) for index, row in enumerate(fitting))


def _payload(target: Target, content: Sequence[Row] | Sequence[DeadLetter], first: int, last: int) -> Payload:
    return Payload(target=target, body=pickle.dumps(list(content)), first=first, last=last)
