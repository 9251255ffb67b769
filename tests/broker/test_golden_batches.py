"""Our record batches, of either kernel, as others read them: Kafka's own DumpLogSegments, librdkafka and aiokafka.

The batches go through the port into a real broker, which checks and keeps them as they are.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import re
import subprocess
import time
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from types import ModuleType

import aiokafka
import pytest
from attrs import frozen

from csv2kafka.cli.local_kafka import LocalKafka, fetch_jars, java
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.packer import UNCOMPRESSED_BYTES
from csv2kafka.kafka.port import Broker, Producer, TopicPartition
from csv2kafka.kernel import COMPRESSIONS, stamp
from csv2kafka.model import Dialect, Records
from tests import twins
from tests.conftest import create_topic, need_local_kafka
from tests.reading import read_partition
from tests.record_batches import opened_producer

MIB = 1 << 20
TIMESTAMP_MS = int(time.time() * 1000) - 5000  # of now: what is older than retention.ms goes
DUMP_SECONDS = 60

Header = tuple[str, bytes | None]
Row = tuple[bytes | None, bytes | None, tuple[Header, ...]]

_NOISE = random.Random(1)  # does not compress, so that no codec's batch is small
RECORDS: dict[str, list[Row]] = {
    "one": [(None, b"value", ())],
    "keys": [(b"key", b"1", ()), (None, b"2", ()), (b"", b"3", ()), ("ключ".encode(), b"4", ())],
    "nulls": [(b"key", None, ()), (b"key", b"", ()), (None, None, ())],
    "headers": [
        (None, b"1", (("source", b"s3://bucket/orders.csv"), ("row", b"17"), ("reason", "zu kurz – ß".encode()))),
        (None, b"2", (("empty", b""), ("null", None), ("größe", b"x"))),
        (None, b"3", ()),
        (None, None, (("large", bytes(100_000)),)),
    ],
    # Lengths and deltas around each size of a varint: one byte to 63, two to 8191, three to 1048575.
    "varints": [(b"k" * size, b"v" * size, ()) for size in (62, 63, 64, 65, 8190, 8191, 8192, 8193)],
    "many": [(None, b"%d" % number, ()) for number in range(20_000)],
    "binary": [(bytes(range(256)), bytes(range(256)) * 5, ()), (b"\n", b"a\nb\r\n\0", ())],
    "large": [(None, b"x" * (2 * MIB), ()), (b"noise", _NOISE.randbytes(MIB), ())],
}
COLUMNS: dict[str, list[Row]] = {
    "one row": [(None, b'{"id":"1"}', ())],
    "one row with a key": [(b"1", b'{"id":"1"}', ())],
    "rows": [(None, b'{"id":"%d","name":"\xc3\xa9t\xc3\xa9"}' % number, ()) for number in range(10_000)],
    "keyed": [(b"%d" % (number % 7), b"v" * (number % 300), ()) for number in range(3_000)],
    "empty": [(None, b"", ())] * 100,
    "empty with keys": [(b"k" * (number % 2), b"", ()) for number in range(100)],
    "wide": [(None, b"y" * size, ()) for size in (0, 65_535, 65_536, 70_000, 1_100_000)],
    "wide with keys": [(b"k" * size, b"y" * size, ()) for size in (70_000, 63, 65_536)],
    "largest row": [(b"key", _NOISE.randbytes(UNCOMPRESSED_BYTES - 100), ())],
}
HEADER = ("id", "name", 'say "é"')
NAMES = ["plain", "a, comma", 'a "quote"', "two\nlines", "naïve ☕", "", "crlf\r\ninside", "tab\t\\", "x" * 70_000]


@frozen
class Sent:
    """A batch as it was given to the broker."""

    name: str
    codec: str
    rows: Sequence[Row]
    batch: bytearray


def batches(codec: str, kernel: ModuleType) -> list[Sent]:
    def of_columns(name: str, records: Records, rows: Sequence[Row], first: int = 0) -> Sent:
        """Of the records from ``first`` on, which are these rows."""
        return Sent(name, codec, rows, kernel.pack_batch(records, first, first + len(rows), compression=codec))

    by_record = [
        Sent(name, codec, rows, kernel.pack_records(rows, compression=codec)) for name, rows in RECORDS.items()
    ]
    by_column = [of_columns(name, columns(rows), rows) for name, rows in COLUMNS.items()]
    encoded = [
        of_columns(f"encoded with keys {keys}", *encode(kernel, 2 * len(NAMES), keys)) for keys in [(), (1,), (1, 0)]
    ]
    # A whole batch, as the packer makes them: as many rows as are allowed. The middle of some columns, as it takes it.
    full = encode(kernel, UNCOMPRESSED_BYTES // 125, (0,), names=NAMES[:-1])
    middle = columns(COLUMNS["keyed"]), COLUMNS["keyed"][100:900], 100
    return [*by_record, *by_column, *encoded, of_columns("full", *full), of_columns("middle", *middle)]


def columns(rows: Sequence[Row]) -> Records:
    values = [value or b"" for _, value, _ in rows]
    keys = [key for key, _, _ in rows if key is not None]
    return Records(
        values=b"".join(values),
        value_ends=array("I", accumulate(map(len, values))),
        keys=b"".join(keys) if keys else None,
        key_ends=array("I", accumulate(map(len, keys))) if keys else None,
    )


def encode(
    kernel: ModuleType, count: int, keys: tuple[int, ...], *, names: Sequence[str] = NAMES
) -> tuple[Records, list[Row]]:
    """Rows of a CSV as the kernel encodes them, and as Python's own csv and json have them."""
    cells = [(str(number), names[number % len(names)], "z" * 60) for number in range(count)]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(cells)
    records: Records = kernel.encode_json(
        text.getvalue().encode(), dialect=Dialect(), header=HEADER, keys=keys, last=True
    )
    expected: list[Row] = []
    for row in cells:
        picked = [row[column] for column in keys]
        key = None if not keys else picked[0].encode() if len(keys) == 1 else as_json(picked)
        expected.append((key, as_json(dict(zip(HEADER, row, strict=True))), ()))
    return records, expected


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker whose log files can be read."""
    need_local_kafka()
    with LocalKafka(tmp_path_factory.mktemp("golden")) as node:
        yield node


@pytest.fixture
async def broker(node: LocalKafka) -> AsyncIterator[Broker]:
    async with broker_factory({"bootstrap_servers": node.bootstrap_servers})() as broker:
        yield broker


async def send(broker: Broker, topic: str, sent: Sequence[Sent], transactional_id: str | None) -> Producer:
    """Under one producer, whose sequences go on from batch to batch."""
    target = TopicPartition(topic, 0)
    producer = await opened_producer(broker, transactional_id)
    if transactional_id is not None:
        await broker.add_partitions(transactional_id, producer, [target])
    sequence = 0
    for one in sent:
        stamp(
            one.batch,
            producer_id=producer.producer_id,
            epoch=producer.epoch,
            sequence=sequence,
            timestamp_ms=TIMESTAMP_MS,
            transactional=transactional_id is not None,
        )
        assert await broker.produce(target, one.batch, transactional_id=transactional_id) == sequence
        sequence += len(one.rows)
    if transactional_id is not None:
        await broker.end_transaction(transactional_id, producer, commit=True)
        async with asyncio.timeout(20):
            while (await broker.log_ends(target)).stable <= sequence:
                await asyncio.sleep(0.02)
    return producer


@pytest.mark.parametrize(("kernel", "transactional"), [("python", False), ("native", True)], ids=["python", "native"])
@pytest.mark.parametrize("codec", COMPRESSIONS)
async def test_others_read_what_was_written(
    broker: Broker, node: LocalKafka, codec: str, kernel: str, transactional: bool
) -> None:
    topic = f"golden-{codec}-{kernel}"
    create_topic(node.bootstrap_servers, topic, config={"max.message.bytes": str(16 * MIB)})
    sent = await asyncio.to_thread(batches, codec, twins.kernel_of(kernel))
    expected = [row for one in sent for row in one.rows]

    producer = await send(broker, topic, sent, topic if transactional else None)

    dumped = await asyncio.to_thread(dump, node.directory / "data" / f"{topic}-0" / f"{0:020}.log")
    assert [(one.count, one.codec, one.valid) for one in dumped if not one.is_control] == [
        (len(one.rows), codec, True) for one in sent
    ]
    assert {(one.producer_id, one.is_transactional) for one in dumped} == {(producer.producer_id, transactional)}
    assert [(key, value, names) for one in dumped for key, value, names in one.records] == [
        (size(key), size(value), [name for name, _ in headers]) for key, value, headers in expected
    ]
    assert [sequence for one in dumped for sequence in one.sequences] == list(range(len(expected)))
    assert {one.timestamp_ms for one in dumped if not one.is_control} == {TIMESTAMP_MS}

    seen = await asyncio.to_thread(read_partition, node.bootstrap_servers, topic)
    assert [(row.key, row.value, row.headers) for row in seen] == expected

    assert await by_aiokafka(node.bootstrap_servers, topic, len(expected)) == expected


def size(data: bytes | None) -> int:
    return -1 if data is None else len(data)


async def by_aiokafka(bootstrap_servers: str, topic: str, count: int) -> list[Row]:
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=16 * MIB,
    )
    consumer.assign([aiokafka.TopicPartition(topic, 0)])
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            rows: list[Row] = []
            while len(rows) < count:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    rows += [(record.key, record.value, tuple(record.headers)) for record in records]
            return rows
    finally:
        await consumer.stop()


@frozen
class Dumped:
    """A batch as DumpLogSegments saw it. ``records``: sizes of key and value (-1: null), names of headers."""

    count: int
    codec: str
    valid: bool
    producer_id: int
    is_transactional: bool
    is_control: bool
    timestamp_ms: int
    records: list[tuple[int, int, list[str]]]
    sequences: list[int]


_BATCH = re.compile(
    r"baseOffset: \d+ lastOffset: \d+ count: (\d+) .* producerId: (-?\d+) .* isTransactional: (\w+) isControl: (\w+) "
    r".* CreateTime: (\d+) .* compresscodec: (\w+) .* isvalid: (\w+)"
)
_RECORD = re.compile(
    r"\| offset: \d+ CreateTime: \d+ keySize: (-?\d+) valueSize: (-?\d+) sequence: (-?\d+) headerKeys: \[(.*?)\]"
)


def dump(log: Path) -> list[Dumped]:
    """Kafka's own reading of a log segment."""
    command = [java() or "java", "-cp", f"{fetch_jars()}/*", "kafka.tools.DumpLogSegments", "--deep-iteration"]
    done = subprocess.run(
        [*command, "--print-data-log", "--files", str(log)],
        capture_output=True, encoding="utf-8", errors="replace", timeout=DUMP_SECONDS, check=True,
        env={"JAVA_TOOL_OPTIONS": "-Dfile.encoding=UTF-8 -Dstdout.encoding=UTF-8", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    found: list[Dumped] = []
    for line in done.stdout.split("\n"):
        if batch := _BATCH.match(line):
            found.append(
                Dumped(
                    count=int(batch[1]),
                    codec=batch[6].lower(),
                    valid=batch[7] == "true",
                    producer_id=int(batch[2]),
                    is_transactional=batch[3] == "true",
                    is_control=batch[4] == "true",
                    timestamp_ms=int(batch[5]),
                    records=[],
                    sequences=[],
                )
            )
        elif (record := _RECORD.match(line)) and not found[-1].is_control:
            names = record[4].split(",") if record[4] else []
            found[-1].records.append((int(record[1]), int(record[2]), names))
            found[-1].sequences.append(int(record[3]))
    return found
