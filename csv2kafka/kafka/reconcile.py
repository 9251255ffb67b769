"""At-least-once: which rows of this job stand in the partition behind the checkpoint already.

Batches of the checkpoint's producers are this job's own, written by a run that died before it could save how
far it was. The pipeline compares them, key and value (never timestamps), with what the CSV gives, and does not
send equal rows again. Anything else is foreign, and ``on_foreign`` says what then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from attrs import define, field

from csv2kafka.errors import StateContradiction
from csv2kafka.kafka.log import committed_batches
from csv2kafka.kafka.port import Broker, FetchedBatch, TopicPartition
from csv2kafka.kernel import unpack_batch
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
    _given: deque[tuple[int, int, int]] = field(factory=deque)  # of each batch: rows before it, offset, rows

    async def rows(self) -> AsyncIterator[Records]:
        """This job's rows that stand there, up to the first thing that is not its own.

        There it ends under ``resend``; StateContradiction under ``stop``.
        """
        rows = 0
        async for fetched in committed_batches(self.broker, self.target, self.start, self.end):
            reason = self._foreign(fetched)
            batch = unpack_batch(fetched.data)
            if reason is None and (batch.headers or batch.null_values):
                reason = "records with headers or null values, which this job does not write"
            if reason is not None:
                if self.on_foreign == "resend":
                    return
                raise StateContradiction(
                    f"{self.target}: behind the checkpoint, at offset {fetched.base_offset}, stand {reason}",
                    hint="see who else writes there; --on-foreign resend sends the remaining rows behind it",
                )
            self._given.append((rows, fetched.base_offset, len(batch.records)))
            rows += len(batch.records)
            yield batch.records

    def offset_behind(self, rows: int) -> int:
        """The offset behind the first ``rows`` of the rows given. Asked with rising numbers."""
        while len(self._given) > 1 and self._given[1][0] < rows:
            self._given.popleft()
        if not rows or not self._given:
            return self.start
        before, offset, count = self._given[0]
        return offset + min(rows - before, count)

    def _foreign(self, fetched: FetchedBatch) -> str | None:
        if fetched.producer_id not in self.producer_ids:
            return f"records of another producer (id {fetched.producer_id})"
        if fetched.base_offset < self.start:
            return "records that began before it"
        return None
