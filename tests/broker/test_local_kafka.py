"""The real local Kafka: what it keeps over a restart."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from tests.conftest import OwnKafka, create_topic
from tests.reading import read_partition


@pytest.mark.slow
def test_data_and_address_stay_over_a_stop_and_a_kill(own_kafka: OwnKafka) -> None:
    node = own_kafka()
    address = node.bootstrap_servers
    create_topic(address, "t")

    producer = Producer({"bootstrap.servers": address, "acks": "all"})
    for value, again in ((b"1", node.restart), (b"2", node.kill)):
        producer.produce("t", value=value)
        assert producer.flush(30) == 0
        again()
    node.start()

    assert node.bootstrap_servers == address
    assert [row.value for row in read_partition(address, "t")] == [b"1", b"2"]
