"""Writes record batches in order, up to four in flight, and ends transactions: once, or not at all.

The rules (the traps behind them are in tests/simulation/test_writing_traps.py):
1. One doubt ends it. A request is sent once; only an answer that says "nothing was done" allows it again.
2. It never aborts and goes on. Leaving for good, it aborts once, if it knows that nothing is on the way.
3. One task sends; sequence numbers are given in sending order; timestamps are the time of sending.
4. Every answer is looked at. A base offset below what the log had already stops the job.
5. Everything is confirmed before the checkpoint record, and that before EndTxn, which is sent once.
6. Every wait is bounded: each request by the port, repeated ones by ``REPEAT_SECONDS``.
7. Nothing is written into a transaction of an hour's age: it is over since long, and a partition that has forgotten the
   producer would take it all the same, and hang (KIP-890).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from attrs import define, field
from typing_extensions import Buffer

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, StateContradiction
from csv2kafka.kafka.port import Broker, BrokerError, Fenced, NothingDone, Producer, TopicPartition
from csv2kafka.kernel import batch_header, stamp

IN_FLIGHT = 4  # brokers remember the last five batches of a producer
IN_FLIGHT_BYTES = 32 << 20  # a batch that is larger goes alone
REPEAT_SECONDS = 60.0  # markers of the transaction before, or a coordinator that loads, are done long before
FIRST_REPEAT_PAUSE = 0.002
LONGEST_REPEAT_PAUSE = 0.25
SILENT_SECONDS = 2.0
LEAVING_SECONDS = 2.0
REMEMBERED_SECONDS = 3600.0  # a partition forgets a producer that is silent (producer.id.expiration.ms: 24 h)

_SEQUENCES = 1 << 31  # they are counted modulo this: ten records at 2147483646 are followed by 8

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@define(eq=False)
class Sent:
    """A batch on its way: what went out and when, and the task that waits for its answer (the base offset)."""

    target: TopicPartition
    batch: Buffer
    records: int
    size: int
    at: float
    answer: asyncio.Task[int] | None = None


@define(eq=False)
class ProducerState:
    """What a broker holds a producer to: its identity, the next sequence of each partition, and which batches
    it has not confirmed. At-least-once keeps it from session to session of a run; a transaction never does.

    ``heard_at``: when what each partition confirmed last was sent, in seconds since the epoch.
    """

    producer: Producer
    sequences: dict[TopicPartition, int] = field(factory=dict)
    unconfirmed: deque[Sent] = field(factory=deque)
    heard_at: dict[TopicPartition, float] = field(factory=dict)

    def remembers_unconfirmed(self, now: float) -> bool:
        """Whether a broker that took an unconfirmed batch still knows so, and would not take it once more."""
        return not self.unconfirmed or _recently(self.unconfirmed[0].at, now)

    def remembers_at(self, target: TopicPartition, now: float) -> bool:
        """Whether the partition still knows this producer, and takes nothing but the next batch."""
        return target in self.heard_at and _recently(self.heard_at[target], now)


def _recently(at: float, now: float) -> bool:
    return abs(now - at) < REMEMBERED_SECONDS  # a clock that was set back tells nothing


async def repeated(request: Callable[[], Awaitable[_T]]) -> _T:
    """The answer to ``request``, sent again for as long as the answer is that nothing was done (bounded)."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    pause, said = FIRST_REPEAT_PAUSE, False
    while True:
        try:
            return await request()
        except NothingDone as error:
            waited = loop.time() - began
            if waited + pause > REPEAT_SECONDS:
                raise
            if waited > SILENT_SECONDS and not said:
                said = True
                _log.warning("asking again, for %g s at most: %s", REPEAT_SECONDS, error.message)
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_REPEAT_PAUSE)


class Writer:
    """One session's writer. One task calls it.

    ``transactional_id`` None: idempotent, without transactions. ``clock`` gives seconds since the epoch.
    ``next_offsets``: below which no batch of ours can land (log ends read on opening); kept up to date.
    ``first_offsets``: where this session's first confirmed batch of each partition stands.
    """

    def __init__(
        self,
        broker: Broker,
        state: ProducerState,
        *,
        transactional_id: str | None,
        clock: Callable[[], float],
        next_offsets: dict[TopicPartition, int],
    ) -> None:
        self.state = state
        self.next_offsets = next_offsets
        self.first_offsets: dict[TopicPartition, int] = {}
        self.partitions: tuple[TopicPartition, ...] = ()
        self._broker = broker
        self._transactional_id = transactional_id
        self._clock = clock
        self.in_transaction = False
        self._began_at = 0.0
        self._failure: BaseException | None = None
        self._uncertain = False  # something may still be on the way, or we are fenced: send nothing any more

    async def write(self, target: TopicPartition, batch: bytearray) -> None:
        """Send the batch after those before it; waits while the window is full.

        The first of a transaction begins it, over all of ``partitions``. Raises what any earlier answer said.
        """
        self._raise_failure()
        await self._room_for(len(batch))
        await self._begin()
        self._check_age()
        self._send(target, batch)

    async def confirmed(self) -> None:
        """Return when every batch written is confirmed."""
        self._raise_failure()
        while self.state.unconfirmed:
            await self._settle_oldest()

    async def commit(self) -> None:
        """Confirm everything, then EndTxn(commit), once. After a ``Doubt`` only reading tells what happened."""
        await self.confirmed()
        if self._transactional_id is not None and self.in_transaction:
            with self._no_doubt():
                await repeated(lambda: self._end_transaction(commit=True))
            self.in_transaction = False

    async def send_again(self) -> None:
        """Send what is unconfirmed from an earlier session again: identical bytes, identical sequences.

        Of each batch the broker takes one, and answers for both with where it stands. One after another: a partition
        that does not know the producer (any more) would take the second without the first, and then never the first.
        """
        for sent in tuple(self.state.unconfirmed):
            sent.answer = self._produce(sent.target, sent.batch)
            await self._settle_oldest()
        self.first_offsets.clear()  # what an earlier session wrote is not this one's

    async def leave(self, *, for_good: bool) -> None:
        """The last thing done with it. ``for_good``: this run does not come back, so a transaction that is
        surely only open is aborted; in any other case its time-out ends it, or the next InitProducerId."""
        try:
            if for_good and self.in_transaction:
                async with asyncio.timeout(LEAVING_SECONDS):
                    while self.state.unconfirmed and not self._uncertain:
                        with contextlib.suppress(StateContradiction, BrokerError, ConfigError):
                            await self._settle_oldest()
                    if not self._uncertain:
                        await self._end_transaction(commit=False)
        except (TimeoutError, Csv2KafkaError):
            pass  # leaving: the transaction's time-out does it
        finally:
            await self._drop_tasks()

    async def _begin(self) -> None:
        if self._transactional_id is None or self.in_transaction:
            return
        # CONCURRENT_TRANSACTIONS until the markers of the transaction before are all written: only then does
        # the coordinator take partitions into a new one. The last commit leans on this.
        with self._no_doubt():
            self._began_at = self._clock()
            await repeated(self._add_partitions)
        self.in_transaction = True

    def _check_age(self) -> None:
        if self.in_transaction and not _recently(self._began_at, self._clock()):
            self._uncertain = True
            self._failure = Doubt("a transaction is an hour old or more: the process was stopped, or the clock jumped")
            raise self._failure

    async def _add_partitions(self) -> None:
        assert self._transactional_id is not None
        await self._broker.add_partitions(self._transactional_id, self.state.producer, self.partitions)

    async def _end_transaction(self, *, commit: bool) -> None:
        assert self._transactional_id is not None
        await self._broker.end_transaction(self._transactional_id, self.state.producer, commit=commit)

    def _send(self, target: TopicPartition, batch: bytearray) -> None:
        records, now = batch_header(batch).record_count, self._clock()
        sequence = self.state.sequences.get(target, 0)
        stamp(
            batch,
            producer_id=self.state.producer.producer_id,
            epoch=self.state.producer.epoch,
            sequence=sequence,
            timestamp_ms=int(now * 1000),
            transactional=self._transactional_id is not None,
        )
        self.state.sequences[target] = (sequence + records) % _SEQUENCES
        sent = Sent(target, batch, records, len(batch), now, self._produce(target, batch))
        self.state.unconfirmed.append(sent)

    def _produce(self, target: TopicPartition, batch: Buffer) -> asyncio.Task[int]:
        # Tasks begin in the order they were made, and the port sends in the order it is called.
        return asyncio.ensure_future(self._broker.produce(target, batch, transactional_id=self._transactional_id))

    async def _room_for(self, size: int) -> None:
        waiting = self.state.unconfirmed
        while waiting and (len(waiting) >= IN_FLIGHT or sum(sent.size for sent in waiting) + size > IN_FLIGHT_BYTES):
            await self._settle_oldest()

    async def _settle_oldest(self) -> None:
        """Wait for the oldest answer and look at it."""
        sent = self.state.unconfirmed[0]
        assert sent.answer is not None
        await asyncio.wait({sent.answer})  # a caller that is cancelled here has put nothing in doubt
        uncertain = self._uncertain
        try:
            with self._no_doubt():
                base = sent.answer.result()
        except (BrokerError, ConfigError) as error:
            if self._transactional_id is not None and not isinstance(error, Fenced):
                # An answer, if not the one we wanted: nothing of this batch is on its way any more.
                self.state.unconfirmed.popleft()
                self._uncertain = uncertain
            raise
        self.state.unconfirmed.popleft()
        expected = self.next_offsets.get(sent.target, 0)
        if base < expected:
            self._failure = StateContradiction(
                f"{sent.target}: a batch was written at offset {base}, where the log had reached {expected} already",
                hint="the topic was made anew or the log lost records; see what happened, then --restart",
            )
            raise self._failure
        self.state.heard_at[sent.target] = sent.at
        self.first_offsets.setdefault(sent.target, base)
        self.next_offsets[sent.target] = base + sent.records

    @contextlib.contextmanager
    def _no_doubt(self) -> Iterator[None]:
        """Whatever is raised inside, cancelling included, leaves a request's outcome open: nothing may follow."""
        try:
            yield
        except BaseException as error:
            self._uncertain = True
            if isinstance(error, Csv2KafkaError):
                self._failure = error
            else:
                self._failure = Doubt(f"a request was given up before its answer came ({error!r})")
            raise

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _drop_tasks(self) -> None:
        tasks = [sent.answer for sent in self.state.unconfirmed if sent.answer is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for sent in self.state.unconfirmed:
            sent.answer = None
