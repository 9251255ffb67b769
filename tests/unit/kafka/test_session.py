"""What both ways to deliver say of a topic."""

from __future__ import annotations

import pytest

from csv2kafka.errors import Doubt
from tests.simulation.broker import Network
from tests.simulation.job import DATA, Run, expected, visible
from tests.simulation.play import played


def test_what_could_lose_rows_is_told_once_in_a_run(caplog: pytest.LogCaptureFixture) -> None:
    async def test(net: Network) -> None:
        net.cluster.topics[DATA.topic].config["unclean.leader.election.enable"] = "true"
        run = Run(network=net)
        with pytest.raises(Doubt):
            async with run.session():
                raise Doubt("the connection is gone")
        assert (await run.run()).complete
        assert run.sessions == 2
        assert visible(net) == expected(20)

    played(test)()
    assert len([text for text in caplog.messages if "has unclean.leader.election.enable=true" in text]) == 1
