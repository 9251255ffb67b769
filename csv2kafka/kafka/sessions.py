"""The two sessions a Kafka sink opens: rows and checkpoint in one transaction, or rows confirmed, then kept.

Both write through the one Writer; what they were opened from is in ``sinks/kafka.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from attrs import define, evolve, field

from csv2kafka.errors import Doubt
from csv2kafka.kafka.checkpoint_topic import checkpoint_record
from csv2kafka.kafka.checks import DATA
from csv2kafka.kafka.ownership import Ownership
from csv2kafka.kafka.packer import KafkaPacker
from csv2kafka.kafka.port import TopicPartition
from csv2kafka.kafka.reconcile import Standing
from csv2kafka.kafka.writer import Writer
from csv2kafka.kernel import pack_records
from csv2kafka.model import Checkpoint, Completion, Payload, Records, SinkState, Target


@define(eq=False, kw_only=True)
class Session:
    """What both have. ``targets``: where payloads go; ``completion``: where the completion event goes, or None."""

    resume_from: Checkpoint
    packer: KafkaPacker
    writer: Writer
    targets: Mapping[Target, TopicPartition]
    completion: TopicPartition | None
    _state: SinkState = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._state = self.resume_from.sink

    def _brought_up_to_date(self) -> SinkState:
        """The sink's state behind everything written, all of which is confirmed."""
        written = self.writer.first_offsets
        offsets = dict(self._state.offsets)
        for target, partition in self.targets.items():
            if partition in written:
                offsets[target.value] = self.writer.next_offsets[partition]
        first = self._state.first_offset
        if self._state.offsets.get(DATA) == first:  # nothing of the job was there yet
            stood = self._stood_at()
            first = written.get(self.targets[Target.DATA], first) if stood is None else stood
        self._state = evolve(self._state, offsets=offsets, first_offset=first)
        return self._state

    def _stood_at(self) -> int | None:
        """Where the first row stands that an earlier run wrote without saving it."""
        return None

    async def _complete(self, completion: Completion | None) -> None:
        if completion is not None and self.completion is not None:
            await self.writer.write(self.completion, pack_records([(None, completion.value, [])]))


@define(eq=False, kw_only=True)
class ExactlyOnceSession(Session):
    """One transaction per commit: the rows, their dead letters and the checkpoint, or none of them."""

    checkpoints: TopicPartition
    owner: Ownership

    async def standing(self) -> AsyncIterator[Records]:
        """Nothing: what is not in the checkpoint was never committed."""
        return
        yield

    async def write(self, payload: Payload) -> None:
        """Send it; the transaction begins with the first."""
        self.writer.partitions = (*self.targets.values(), self.checkpoints)
        await self.writer.write(self.targets[payload.target], _mutable(payload.body))

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        """Everything confirmed, then the checkpoint, then EndTxn."""
        await self.writer.confirmed()
        if not self.writer.in_transaction:
            also = () if completion is None or self.completion is None else (self.completion,)
            self.writer.partitions = (self.checkpoints, *also)
            # This begins only when the markers behind the last rows are all written: whoever sees the event,
            # or that the job is complete, sees every row.
            await self._complete(completion)
        elif completion is not None:
            raise ValueError("the completion goes in a commit of its own, behind the last rows'")
        made = evolve(checkpoint, sink=self._brought_up_to_date())
        await self.writer.write(self.checkpoints, checkpoint_record(made))
        await self.writer.commit()
        self.owner.committed()
        return made


@define(eq=False, kw_only=True)
class AtLeastOnceSession(Session):
    """Rows are confirmed, then the pipeline saves the checkpoint; what stood behind it is told by ``standing``."""

    stood: Standing
    _written: bool = False

    def standing(self) -> AsyncIterator[Records]:
        """The rows of this job that stand behind ``resume_from``; see reconcile.py."""
        return self.stood.rows()

    def _stood_at(self) -> int | None:
        return self.stood.first_offset

    async def write(self, payload: Payload) -> None:
        """Send it. The first batch goes alone, and must come to stand where reading ended."""
        partition = self.targets[payload.target]
        await self.writer.write(partition, _mutable(payload.body))
        if payload.target is Target.DATA and not self._written:
            await self.writer.confirmed()
            self._written = True
            at, expected = self.writer.first_offsets[partition], self.stood.end
            if at != expected and self.stood.on_foreign == "stop":
                raise Doubt(
                    f"{partition}: the first batch came to stand at offset {at}, where {expected} was the end: "
                    "something else was written meanwhile"
                )

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        """Everything confirmed; the pipeline saves what is given back."""
        await self.writer.confirmed()
        await self._complete(completion)
        await self.writer.confirmed()
        state = self._brought_up_to_date()
        if self.targets[Target.DATA] not in self.writer.first_offsets:  # what stood there was all there was to do
            rows = checkpoint.counts.rows - self.resume_from.counts.rows
            state = evolve(state, offsets={**state.offsets, DATA: self.stood.offset_behind(rows)})
        return evolve(checkpoint, sink=state)


def _mutable(body: bytes | bytearray) -> bytearray:
    return body if isinstance(body, bytearray) else bytearray(body)
