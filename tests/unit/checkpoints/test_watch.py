"""How a held lease is watched; the rule itself is in the stores' conformance suite."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

import pytest
from attrs import evolve

from csv2kafka.checkpoints.watch import Holder, acquire
from csv2kafka.errors import LeaseHeld
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


@pytest.mark.parametrize(
    ("beats", "ends_after"),
    [
        ((), 15.0),
        ((2.0,), 17.0),  # on its way when the run died
        ((2.0, 3.5), 18.5),  # with a checkpoint
        ((2.0, 7.0), None),
        ((1.0, 2.0, 3.0, 4.0, 5.0), None),
        ((14.0, 28.0), None),
    ],
)
def test_a_run_lives_if_its_heartbeat_moves_twice(beats: tuple[float, ...], ends_after: float | None) -> None:
    holder = Holder(owner="run a", epoch=1, beat=1, since=NOW, heartbeat=NOW)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def take(silent: Holder | None) -> int | Holder:
            now = evolve(holder, beat=sum(beat <= loop.time() - start for beat in beats))
            return 2 if now == silent else now

        with pytest.raises(LeaseHeld) if ends_after is None else contextlib.nullcontext():
            assert await acquire("orders", take, lease_seconds=15.0) == 2
        return loop.time() - start

    seconds = run_virtual(main())
    if ends_after is not None:
        assert ends_after <= seconds <= ends_after + 1.1
    else:
        assert seconds <= beats[-1] + 1.1
