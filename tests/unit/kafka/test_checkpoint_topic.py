"""The checkpoint topic as it is made, and what in it is not ours."""

from __future__ import annotations

import pytest

from csv2kafka.errors import StateContradiction
from csv2kafka.kafka import checkpoint_topic
from csv2kafka.kafka.checkpoint_topic import Claim
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


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"3", b"{}", b'{"run_id": "a"}', b'{"store_id": null, "at": ""}']
)
def test_a_claim_that_is_none_is_told_with_its_place(data: bytes) -> None:
    with pytest.raises(StateContradiction, match="checkpoints-0 at offset 7: not a claim"):
        Claim.from_json(data, where="checkpoints-0 at offset 7")
