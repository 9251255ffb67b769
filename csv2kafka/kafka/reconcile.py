"""At-least-once: which rows of this job stand in the partition behind the checkpoint already.

Batches of the checkpoint's producers are this job's own, written by a run that died before it could save how
far it was. The pipeline compares them, key and value (never timestamps), with what the CSV gives, and does not
send equal rows again. Anything else is foreign, and ``on_foreign`` says what then.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from attrs import define, field

from csv2kafka.errors import StateContradiction
from csv2kafka.kafka.log import committed_batches
from csv2kafka.kafka.port import Broker, FetchedBatch, TopicPartition
from csv2kafka.kernel import Batch, unpack_batch
from csv2kafka.model import Records


@define(eq=False, kw_only=True)
class Standing:
    """The stretch between a checkpoint's next offset (``start``) and the log's end when it was opened (``end``)."""

    broker: Broker
    target: TopicPartition
    producer_ids: frozenset[int]
    start: int
    end: int
    on_foreign: str
    first_offset: int | None = None  # where the first row given stands
    _reading: AsyncGenerator[Records, None] | None = None
    _given: deque[tuple[int, int, int]] = field(factory=deque)  # of each batch: rows before it, offset, rows

    def rows(self) -> AsyncGenerator[Records, None]:
        """This job's rows that stand there, up to the first thing that is not its own.

        There it ends under ``resend``; StateContradiction under ``stop``.
        """
        self._reading = self._rows()
        return self._reading

    async def close(self) -> None:
        """Nobody reads on."""
        if self._reading is not None:
            await self._reading.aclose()

    async def _rows(self) -> AsyncGenerator[Records, None]:
        rows, loop = 0, asyncio.get_running_loop()
        async with aclosing(committed_batches(self.broker, self.target, self.start, self.end)) as batches:
            async for fetched in batches:
                batch = await loop.run_in_executor(None, unpack_batch, fetched.data)
                reason = self._foreign(fetched, batch)
                if reason is not None and self.on_foreign == "resend":
                    return
                if reason is not None:
                    raise StateContradiction(
                        f"{self.target}: behind the checkpoint, at offset {fetched.base_offset}, stand {reason}",
                        hint="see who else writes there; --on-foreign resend sends the remaining rows behind it",
                    )
                records = batch.records
                begin = max(fetched.base_offset, self.start)
                if fetched.base_offset < self.start:  # a commit fell amid a batch that stood there
                    records = _behind(records, self.start - fetched.base_offset)
                if self.first_offset is None:
                    self.first_offset = begin
                self._given.append((rows, begin, len(records)))
                rows += len(records)
                yield records

    def offset_behind(self, rows: int) -> int:
        """The offset behind the first ``rows`` of the rows given. Asked with rising numbers."""
        while len(self._given) > 1 and self._given[1][0] < rows:
            self._given.popleft()
        if not rows or not self._given:
            return self.start
        before, offset, count = self._given[0]
        return offset + min(rows - before, count)

    def _foreign(self, fetched: FetchedBatch, batch: Batch) -> str | None:
        if fetched.producer_id not in self.producer_ids:
            return f"records of another producer (id {fetched.producer_id})"
        if batch.headers or batch.null_values:
            return "records with headers or null values, which this job does not write"
        return None


def _behind(records: Records, skipped: int) -> Records:
    """The rows behind the first ``skipped``."""
    values, keys = memoryview(records.values), records.keys
    key_start = records.key_ends[skipped - 1] if records.key_ends is not None else 0
    start = records.value_ends[skipped - 1]
    return Records(
        values=values[start:],
        value_ends=array("I", [end - start for end in records.value_ends[skipped:]]),
        keys=None if keys is None else memoryview(keys)[key_start:],
        key_ends=None
        if records.key_ends is None
        else array("I", [end - key_start for end in records.key_ends[skipped:]]),
    )
