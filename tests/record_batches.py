"""Record batches made by aiokafka's encoder, for tests of what moves batches: nothing of the package in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from typing_extensions import Buffer

from csv2kafka.kafka.port import Broker, NothingDone, Producer


def batch(
    values: Sequence[bytes | None],
    producer: Producer | None = None,
    *,
    sequence: int = 0,
    transactional: bool = False,
    timestamp_ms: int | None = None,
) -> bytes:
    """An uncompressed batch v2 with these values; idempotent if a producer is given."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=transactional,
        producer_id=-1 if producer is None else producer.producer_id,
        producer_epoch=-1 if producer is None else producer.epoch,
        base_sequence=-1 if producer is None else sequence,
        batch_size=1 << 30,
    )
    now = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
    for number, value in enumerate(values):
        builder.append(number, timestamp=now, key=None, value=value, headers=[])
    return bytes(builder.build())


def values(data: Buffer) -> list[bytes | None]:
    """The values of the records in one batch, by aiokafka's decoder."""
    return [record.value for record in DefaultRecordBatch(bytes(data))]


def timestamps(data: Buffer) -> list[int]:
    """Of the records in one batch, in milliseconds since the epoch."""
    return [record.timestamp for record in DefaultRecordBatch(bytes(data))]


async def opened_producer(broker: Broker, transactional_id: str | None, timeout_ms: int = 60_000) -> Producer:
    """InitProducerId, again for as long as the answer is that nothing was done."""
    while True:
        try:
            return await broker.init_producer(transactional_id, timeout_ms=timeout_ms)
        except NothingDone:
            await asyncio.sleep(0.02)
