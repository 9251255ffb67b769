"""What error codes become."""

from __future__ import annotations

import pytest

from csv2kafka.errors import ConfigError, NotAuthorized
from csv2kafka.kafka.answers import NAMES, Code, code_name, refusal
from csv2kafka.kafka.port import BrokerError, Fenced, NothingDone, OffsetOutOfRange


def test_codes_have_kafkas_names() -> None:
    for code in Code:
        assert code_name(code) == code.name
    assert (NAMES[0], NAMES[6], NAMES[45], NAMES[120]) == (
        "NONE",
        "NOT_LEADER_OR_FOLLOWER",
        "OUT_OF_ORDER_SEQUENCE_NUMBER",
        "TRANSACTION_ABORTABLE",
    )
    assert code_name(-1) == "UNKNOWN_SERVER_ERROR"
    assert code_name(999) == "UNKNOWN_ERROR"


@pytest.mark.parametrize(
    ("operation", "code", "kind"),
    [
        ("EndTxn", 51, NothingDone),
        ("EndTxn", 14, NothingDone),
        ("EndTxn", 16, BrokerError),  # NOT_COORDINATOR does not prove that nothing was done …
        ("EndTxn", 15, BrokerError),
        ("AddPartitionsToTxn", 16, BrokerError),
        ("FindCoordinator", 15, NothingDone),  # … but looking for one does nothing
        ("InitProducerId", 16, NothingDone),
        ("EndTxn", 47, Fenced),
        ("Produce", 90, Fenced),
        ("AddPartitionsToTxn", 49, Fenced),
        ("Fetch", 1, OffsetOutOfRange),
        ("Produce", 6, BrokerError),
        ("Produce", 3, BrokerError),
        ("Produce", 46, BrokerError),
        ("Produce", 52, BrokerError),
        ("Produce", -1, BrokerError),
        ("Produce", 19, BrokerError),
        ("Produce", 10, ConfigError),
        ("InitProducerId", 50, ConfigError),
        ("Produce", 29, NotAuthorized),
    ],
)
def test_what_a_code_becomes(operation: str, code: int, kind: type[Exception]) -> None:
    error = refusal(operation, "orders-0", code)
    assert type(error) is kind
    assert operation in error.message
    assert "orders-0" in error.message
    assert code_name(code) in error.message
    assert error.retryable is issubclass(kind, BrokerError)


@pytest.mark.parametrize(
    ("operation", "code", "acl", "actions"),
    [
        ("Produce", 29, "Write on the topic", ["WriteData"]),
        ("AddPartitionsToTxn", 29, "Write on the topic", ["WriteData"]),
        ("Fetch", 29, "Read on the topic", ["ReadData"]),
        ("Metadata", 29, "Describe on the topic", ["DescribeTopic"]),
        ("CreateTopics", 31, "Create on the topic or the cluster", ["CreateTopic"]),
        ("InitProducerId", 31, "IdempotentWrite on the cluster", ["WriteDataIdempotently"]),
        ("InitProducerId", 53, "transactional id", ["AlterTransactionalId", "DescribeTransactionalId"]),
        ("FindCoordinator", 53, "transactional id", ["DescribeTransactionalId"]),
    ],
)
def test_a_missing_permission_is_named_for_acls_and_for_iam(
    operation: str, code: int, acl: str, actions: list[str]
) -> None:
    hint = refusal(operation, "orders", code).hint
    assert acl in hint
    assert all(f"kafka-cluster:{action}" in hint for action in actions)


def test_the_brokers_own_words_are_passed_on() -> None:
    assert "no key" in str(refusal("Produce", "orders-0", 87, "no key"))
    assert "out of disk" in str(refusal("Produce", "orders-0", 56, "out of disk"))
