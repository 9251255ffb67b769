"""A partition's log as a broker keeps it: batches and markers, what it knows of producers, what a reader is given."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from csv2kafka.errors import Csv2KafkaError
from csv2kafka.kafka.answers import refusal
from csv2kafka.kafka.port import (
    BrokerError,
    Fenced,
    Fetched,
    FetchedBatch,
    Isolation,
    LogEnds,
    NothingDone,
    OffsetOutOfRange,
    Producer,
)
from csv2kafka.kernel import unpack_batch

SEQUENCES = 1 << 31
PRODUCER_SECONDS = 86_400.0  # after which a partition forgets a silent producer (producer.id.expiration.ms)
REMEMBERED_BATCHES = 5
NO_PRODUCER = -1

ERRORS: Mapping[int, tuple[str, type[BrokerError]]] = {
    1: ("OFFSET_OUT_OF_RANGE", OffsetOutOfRange),
    3: ("UNKNOWN_TOPIC_OR_PARTITION", BrokerError),
    14: ("COORDINATOR_LOAD_IN_PROGRESS", NothingDone),
    45: ("OUT_OF_ORDER_SEQUENCE_NUMBER", BrokerError),
    46: ("DUPLICATE_SEQUENCE_NUMBER", BrokerError),
    47: ("INVALID_PRODUCER_EPOCH", Fenced),
    48: ("INVALID_TXN_STATE", BrokerError),
    49: ("INVALID_PRODUCER_ID_MAPPING", Fenced),
    51: ("CONCURRENT_TRANSACTIONS", NothingDone),
    90: ("PRODUCER_FENCED", Fenced),
}


def error(operation: str, code: int) -> Csv2KafkaError:
    if code not in ERRORS:
        return refusal(operation, "", code)
    name, kind = ERRORS[code]
    return kind(operation, code, name)


@frozen(kw_only=True)
class Stored:
    """A batch in a log; a marker if ``commit`` is not None."""

    base_offset: int
    last_offset: int
    producer_id: int
    epoch: int
    transactional: bool
    data: bytes = b""
    commit: bool | None = None


@define
class Known:
    """What a partition remembers of a producer: its epoch, and its last batches as (first, last, base offset)."""

    epoch: int
    batches: list[tuple[int, int, int]] = field(factory=list)
    at: float = 0.0  # when it was last heard of


@define
class Log:
    """One partition. ``watch`` is told of each batch and marker that comes in."""

    now: Callable[[], float] = lambda: 0.0
    watch: Callable[[Stored], None] = lambda _: None
    start: int = 0
    end: int = 0
    batches: list[Stored] = field(factory=list)
    producers: dict[int, Known] = field(factory=dict)
    open: dict[int, int] = field(factory=dict)  # producer id → first offset of its transaction
    aborted: list[tuple[int, int, int]] = field(factory=list)  # producer id, first offset, the marker's
    asked: dict[int, tuple[int, int]] = field(factory=dict)  # of producers verified since: epoch, lowest sequence

    @property
    def stable(self) -> int:
        return min(self.open.values(), default=self.end)

    def append(self, data: bytes) -> int:
        """A produced batch, checked as ``ProducerAppendInfo`` does; gives its base offset."""
        (attributes,) = struct.unpack_from(">h", data, 21)
        producer_id, epoch, first = struct.unpack_from(">qhi", data, 43)
        (count,) = struct.unpack_from(">i", data, 57)
        last = (first + count - 1) % SEQUENCES
        transactional = bool(attributes & 0x10)
        if producer_id != NO_PRODUCER:
            known = self._known(producer_id)
            if producer_id in self.asked and first > self.asked[producer_id][1] and not (known and epoch < known.epoch):
                raise error("Produce", 45)
            if known is None:
                known = self.producers[producer_id] = Known(epoch)  # may start anywhere
            elif epoch < known.epoch:
                raise error("Produce", 47)
            elif epoch > known.epoch:
                if first != 0:
                    raise error("Produce", 45)
                known.epoch, known.batches = epoch, []
            else:
                for seen_first, seen_last, base in known.batches:
                    if (seen_first, seen_last) == (first, last):
                        return base
                if first != ((known.batches[-1][1] + 1) % SEQUENCES if known.batches else 0):
                    raise error("Produce", 45)
            if producer_id in self.open and not transactional:
                raise error("Produce", 48)
            known.batches = [*known.batches, (first, last, self.end)][-REMEMBERED_BATCHES:]
            known.at = self.now()
            if transactional:
                self.asked.pop(producer_id, None)
                self.open.setdefault(producer_id, self.end)
        base = self.end
        self.end += count
        stored = Stored(
            base_offset=base,
            last_offset=self.end - 1,
            producer_id=producer_id,
            epoch=epoch,
            transactional=transactional,
            data=struct.pack(">q", base) + data[8:],
        )
        self.batches.append(stored)
        self.watch(stored)
        return base

    def verified(self, producer_id: int, epoch: int, first: int) -> None:
        """A batch's transaction is asked about: none with a later sequence gets in before it."""
        known, lowest = self.asked.get(producer_id, (epoch, first))
        if epoch > known:
            known, lowest = epoch, first
        self.asked[producer_id] = known, min(lowest, first) if epoch == known else lowest

    def _known(self, producer_id: int) -> Known | None:
        known = self.producers.get(producer_id)
        if known is not None and producer_id not in self.open and self.now() - known.at > PRODUCER_SECONDS:
            return None
        return known

    def mark(self, producer: Producer, *, commit: bool) -> None:
        """A transaction's end."""
        known = self.producers.setdefault(producer.producer_id, Known(producer.epoch))
        if producer.epoch < known.epoch:
            return
        known.at = self.now()
        self.asked.pop(producer.producer_id, None)
        if producer.epoch > known.epoch:
            known.epoch, known.batches = producer.epoch, []
        first = self.open.pop(producer.producer_id, None)
        if first is not None and not commit:
            self.aborted.append((producer.producer_id, first, self.end))
        marker = Stored(
            base_offset=self.end,
            last_offset=self.end,
            producer_id=producer.producer_id,
            epoch=producer.epoch,
            transactional=True,
            commit=commit,
        )
        self.batches.append(marker)
        self.end += 1
        self.watch(marker)

    def read(self, offset: int, isolation: Isolation, max_bytes: int) -> Fetched:
        if not self.start <= offset <= self.end:
            raise error("Fetch", 1)
        limit = self.stable if isolation is Isolation.READ_COMMITTED else self.end
        found: list[FetchedBatch] = []
        size = 0
        for batch in self.batches:
            if batch.last_offset < offset or batch.last_offset < self.start:
                continue
            if batch.base_offset >= limit or (found and size > max_bytes):
                break
            size += len(batch.data)
            found.append(self._fetched(batch, isolation))
        next_offset = found[-1].last_offset + 1 if found else offset
        return Fetched(batches=found, next_offset=max(offset, next_offset), ends=self.ends())

    def ends(self) -> LogEnds:
        return LogEnds(start=self.start, end=self.end, stable=self.stable)

    def truncate(self, end: int) -> None:
        """Forget everything from ``end`` on, as an unclean leader election does."""
        self.batches = [batch for batch in self.batches if batch.last_offset < end]
        self.end = end
        self.producers.clear()
        self.open.clear()
        self.asked.clear()

    def compact(self) -> None:
        """Drop batches whose records all have later ones with the same keys; offsets stay as they are."""
        later: set[bytes | None] = set()
        kept: list[Stored] = []
        for batch in reversed(self.batches):
            if batch.commit is None and batch.last_offset < self.stable:
                keys = [key for key, _ in unpack_batch(batch.data).records.rows()]
                if all(key in later for key in keys):
                    continue
                if not self.is_aborted(batch):
                    later.update(keys)
            kept.append(batch)
        self.batches = kept[::-1]

    def is_aborted(self, batch: Stored) -> bool:
        return batch.commit is None and any(
            producer_id == batch.producer_id and first <= batch.base_offset < marker
            for producer_id, first, marker in self.aborted
        )

    def _fetched(self, batch: Stored, isolation: Isolation) -> FetchedBatch:
        return FetchedBatch(
            base_offset=batch.base_offset,
            last_offset=batch.last_offset,
            producer_id=batch.producer_id,
            producer_epoch=batch.epoch,
            is_control=batch.commit is not None,
            is_transactional=batch.transactional,
            aborted=isolation is Isolation.READ_COMMITTED and self.is_aborted(batch),
            data=batch.data,
        )
