"""What is said of a topic that could lose rows."""

from __future__ import annotations

import pytest

from csv2kafka.errors import StateContradiction
from csv2kafka.kafka import checks
from csv2kafka.kafka.port import TopicFacts
from tests.simulation.broker import Network
from tests.simulation.job import DATA
from tests.simulation.play import played

SAFE = {
    "cleanup.policy": "delete",
    "unclean.leader.election.enable": "false",
    "min.insync.replicas": "2",
    "retention.ms": "604800000",
    "max.message.bytes": "1048588",
}


def facts(config: dict[str, str] | None = None, *, replicas: int = 3) -> TopicFacts:
    return TopicFacts(name="orders", topic_id="a", partitions={0: replicas}, config={**SAFE, **(config or {})})


def test_a_safe_topic_needs_no_words() -> None:
    assert checks.warnings(facts(), 0, keyed=True) == []


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"unclean.leader.election.enable": "true"}, "unclean"),
        ({"min.insync.replicas": "1"}, "min.insync.replicas=1"),
        ({"cleanup.policy": "compact"}, "same key"),
        ({"cleanup.policy": "compact,delete"}, "same key"),
        ({"retention.ms": "60000"}, "retention.ms=60000"),
    ],
)
def test_what_could_lose_rows_is_said(config: dict[str, str], word: str) -> None:
    (text,) = checks.warnings(facts(config), 0, keyed=True)
    assert word in text
    assert "orders" in text


def test_one_replica_has_nothing_to_lose_by_one_in_sync() -> None:
    assert checks.warnings(facts({"min.insync.replicas": "1"}, replicas=1), 0, keyed=True) == []


def test_compaction_takes_only_rows_with_keys() -> None:
    assert checks.warnings(facts({"cleanup.policy": "compact"}), 0, keyed=False) == []


def test_settings_that_may_not_be_described() -> None:
    hidden = TopicFacts(name="orders", topic_id="", partitions={0: 3}, config={})
    (text,) = checks.warnings(hidden, 0, keyed=False)
    assert "may not be described" in text
    assert checks.batch_limit(hidden) == 1_048_588


@pytest.mark.parametrize(
    ("topics", "used"), [("producer", "zstd"), ("gzip", "gzip"), ("uncompressed", "none"), ("zstd", "zstd")]
)
def test_the_topics_own_compression_is_used(topics: str, used: str) -> None:
    assert checks.codec(facts({"compression.type": topics}), "zstd") == used


def test_the_topics_own_limit_counts() -> None:
    assert checks.batch_limit(facts({"segment.bytes": "4000"})) == 4000
    assert checks.batch_limit(facts({"max.message.bytes": "5000"})) == 5000


def test_a_log_that_is_too_short_is_asked_again_which_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def test(net: Network) -> None:
        async with net.factory()() as broker:
            with pytest.raises(StateContradiction, match="ends at offset 0, though 5 had been reached"):
                await checks.log_reaches(broker, DATA, 5, wait=30.0)

    played(test)()
    (told,) = caplog.messages
    assert "asking again in 30 s" in told
