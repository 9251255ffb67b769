"""What "complete" says: every row can be seen, and it is this topic of this cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from csv2kafka.errors import ConfigError, StaleLease, StateContradiction
from csv2kafka.kafka.port import Producer
from csv2kafka.model.report import Report
from csv2kafka.sinks.kafka import KafkaSink
from tests.pipelines import Place, csv_text, source_of, values
from tests.simulation.broker import Network, network
from tests.simulation.clock import now, simulate
from tests.simulation.job import DATA, visible
from tests.simulation.play import open_transaction

ROWS = 20
DONE = "done"


async def run(
    place: Place, net: Network, *, create_topic: bool = False, dead_letter_topic: str | None = None, **options: Any
) -> Report:
    sink = KafkaSink(
        DATA.topic,
        dead_letter_topic=dead_letter_topic,
        completion_topic=DONE,
        create_topic=create_topic,
        broker_factory=net.factory(),
        clock=now,
        compression="none",
    )
    return await place.run(sink=sink, **options)


def with_topics() -> Network:
    net = network()
    for topic in (DATA.topic, DONE):
        net.cluster.make_topic(topic)
    return net


def opened_by_another(net: Network) -> Producer:
    """Another writer's transaction in the data partition."""
    return open_transaction(net.cluster, "another", DATA)


def test_is_said_only_when_nobody_hides_the_rows() -> None:
    """A consumer of the completion event may rely on every row: also behind another's open transaction."""

    async def main() -> None:
        net = with_topics()
        another = opened_by_another(net)
        job = asyncio.create_task(run(Place(source_of(csv_text(ROWS))), net))
        await asyncio.sleep(40)
        assert not job.done()
        net.cluster.end_transaction("another", another, commit=False)
        assert (await job).checkpoint.complete
        assert visible(net) == values(ROWS)

    simulate(main())


def test_is_not_said_of_another_cluster() -> None:
    async def main() -> None:
        place = Place(source_of(csv_text(ROWS)))
        await run(place, with_topics())
        with pytest.raises(StateContradiction, match=f"no topic {DATA.topic}, though job job has put 20 rows"):
            await run(place, network(), create_topic=True)
        with pytest.raises(StateContradiction, match="the checkpoint store has a checkpoint"):
            await run(place, with_topics())

    simulate(main())


def test_is_said_again_of_the_same() -> None:
    async def main() -> None:
        net, place = with_topics(), Place(source_of(csv_text(ROWS)))
        first = await run(place, net)
        again = await run(place, net)
        assert again.already_complete
        assert again.checkpoint == first.checkpoint
        assert visible(net) == values(ROWS)

    simulate(main())


def test_is_not_said_by_a_run_without_its_source() -> None:
    """Its store says complete, but another run, on a store of its own, has begun again and is on its way."""

    async def main() -> None:
        net, place = with_topics(), Place(source_of(csv_text(ROWS), block_bytes=60))
        await run(place, net)
        other = Place(source_of(csv_text(ROWS), block_bytes=60))
        other.store.faults.plan("save", StaleLease("lost"), nth=3)
        with pytest.raises(StaleLease):
            await run(other, net, restart=True, checkpoint_rows=7)
        gone = source_of(csv_text(ROWS))
        gone.faults.plan("objects", ConfigError("no such file"))
        with pytest.raises(ConfigError, match="no such file"):
            await run(place, net, source=gone)
        assert (await run(place, net)).checkpoint.counts.rows == ROWS
        assert visible(net) == values(ROWS) * 2

    simulate(main())


@pytest.mark.parametrize("nth", [3, 4, 5])
def test_is_said_also_when_dead_letters_go_to_another_topic_from_now_on(nth: int) -> None:
    """Or to the same one, made anew: it does not reach as far as the first was."""

    async def main() -> None:
        net = with_topics()
        for topic in ("refused", "emptied"):
            net.cluster.make_topic(topic)
        text = csv_text(5) + b"bad\n" * 3 + csv_text(5, 5).partition(b"\n")[2]
        place = Place(source_of(text, block_bytes=30))
        place.store.faults.plan("save", StaleLease("lost"), nth=nth)
        options: dict[str, Any] = {"on_bad_row": "dead-letter", "checkpoint_rows": 2}
        with pytest.raises(StaleLease):
            await run(place, net, dead_letter_topic="refused", **options)
        begun = now()
        report = await run(place, net, dead_letter_topic="emptied", **options)
        assert report.checkpoint.complete
        assert now() - begun < 60

    simulate(main())
