"""The broker operations a session uses, and nothing else: the seam between protocol and network.

``kafka/client.py`` implements it over aiokafka's client, ``tests/simulation`` as a broker in memory. Everything
above the port (writer, ownership, checkpoint topic, sink) is the same in both, and gets time, sleep and
randomness from the running loop and injected functions only.

Rules of every implementation:
- A request is sent once, never repeated (writer.py, rule 1). What the broker answered comes back as an
  error of this module; no answer in time, a cut connection, or a second connection that would have to be
  opened to the same node is a ``Doubt``.
- Each call has a bound in time. Where no bootstrap server answered at all, it is ``NotReachable``.
- ``produce`` calls go out on one connection in the order in which they were called.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from attrs import frozen
from typing_extensions import Buffer

from csv2kafka.errors import Doubt


class BrokerError(Doubt):
    """The broker answered with an error. ``code`` is Kafka's error code, ``name`` its name.

    As it stands it is a doubt; the subclasses are what a session must tell apart.
    """

    def __init__(self, operation: str, code: int, name: str, message: str = "") -> None:
        super().__init__(f"{operation}: the broker answered {name} ({code}){': ' + message if message else ''}")
        self.operation = operation
        self.code = code
        self.name = name


class NothingDone(BrokerError):
    """The answer proves that nothing was done, so the same request may be sent again:
    CONCURRENT_TRANSACTIONS, COORDINATOR_LOAD_IN_PROGRESS; from a look-up of the coordinator, and from
    InitProducerId, also that there is none now or that it is another node."""


class Fenced(BrokerError):
    """INVALID_PRODUCER_EPOCH, PRODUCER_FENCED, INVALID_PRODUCER_ID_MAPPING: ask who owns the job."""


class OffsetOutOfRange(BrokerError):
    """The offset asked for is below the log's start or above its end."""


class Isolation(enum.IntEnum):
    """KIP-98: what a read or an end offset may see."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


@frozen
class TopicPartition:
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Operation(enum.IntEnum):
    """What a user may be allowed to do with a topic, by Kafka's numbers."""

    READ = 3
    WRITE = 4


@frozen(kw_only=True)
class TopicFacts:
    """A topic as the cluster has it. ``topic_id`` is a UUID in hex, empty where brokers do not have ids.

    ``config``: effective values (``cleanup.policy``, ``max.message.bytes``, ``min.insync.replicas``,
    ``unclean.leader.election.enable``, ``retention.ms``, ``retention.bytes``, ``message.timestamp.type`` …);
    empty when describing it is not allowed. ``partitions``: partition → replication factor. ``operations``: what
    the user may do with it, of ``Operation``; None where brokers do not say.
    """

    name: str
    topic_id: str
    partitions: Mapping[int, int]
    config: Mapping[str, str]
    operations: frozenset[Operation] | None = None


@frozen(kw_only=True)
class Producer:
    """An identity given by InitProducerId."""

    producer_id: int
    epoch: int


@frozen(kw_only=True)
class LogEnds:
    """``start``: first offset still there. ``end``: read_uncommitted end. ``stable``: last stable offset."""

    start: int
    end: int
    stable: int


@frozen(kw_only=True, eq=False)
class FetchedBatch:
    """One record batch v2 as it stands in the log. ``data`` is the whole batch, compressed as it was."""

    base_offset: int
    last_offset: int
    producer_id: int
    producer_epoch: int
    is_control: bool
    is_transactional: bool
    aborted: bool
    data: Buffer


@frozen(kw_only=True, eq=False)
class Fetched:
    """``batches`` from the asked offset on (the first may begin before it). ``next_offset``: read on from here.

    With READ_COMMITTED nothing at or behind the last stable offset is given, and aborted batches are given
    with ``aborted`` set. Empty batches and an unchanged ``next_offset``: nothing more now.
    """

    batches: Sequence[FetchedBatch]
    next_offset: int
    ends: LogEnds


class Broker(Protocol):
    """A session's own client. Leaving ``BrokerFactory``'s context closes all its connections at once."""

    async def cluster_id(self) -> str:
        """The cluster's id, empty when it has none."""
        ...

    async def topic(self, name: str) -> TopicFacts | None:
        """Fresh from the cluster, None if there is no such topic. Never creates it.

        NotAuthorized if describing the topic is refused.
        """
        ...

    async def create_topic(
        self, name: str, *, partitions: int, config: Mapping[str, str], only_try: bool = False
    ) -> None:
        """With the cluster's default replication; on return it is there and can be used. A topic that exists already
        is not an error. ``only_try``: the brokers say whether they would, and do not."""
        ...

    async def init_producer(self, transactional_id: str | None, *, timeout_ms: int) -> Producer:
        """InitProducerId. With None, an idempotent producer without transactions."""
        ...

    async def add_partitions(
        self, transactional_id: str, producer: Producer, partitions: Sequence[TopicPartition]
    ) -> None:
        """AddPartitionsToTxn, all of a transaction's partitions at once."""
        ...

    async def produce(self, target: TopicPartition, batch: Buffer, *, transactional_id: str | None) -> int:
        """One finished batch with acks=all; gives the base offset the broker gave it."""
        ...

    async def end_transaction(self, transactional_id: str, producer: Producer, *, commit: bool) -> None:
        """EndTxn."""
        ...

    async def log_ends(self, target: TopicPartition, *, refresh: bool = False) -> LogEnds:
        """The partition's ends, from its leader; with ``refresh`` after asking anew who leads."""
        ...

    async def read(self, target: TopicPartition, offset: int, isolation: Isolation, *, max_bytes: int) -> Fetched:
        """What stands from ``offset`` on; waits half a second for something at most.

        OffsetOutOfRange when the offset is not in the log: never a silent jump.
        """
        ...


class BrokerFactory(Protocol):
    """Opens a client of its own for each session."""

    def __call__(self) -> AbstractAsyncContextManager[Broker]: ...
