"""What check finds in a simulated cluster: states that contradict themselves, and requests that change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from csv2kafka.errors import Csv2KafkaError
from csv2kafka.kafka.preflight import TRANSACTION_LOG
from csv2kafka.model import Checkpoint
from csv2kafka.model.findings import Finding, Forecast
from tests.record_batches import batch
from tests.simulation.broker import Network
from tests.simulation.job import CHECKPOINTS, DATA, MemoryStore, Run
from tests.simulation.play import played

LOOKS = {"topic", "log_ends", "read", "init_producer", "add_partitions"}


async def found(net: Network, stored: Checkpoint | None, **more: object) -> dict[str, Finding]:
    """What the sink of a run finds, and that it asked for nothing that changes a log or a topic."""
    run = Run(network=net, name="check", **more)  # type: ignore[arg-type]
    findings = [one async for one in run.sink.preflight(run.description(), stored, Forecast())]
    assert {request.operation for request in net.sent if request.name == "check"} <= LOOKS
    return {one.name: one for one in findings}


def failing(findings: dict[str, Finding]) -> list[str]:
    return [one.name for one in findings.values() if one.status == "fail"]


def half_done(run: Run) -> None:
    """Stop it when ten rows are committed."""

    def stop(row: int) -> None:
        if row >= 10:
            raise Csv2KafkaError("enough")

    run.before_write = stop


async def begun(net: Network, **more: object) -> MemoryStore:
    """A job that was stopped on its way; its store."""
    store = MemoryStore()
    run = Run(network=net, store=store, **more)  # type: ignore[arg-type]
    half_done(run)
    with pytest.raises(Csv2KafkaError, match="enough"):
        await run.run()
    return store


def truncate(net: Network) -> None:
    net.cluster.log(DATA).truncate(3)


def make_anew(net: Network) -> None:
    del net.cluster.topics[DATA.topic]
    net.cluster.make_topic(DATA.topic)


def forget_checkpoints(net: Network) -> None:
    config = net.cluster.topics.pop(CHECKPOINTS.topic).config
    net.cluster.make_topic(CHECKPOINTS.topic, config=config)


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_job_on_its_way_passes(delivery: str) -> None:
    async def test(net: Network) -> None:
        store = await begun(net, delivery=delivery)
        findings = await found(net, store.checkpoint, delivery=delivery)
        assert failing(findings) == []
        if delivery == "exactly-once":
            says = findings[f"topic {CHECKPOINTS.topic}: checkpoint"].message
            assert says == "8 rows are done; a run would go on at row 9"

    played(test)()


@pytest.mark.parametrize("wrong", [truncate, make_anew])
@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_what_cannot_all_be_true_is_found_as_by_the_run(wrong: Callable[[Network], None], delivery: str) -> None:
    async def test(net: Network) -> None:
        store = await begun(net, delivery=delivery)
        wrong(net)
        findings = await found(net, store.checkpoint, delivery=delivery)
        (name,) = failing(findings)
        assert name.endswith(": checkpoint")
        with pytest.raises(Csv2KafkaError) as caught:
            await Run(network=net, name="next", store=store, delivery=delivery).run()
        assert findings[name].exit_code == caught.value.exit_code == 70

    played(test)()


def test_a_checkpoint_topic_that_has_lost_what_the_store_knows() -> None:
    async def test(net: Network) -> None:
        store = await begun(net)
        forget_checkpoints(net)
        findings = await found(net, store.checkpoint)
        assert failing(findings) == [f"topic {CHECKPOINTS.topic}: checkpoint"]
        assert failing(await found(net, store.checkpoint, restart=True)) == []
        with pytest.raises(Csv2KafkaError) as caught:
            await Run(network=net, name="next", store=store).run()
        assert caught.value.exit_code == 70

    played(test)()


def test_a_store_is_not_said_to_be_ahead_while_a_transaction_may_hide_what_counts() -> None:
    async def test(net: Network) -> None:
        store = await begun(net)
        assert store.checkpoint is not None
        ahead = evolve(store.checkpoint, generation=7)
        assert failing(await found(net, ahead)) == [f"topic {CHECKPOINTS.topic}: checkpoint"]
        async with net.factory("other")() as broker:
            producer = await broker.init_producer("other", timeout_ms=60_000)
            await broker.add_partitions("other", producer, [CHECKPOINTS])
            await broker.produce(CHECKPOINTS, batch([b"row"], producer, transactional=True), transactional_id="other")
            assert failing(await found(net, ahead)) == []

    played(test)()


def test_transactions_are_tried_under_a_name_of_their_own() -> None:
    async def test(net: Network) -> None:
        store = await begun(net)
        assert (await found(net, store.checkpoint))["transactions"].status == "not checked"
        net.cluster.make_topic(TRANSACTION_LOG)
        before = net.cluster.transactions["csv2kafka.job"].producer
        findings = await found(net, store.checkpoint)
        assert findings["transactions"].status == "pass"
        assert net.cluster.transactions["csv2kafka.job"].producer == before
        assert net.cluster.transactions["csv2kafka-check.job"].state == "empty"

    played(test)()


def test_a_cluster_that_goes_away_is_said_once() -> None:
    async def test(net: Network) -> None:
        net.dead.add("check")
        assert set(failing(await found(net, None))) == {
            "topic rows",
            f"topic {CHECKPOINTS.topic}",
            "transactions",
        }

    played(test)()
