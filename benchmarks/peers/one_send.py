"""One send per row with aiokafka: csv.DictReader, json, and as many rows on their way as it takes.

``one_send.py SOURCE SERVERS TOPIC``
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys

from aiokafka import AIOKafkaProducer

BATCH_BYTES = 1 << 20
PENDING = 100_000  # rows whose answers are still to come; then wait for them


async def send(source: str, servers: str, topic: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        linger_ms=20,
        max_batch_size=BATCH_BYTES,
    )
    async with producer:
        pending = []
        with open(source, encoding="utf-8", newline="") as file:  # noqa: PTH123, ASYNC230
            for row in csv.DictReader(file):
                value = json.dumps(row, ensure_ascii=False).encode()
                pending.append(await producer.send(topic, value, partition=0))
                if len(pending) == PENDING:
                    await asyncio.gather(*pending)
                    pending.clear()
        await asyncio.gather(*pending)


if __name__ == "__main__":
    asyncio.run(send(*sys.argv[1:]))
