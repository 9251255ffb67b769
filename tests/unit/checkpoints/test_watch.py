"""How a held lease is watched; the rule itself is in the stores' conformance suite."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from csv2kafka.checkpoints.watch import Holder, acquire
from csv2kafka.testing import run_virtual

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("held", [True, False])
def test_a_wait_for_a_silent_holder_is_told_once_and_before_it_begins(
    held: bool, caplog: pytest.LogCaptureFixture
) -> None:
    holder = Holder(owner="run a", epoch=1, beat=1, since=NOW, heartbeat=NOW)
    told_at_look = []

    async def take(silent: Holder | None) -> int | Holder:
        told_at_look.append(len(caplog.messages))
        return holder if held and silent is None else 2

    assert run_virtual(acquire("orders", take, lease_seconds=15.0)) == 2
    if not held:
        assert caplog.messages == []
        return
    (told,) = caplog.messages
    assert told.startswith("the lease of job orders is held by run a (epoch 1), since 2024-01-01")
    assert "watching it for 15 s" in told
    assert told_at_look[:2] == [0, 1]
