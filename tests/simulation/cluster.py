"""What brokers hold and how they answer: logs, producers, transactions. As Kafka does it, in one step per request.

Without verification of transactions (KIP-890), as brokers before 3.6 are, unless asked for: they let more in.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field

from csv2kafka.kafka.port import Operation, Producer, TopicFacts, TopicPartition
from tests.simulation.partition import Log, Stored, error

LAST_EPOCH = 32766  # a transactional id whose producer has it gets another producer
ID_SECONDS = 7 * 86_400.0  # after which an idle transactional id is forgotten (transactional.id.expiration.ms)


@define
class Transaction:
    """What a coordinator knows of a transactional id. ``state``: empty, ongoing, committing, aborting, done."""

    producer: Producer
    timeout: float
    state: str = "empty"
    partitions: set[TopicPartition] = field(factory=set)
    began: int = 0  # counts transactions, so that an old time-out finds another one
    unmarked: set[TopicPartition] = field(factory=set)  # where the markers of the last are still missing
    coordinator: int = 0  # which of its coordinators, one after another, writes the markers
    used: float = 0.0  # when its state last changed


@define(kw_only=True)
class Topic:
    topic_id: str
    partitions: dict[int, Log]
    config: dict[str, str]
    operations: frozenset[Operation] | None = None


@define(kw_only=True)
class Cluster:
    """``later(seconds, action)`` schedules; ``marker_delay``: how long markers take to reach a partition.
    ``verifies``: whether a produce request is held against its transaction (KIP-890). ``first_epoch``: of a new
    transactional id. ``away``: for how many seconds yet no coordinator does anything. ``watch`` is told of each batch
    and marker, ``decided`` of each transaction's end (its producer, and whether it commits)."""

    later: Callable[[float, Callable[[], None]], object]
    now: Callable[[], float] = lambda: 0.0
    away: Callable[[], float] = lambda: 0.0
    watch: Callable[[TopicPartition, Stored], None] = lambda _, __: None
    decided: Callable[[str, Producer, bool], None] = lambda _, __, ___: None
    noted: Callable[[str], None] = lambda _: None  # what is rare, for counting
    first_epoch: int = 0
    marker_delay: Callable[[TopicPartition], float] = lambda _: 0.003
    verifies: bool = False
    topics: dict[str, Topic] = field(factory=dict)
    transactions: dict[str, Transaction] = field(factory=dict)
    producers_given: int = 1000
    topics_made: int = 0

    def make_topic(self, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        if name in self.topics:
            return
        self.topics_made += 1
        self.topics[name] = Topic(
            topic_id=f"{self.topics_made:032x}",
            partitions={number: self._new_log(TopicPartition(name, number)) for number in range(partitions)},
            config={"cleanup.policy": "delete", "max.message.bytes": "1048588", **(config or {})},
        )

    def log(self, target: TopicPartition) -> Log:
        topic = self.topics.get(target.topic)
        if topic is None or target.partition not in topic.partitions:
            raise error("request", 3)
        return topic.partitions[target.partition]

    def _new_log(self, target: TopicPartition) -> Log:
        return Log(now=self.now, watch=lambda stored: self.watch(target, stored))

    def facts(self, name: str) -> TopicFacts | None:
        topic = self.topics.get(name)
        if topic is None:
            return None
        return TopicFacts(
            name=name,
            topic_id=topic.topic_id,
            partitions=dict.fromkeys(topic.partitions, 1),
            config=dict(topic.config),
            operations=topic.operations,
        )

    def init_producer(self, transactional_id: str | None, timeout_ms: int) -> Producer:
        if transactional_id is None:
            return self._new_producer()
        known = self._remembered(transactional_id)
        if known is None:
            producer = Producer(producer_id=self._new_producer().producer_id, epoch=self.first_epoch)
            self.transactions[transactional_id] = Transaction(producer, timeout_ms / 1000, used=self.now())
            return producer
        if known.state == "ongoing":
            self._fence(known)
            self._end(known, commit=False)
        if known.state in ("committing", "aborting"):
            raise error("InitProducerId", 51)
        if known.producer.epoch >= LAST_EPOCH:
            known.producer = self._new_producer()
        else:
            self._fence(known)
        known.state, known.timeout, known.used = "empty", timeout_ms / 1000, self.now()
        return known.producer

    def add_partitions(self, transactional_id: str, producer: Producer, partitions: Sequence[TopicPartition]) -> None:
        known = self._transaction("AddPartitionsToTxn", transactional_id, producer)
        if known.state in ("committing", "aborting"):
            raise error("AddPartitionsToTxn", 51)
        for partition in partitions:
            self.log(partition)
        if known.state != "ongoing":
            known.state, known.partitions, known.began = "ongoing", set(), known.began + 1
            known.used = self.now()
            began = known.began
            self.later(known.timeout, lambda: self._time_out(known, began))
        known.partitions |= set(partitions)

    def produce(self, target: TopicPartition, batch: bytes, transactional_id: str | None) -> int:
        log = self.log(target)
        if transactional_id is not None and self.verifies:
            self._verify(target, log, batch, transactional_id)
        return log.append(batch)

    def _verify(self, target: TopicPartition, log: Log, batch: bytes, transactional_id: str) -> None:
        """As ``AddPartitionsToTxnManager`` has it: only what would begin a transaction there is asked about."""
        producer_id, epoch, first = struct.unpack_from(">qhi", batch, 43)
        if producer_id in log.open and log.producers[producer_id].epoch == epoch:
            return
        log.verified(producer_id, epoch, first)
        known = self._remembered(transactional_id)
        if known is None or known.producer.producer_id != producer_id:
            raise error("Produce", 49)
        if known.producer.epoch != epoch:
            raise error("Produce", 47)
        ending = known.state in ("committing", "aborting")
        if target not in (known.partitions if known.state == "ongoing" else known.unmarked if ending else ()):
            raise error("Produce", 48)

    def end_transaction(self, transactional_id: str, producer: Producer, *, commit: bool) -> None:
        known = self._transaction("EndTxn", transactional_id, producer)
        if known.state == "ongoing":
            self._end(known, commit=commit)
        elif known.state == ("committing" if commit else "aborting"):
            raise error("EndTxn", 51)
        elif known.state != ("committed" if commit else "aborted"):
            raise error("EndTxn", 48)

    def expire(self, transactional_id: str) -> None:
        """Forget the id, as brokers do after seven days."""
        del self.transactions[transactional_id]

    def _new_producer(self) -> Producer:
        self.producers_given += 1
        return Producer(producer_id=self.producers_given, epoch=0)

    def _fence(self, known: Transaction) -> None:
        known.producer = Producer(producer_id=known.producer.producer_id, epoch=known.producer.epoch + 1)

    def _transaction(self, operation: str, transactional_id: str, producer: Producer) -> Transaction:
        known = self._remembered(transactional_id)
        if known is None or known.producer.producer_id != producer.producer_id:
            raise error(operation, 49)
        if known.producer.epoch != producer.epoch:
            raise error(operation, 90)
        return known

    def _remembered(self, transactional_id: str) -> Transaction | None:
        known = self.transactions.get(transactional_id)
        if known is None or known.state in ("ongoing", "committing", "aborting"):
            return known
        if self.now() - known.used > ID_SECONDS:
            self.expire(transactional_id)
            return None
        return known

    def _time_out(self, known: Transaction, began: int) -> None:
        if (wait := self.away()) > 0:
            self.later(wait, lambda: self._time_out(known, began))
        elif known.state == "ongoing" and known.began == began:
            self.noted("a transaction timed out")
            self._fence(known)
            self._end(known, commit=False)

    def _end(self, known: Transaction, *, commit: bool) -> None:
        known.state, known.used = "committing" if commit else "aborting", self.now()
        self.decided(self._id_of(known), known.producer, commit)
        self._write_markers(known, commit=commit)

    def another_coordinator(self, seconds: float) -> None:
        """The transactions move to another coordinator, which has read their state after ``seconds``, and ends again
        what the one before was ending: a partition can get a second marker."""
        for known in self.transactions.values():
            known.coordinator += 1
            if known.state in ("committing", "aborting"):
                self.noted("a transaction is ended by a second coordinator")
                self.later(seconds, lambda known=known, number=known.coordinator: self._end_again(known, number))  # type: ignore[misc]

    def _end_again(self, known: Transaction, coordinator: int) -> None:
        if known.coordinator == coordinator and known.state in ("committing", "aborting"):  # or yet another does it
            self._write_markers(known, commit=known.state == "committing")

    def _id_of(self, known: Transaction) -> str:
        return next((name for name, each in self.transactions.items() if each is known), "")

    def _write_markers(self, known: Transaction, *, commit: bool) -> None:
        known.unmarked = set(known.partitions)
        producer, coordinator, began = known.producer, known.coordinator, known.began

        def mark(partition: TopicPartition) -> None:
            current = known.coordinator == coordinator and known.began == began
            if not current and partition not in known.unmarked:
                return  # the later coordinator's is there already: brokers refuse this one
            if current and (wait := self.away()) > 0:
                self.later(wait, lambda: mark(partition))
                return
            if partition.topic in self.topics:  # one that was deleted has nothing to be marked
                self.log(partition).mark(producer, commit=commit)
            if current:
                known.unmarked.discard(partition)
                if not known.unmarked:
                    known.state = "committed" if commit else "aborted"

        for partition in sorted(known.partitions, key=str):
            self.later(self.marker_delay(partition), lambda partition=partition: mark(partition))  # type: ignore[misc]
