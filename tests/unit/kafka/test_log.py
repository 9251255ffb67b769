"""Waiting for open transactions: how long, and what is said meanwhile."""

from __future__ import annotations

import pytest

from csv2kafka.errors import Unreachable
from csv2kafka.kafka.log import until_visible
from csv2kafka.kafka.port import TopicPartition
from tests.simulation.broker import Network
from tests.simulation.clock import now
from tests.simulation.job import DATA
from tests.simulation.play import played


def hidden_from(net: Network, offset: int, *, end: int) -> None:
    """A partition whose readers see what stands before ``offset``."""
    log = net.cluster.log(DATA)
    log.end = end
    log.open[7] = offset


def test_what_is_seen_up_to_its_very_end_is_not_waited_for() -> None:
    async def test(net: Network) -> None:
        hidden_from(net, 5, end=8)
        async with net.factory()() as broker:
            start = now()
            await until_visible(broker, DATA, 5)
            assert now() - start < 0.01
            with pytest.raises(Unreachable, match="it hides what stands up to offset 6"):
                await until_visible(broker, DATA, 6, patience=1.0)

    played(test)()


@pytest.mark.parametrize("patience", [1.0, 10.0])
def test_a_long_wait_is_told_once_and_has_an_end(patience: float, caplog: pytest.LogCaptureFixture) -> None:
    async def test(net: Network) -> None:
        hidden_from(net, 5, end=8)
        async with net.factory()() as broker:
            start = now()
            with pytest.raises(Unreachable, match=f"waited {patience:.0f} s for a transaction that began at offset 5"):
                await until_visible(broker, TopicPartition(DATA.topic, 0), 8, patience=patience)
            assert patience <= now() - start < patience + 0.2

    played(test)()
    told = [text for text in caplog.messages if f"waiting, {patience:.0f} s at most" in text]
    assert len(told) == (patience > 2.0)
