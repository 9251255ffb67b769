"""What many would write: csv.DictReader, json, librdkafka's Python client, a flush every 10,000 rows.

``dict_reader.py SOURCE SERVERS TOPIC``
"""

from __future__ import annotations

import csv
import json
import sys

from confluent_kafka import KafkaError, Message, Producer

FLUSH_ROWS = 10_000
QUEUED = 100_000


def main() -> None:
    source, servers, topic = sys.argv[1:]
    failed: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(str(error))

    settings = {"enable.idempotence": True, "acks": "all", "compression.type": "zstd", "linger.ms": 20}
    producer = Producer({"bootstrap.servers": servers, "queue.buffering.max.messages": QUEUED, **settings})
    with open(source, encoding="utf-8", newline="") as file:  # noqa: PTH123
        for number, row in enumerate(csv.DictReader(file), 1):
            value = json.dumps(row, ensure_ascii=False).encode()
            producer.produce(topic, value, partition=0, on_delivery=delivered)
            if number % FLUSH_ROWS == 0:
                producer.flush()
    producer.flush()
    if failed:
        sys.exit(f"{len(failed)} not delivered: {failed[0]}")


if __name__ == "__main__":
    main()
