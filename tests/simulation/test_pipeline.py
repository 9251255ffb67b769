"""The real pipeline and the real sink, over a network that loses, delays and cuts: every row once, in order."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import suppress
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from csv2kafka.chunk_size import ChunkSize
from csv2kafka.errors import Csv2KafkaError
from csv2kafka.kafka.port import TopicPartition
from csv2kafka.model.report import Report
from csv2kafka.sinks.kafka import KafkaSink
from tests.pipelines import Place, source_of, values
from tests.simulation.broker import Fault, Network, network
from tests.simulation.clock import now, simulate
from tests.simulation.job import DATA, visible

ROWS = 30
BAD_ROWS = (b"bad", b"4,four,x")
TEXT = b"id,name\n" + b"".join(
    b"%d,name %d\n" % (row, row) + (BAD_ROWS[row // 20] + b"\n" if row in (10, 25) else b"") for row in range(ROWS)
)
REFUSED = TopicPartition("refused", 0)
DONE = TopicPartition("done", 0)

faults = st.one_of(
    st.builds(Fault, delay=st.sampled_from([0.01, 5.0, 30.5, 45.0])),
    st.builds(Fault, answer_delay=st.sampled_from([0.01, 29.0, 45.0])),
    st.just(Fault(lost=True)),
    st.just(Fault(answer_lost=True)),
    st.builds(Fault, cut=st.just(True), delay=st.sampled_from([0.0, 0.5, 10.0])),
    st.builds(Fault, code=st.sampled_from([14, 16])),
)


async def run(place: Place, net: Network, name: str, seed: int, **options: Any) -> Report:
    draw = random.Random(seed).random
    sink = KafkaSink(
        DATA.topic,
        delivery=options.pop("delivery"),
        dead_letter_topic=REFUSED.topic,
        completion_topic=DONE.topic,
        broker_factory=net.factory(name),
        clock=now,
        draw=draw,
        compression="none",
    )
    pipeline = place.pipeline(sink=sink, on_bad_row="dead-letter", **options)
    return await pipeline.run()


@settings(max_examples=40, deadline=None)
@given(
    planned=st.dictionaries(st.integers(0, 60), faults, max_size=6),
    killed_at=st.none() | st.sampled_from([0.01, 0.05, 0.3, 1.0, 31.0]),
    delivery=st.sampled_from(["exactly-once", "at-least-once"]),
    rows=st.none() | st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_every_row_once_whatever_the_network_does(
    planned: dict[int, Fault], killed_at: float | None, delivery: str, rows: int | None, seed: int
) -> None:
    async def main() -> None:
        net = network()
        for topic in (DATA, REFUSED, DONE):
            net.cluster.make_topic(topic.topic)
        numbers = itertools.count()
        net.faults = lambda _: planned.get(next(numbers))
        place = Place(source_of(TEXT, block_bytes=50))
        options = {"delivery": delivery, "checkpoint_rows": rows, "checkpoint_interval": 0.1, "connect_timeout": 1e6}
        if killed_at is not None:
            first = asyncio.create_task(run(place, net, "first", seed, **options))
            await asyncio.wait({first}, timeout=killed_at)
            net.dead.add("first")
            first.cancel()
            with suppress(asyncio.CancelledError, Csv2KafkaError):
                await first
        report = await run(place, net, "last", seed + 1, **options)
        await asyncio.sleep(1000)  # what is still in the network arrives, what is open is ended
        assert visible(net) == values(ROWS)
        counts = report.checkpoint.counts
        assert (counts.rows, counts.bad_rows) == (ROWS, len(BAD_ROWS))
        letters = visible(net, REFUSED)
        assert letters == list(BAD_ROWS) if delivery == "exactly-once" else set(letters) == set(BAD_ROWS)
        events = visible(net, DONE)
        assert len(events) == 1 if delivery == "exactly-once" else events

    with patch.object(ChunkSize, "bytes", lambda *_: 60):
        simulate(main())
