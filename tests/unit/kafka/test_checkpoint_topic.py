"""The checkpoint topic as it is made."""

from __future__ import annotations

from csv2kafka.kafka import checkpoint_topic
from tests.simulation.broker import Network
from tests.simulation.play import played


def test_it_is_made_with_one_partition_compacted_and_never_led_by_who_lacks_something() -> None:
    async def test(net: Network) -> None:
        async with net.factory()() as broker:
            made = await checkpoint_topic.prepare(broker, "checkpoints", min_insync_replicas="2")
            assert await checkpoint_topic.prepare(broker, "checkpoints", min_insync_replicas="3") == made
        assert list(made.partitions) == [checkpoint_topic.partition_of("checkpoints").partition] == [0]
        assert made.config["cleanup.policy"] == "compact"
        assert made.config["unclean.leader.election.enable"] == "false"
        assert made.config["min.insync.replicas"] == "2"

    played(test)()
