"""The fixtures every broker test leans on."""

from __future__ import annotations

from confluent_kafka import Producer

from tests.conftest import RunningKafka
from tests.reading import Row, read_partition


def test_a_partition_is_read_back_as_a_read_committed_consumer_sees_it(kafka: RunningKafka, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    for number in range(3):
        producer.produce(topic, key=b"k", value=b"%d" % number, headers={"h": b"v"})
    producer.commit_transaction(20)
    producer.begin_transaction()
    producer.produce(topic, value=b"not committed")
    assert producer.flush(20) == 0

    committed = read_partition(kafka.bootstrap_servers, topic)
    everything = read_partition(kafka.bootstrap_servers, topic, isolation="read_uncommitted")

    assert committed == [Row(b"k", b"%d" % number, (("h", b"v"),), number) for number in range(3)]
    assert [row.offset for row in everything] == [0, 1, 2, 4]  # 3 is the transaction's marker
    producer.abort_transaction(20)
