"""What a batch is stamped with on its way out. What may follow what is in tests/simulation/test_writing_traps.py."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from csv2kafka.errors import Csv2KafkaError, StateContradiction
from csv2kafka.kafka.port import Broker, BrokerError, NothingDone, Producer, TopicPartition
from csv2kafka.kafka.writer import LONGEST_REPEAT_PAUSE, REPEAT_SECONDS, ProducerState, Writer, repeated
from csv2kafka.kernel import pack_records, unpack_batch
from csv2kafka.testing import run_virtual
from tests.record_batches import timestamps

TARGET = TopicPartition("rows", 0)


class Taking:
    """A broker that takes everything."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.ended: list[bool] = []
        self.refusing = False

    async def add_partitions(self, *_: object) -> None:
        """They are in the transaction."""

    async def end_transaction(self, _: str, __: Producer, *, commit: bool) -> None:
        self.ended.append(commit)

    async def produce(self, target: TopicPartition, batch: bytes, *, transactional_id: str | None) -> int:
        if self.refusing:
            raise BrokerError("too large", code=10, name="MESSAGE_TOO_LARGE")
        self.taken.append(bytes(batch))
        return 10 * len(self.taken)


async def test_a_batch_has_the_time_of_its_sending_in_milliseconds_and_the_next_sequence() -> None:
    broker = Taking()
    state = ProducerState(Producer(producer_id=7, epoch=3), sequences={TARGET: 2**31 - 2})
    writer = Writer(
        cast("Broker", broker), state, transactional_id=None, clock=lambda: 1_700_000_000.5, next_offsets={}
    )
    for count in (3, 1):
        await writer.write(TARGET, pack_records([(None, b"row", [])] * count))
    await writer.confirmed()
    assert [timestamps(batch) for batch in broker.taken] == [[1_700_000_000_500] * 3, [1_700_000_000_500]]
    assert [int.from_bytes(batch[53:57], "big") for batch in broker.taken] == [2**31 - 2, 1]
    assert state.sequences == {TARGET: 2}
    assert len(unpack_batch(broker.taken[0]).records) == 3


def test_what_is_asked_again_is_not_asked_behind_its_bound() -> None:
    asked: list[float] = []

    async def request() -> None:
        asked.append(asyncio.get_running_loop().time())
        raise NothingDone("a coordinator that loads", code=14, name="COORDINATOR_LOAD_IN_PROGRESS")

    with pytest.raises(NothingDone):
        run_virtual(repeated(request))
    assert REPEAT_SECONDS - LONGEST_REPEAT_PAUSE < asked[-1] - asked[0] <= REPEAT_SECONDS
    assert len(asked) > REPEAT_SECONDS / LONGEST_REPEAT_PAUSE


def transactional(broker: Taking, *, reached: int = 0) -> Writer:
    """``reached``: the log's end on opening."""
    state = ProducerState(Producer(producer_id=7, epoch=3))
    return Writer(
        cast("Broker", broker),
        state,
        transactional_id="job",
        clock=lambda: 1_700_000_000.5,
        next_offsets={TARGET: reached},
    )


async def test_a_commit_of_nothing_ends_no_transaction() -> None:
    broker = Taking()
    await transactional(broker).commit()
    assert broker.ended == []


@pytest.mark.parametrize("reached", [0, 100])
async def test_what_failed_is_committed_neither_now_nor_when_it_is_tried_again(reached: int) -> None:
    """Refused, or written below what the log had reached."""
    broker = Taking()
    broker.refusing = not reached
    writer = transactional(broker, reached=reached)
    await writer.write(TARGET, pack_records([(None, b"row", [])]))
    for _ in range(2):
        with pytest.raises(StateContradiction if reached else Csv2KafkaError):
            await writer.commit()
    assert broker.ended == []
