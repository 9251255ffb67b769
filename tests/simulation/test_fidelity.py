"""The simulated cluster answers as a real broker does: sequences with names, and some that are drawn.

More of them: ``python -m tests.simulation.fidelity --sequences 1000 --bootstrap-servers localhost:9092``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from attrs import evolve

from tests.conftest import OwnKafka
from tests.simulation.fidelity import Op, Real, compared, compared_twice, drawn, modelled, real, shrunk

DRAWN = 40
SHORT_MS = 2_000  # a transaction's time-out

INIT, INIT_1, INIT_I = Op(kind="init"), Op(kind="init", who="t1"), Op(kind="init", who="i0")
ADD, ADD_BOTH, ADD_OTHER = Op(kind="add"), Op(kind="add", both=True), Op(kind="add", at=1)
ROWS, ROWS_1 = Op(kind="produce", records=2), Op(kind="produce", who="t1", records=2)
ROWS_OTHER = Op(kind="produce", records=2, at=1)
IDEMPOTENT = Op(kind="produce", who="i0", records=2)
ROWS_PLAIN = Op(kind="produce", who="n", records=2)
COMMIT, ABORT = Op(kind="end"), Op(kind="end", commit=False)
READ, READ_ALL = Op(kind="read"), Op(kind="read", committed=False)


def stale(op: Op) -> Op:
    return evolve(op, age=1)


def again(op: Op, depth: int = 1) -> Op:
    return evolve(op, sequence="again", depth=depth)


def of_other(op: Op) -> Op:
    return evolve(op, who="t1")


NAMED: dict[str, Sequence[Op]] = {
    "a transaction is committed": (INIT, ADD, ROWS, READ, READ_ALL, COMMIT, READ),
    "a transaction is aborted": (INIT, ADD, ROWS, ABORT, READ, READ_ALL),
    "one behind another": (INIT, ADD, ROWS, COMMIT, ADD, ROWS, ROWS, ABORT, ADD, ROWS, COMMIT),
    "two partitions": (INIT, ADD_BOTH, ROWS, ROWS_OTHER, COMMIT, ADD_BOTH, ROWS, ABORT),
    "a partition without a record gets a marker": (INIT, ADD_BOTH, ROWS, ABORT, ADD_BOTH, COMMIT),
    "a partition is added later": (INIT, ADD, ROWS, ADD_OTHER, ROWS_OTHER, COMMIT),
    "EndTxn(commit) twice": (INIT, ADD, ROWS, COMMIT, COMMIT, COMMIT),
    "EndTxn(abort) twice": (INIT, ADD, ROWS, ABORT, ABORT),
    "commit, then abort": (INIT, ADD, ROWS, COMMIT, ABORT),
    "abort, then commit": (INIT, ADD, ROWS, ABORT, COMMIT),
    "EndTxn without a transaction": (INIT, COMMIT, ABORT),
    "EndTxn of an empty transaction": (INIT, ADD, COMMIT, ADD, ABORT),
    "a second EndTxn ends the next transaction": (INIT, ADD, ROWS, COMMIT, ADD, ROWS, COMMIT, COMMIT),
    "requests of an id nobody knows": (Op(kind="add"), Op(kind="end"), INIT_I, ADD, COMMIT),
    "InitProducerId again": (INIT, INIT, INIT, ADD, ROWS, COMMIT),
    "InitProducerId amid a transaction": (INIT, ADD, ROWS, INIT, READ, READ_ALL, ADD, ROWS, COMMIT),
    "stale: AddPartitions": (INIT, INIT, stale(ADD), ADD),
    "stale: Produce": (INIT, ADD, ROWS, INIT, stale(ROWS), ADD, ROWS, stale(ROWS), COMMIT),
    "stale: Produce before the new one's first": (INIT, INIT, stale(ROWS), ADD, stale(ROWS), ROWS, COMMIT),
    "stale: Produce of another partition": (INIT, ADD, ROWS, INIT, ADD_BOTH, stale(ROWS_OTHER), ROWS_OTHER, COMMIT),
    "stale: commit after the fence": (INIT, ADD, ROWS, INIT, stale(COMMIT), stale(ABORT)),
    "stale: commit amid the new one's transaction": (INIT, INIT, ADD, ROWS, stale(COMMIT), COMMIT),
    "stale: a batch sent again": (INIT, ADD, ROWS, INIT, again(ROWS), ADD, ROWS, again(ROWS, 2), COMMIT),
    "abort, then produce": (INIT, ADD, ROWS, ABORT, ROWS, again(ROWS), READ_ALL),
    "commit, then produce": (INIT, ADD, ROWS, COMMIT, ROWS, READ),
    "produce without AddPartitions": (INIT, ROWS, ADD_OTHER, ROWS, ROWS_OTHER, COMMIT),
    "refused without AddPartitions, then a later one": (INIT, ROWS, ADD, evolve(ROWS, sequence="gap"), ROWS, COMMIT),
    "refused without AddPartitions, then an earlier one": (INIT, evolve(ROWS, sequence="gap"), ADD, ROWS, ROWS, COMMIT),
    "refused without AddPartitions, then a new epoch": (INIT, ROWS, INIT, ADD, evolve(ROWS, sequence="gap"), COMMIT),
    "refused without AddPartitions, then plain ones": (
        *(INIT, ROWS, evolve(ROWS, plain=True), evolve(ROWS, plain=True), ADD, ROWS, COMMIT),
    ),
    "another's transaction hides rows": (INIT, INIT_1, ADD, of_other(ADD), ROWS_1, ROWS, COMMIT, READ, of_other(ABORT)),
    "two transactions, aborted and committed": (
        *(INIT, INIT_1, ADD, of_other(ADD), ROWS, ROWS_1, ROWS, ROWS_1, ABORT, READ, of_other(COMMIT)),
        *(ADD, ROWS, of_other(ADD), ROWS_1, of_other(ABORT), ROWS, COMMIT, READ),
    ),
    "plain rows among transactions": (INIT, ADD, ROWS, ROWS_PLAIN, READ, ABORT, ROWS_PLAIN),
    "a transactional id writes without its transaction": (
        *(INIT, evolve(ROWS, plain=True), ADD, ROWS, evolve(ROWS, plain=True), COMMIT, evolve(ROWS, plain=True)),
    ),
    "duplicates": (INIT_I, *(IDEMPOTENT,) * 6, *(again(IDEMPOTENT, depth) for depth in range(1, 7))),
    "a duplicate within a transaction": (INIT, ADD, ROWS, ROWS, again(ROWS, 2), again(ROWS), COMMIT, again(ROWS)),
    "a gap": (INIT_I, IDEMPOTENT, evolve(IDEMPOTENT, sequence="gap"), evolve(IDEMPOTENT, sequence="next")),
    "too early": (INIT_I, IDEMPOTENT, evolve(IDEMPOTENT, sequence="back"), evolve(IDEMPOTENT, sequence="zero")),
    "a producer that is not known begins anywhere": (INIT_I, evolve(IDEMPOTENT, sequence="gap"), IDEMPOTENT),
    "a new epoch begins at 0": (INIT, ADD, ROWS, INIT, ADD, evolve(ROWS, sequence="gap"), ROWS, COMMIT),
    "a new epoch begins anywhere where nothing was": (INIT, INIT, ADD, evolve(ROWS, sequence="gap"), ROWS, COMMIT),
    "a new epoch begins at 0 behind markers": (INIT, ADD, INIT, ADD, evolve(ROWS, sequence="gap"), ROWS, COMMIT),
    "sequences wrap": (
        *(INIT_I, evolve(IDEMPOTENT, sequence="wrap", records=10), IDEMPOTENT, again(IDEMPOTENT), again(IDEMPOTENT, 2)),
        *(evolve(IDEMPOTENT, sequence="gap"), IDEMPOTENT),
    ),
    "sequences wrap exactly": (
        INIT_I,
        evolve(IDEMPOTENT, sequence="wrap", records=2),
        IDEMPOTENT,
        again(IDEMPOTENT, 2),
    ),
    "sequences wrap within a transaction": (
        *(INIT, ADD, evolve(ROWS, sequence="wrap", records=3), ROWS, COMMIT, ADD, ROWS, COMMIT),
    ),
    "a new idempotent producer": (INIT_I, IDEMPOTENT, INIT_I, IDEMPOTENT, stale(IDEMPOTENT), again(IDEMPOTENT, 2)),
    "the log's start is moved": (
        *(ROWS_PLAIN, ROWS_PLAIN, INIT, ADD, ROWS, COMMIT, Op(kind="delete"), READ, READ_ALL),
        *(Op(kind="read", place="before"), ADD, ROWS, again(ROWS), Op(kind="delete"), COMMIT, READ),
    ),
    "reading at and beyond the ends": (
        *(Op(kind="read", place="end"), Op(kind="read", place="beyond"), INIT, ADD, ROWS),
        *(Op(kind="read", place=place, committed=c) for place in ("stable", "end", "beyond") for c in (True, False)),
    ),
    "time-out: rows are gone": (
        *(evolve(INIT, timeout_ms=SHORT_MS), ADD, ROWS, Op(kind="wait", timeout_ms=SHORT_MS), READ, READ_ALL),
    ),
    "time-out, then commit": (
        *(evolve(INIT, timeout_ms=SHORT_MS), ADD, ROWS, Op(kind="wait", timeout_ms=SHORT_MS), COMMIT, ABORT),
    ),
    "time-out, then produce": (
        *(evolve(INIT, timeout_ms=SHORT_MS), ADD, ROWS, Op(kind="wait", timeout_ms=SHORT_MS), ROWS, again(ROWS)),
    ),
    "time-out, then AddPartitions, then a new epoch": (
        *(evolve(INIT, timeout_ms=SHORT_MS), ADD, ROWS, Op(kind="wait", timeout_ms=SHORT_MS), ADD, INIT, ADD, ROWS),
    ),
    "topics": (
        *(Op(kind="facts"), Op(kind="facts", who="new"), Op(kind="create", who="new", plain=True)),
        *(Op(kind="facts", who="new"), Op(kind="create", who="new", records=3), Op(kind="facts", who="new")),
        *(Op(kind="create", who="new", records=1), Op(kind="facts", who="new"), Op(kind="create"), Op(kind="facts")),
    ),
    "a partition that is not there": (
        *(INIT, Op(kind="add", at=7), Op(kind="produce", who="n", at=7), Op(kind="read", at=7), ADD, ROWS, COMMIT),
    ),
}


@pytest.fixture
async def there(bootstrap_servers: str) -> AsyncIterator[Real]:
    async with real(bootstrap_servers) as there:
        yield there


@pytest.mark.parametrize("name", NAMED)
async def test_the_model_answers_as_a_broker_does(name: str, there: Real) -> None:
    assert not (told := await compared(there, NAMED[name])), told


async def test_the_model_answers_as_a_broker_does_where_nobody_has_thought_of_it(there: Real) -> None:
    for seed in range(DRAWN):
        if await compared_twice(there, drawn(seed)):
            pytest.fail(f"seed {seed}:\n{await compared(there, await shrunk(there, drawn(seed)))}")


async def test_the_model_answers_as_a_broker_does_that_does_not_verify(own_kafka: OwnKafka) -> None:
    """``Cluster.verifies`` off: what brokers before 3.6 let in, these do too."""
    config = {
        "transaction.partition.verification.enable": "false",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    }
    kafka = await asyncio.to_thread(lambda: own_kafka(config=config))
    async with real(kafka.bootstrap_servers) as there:
        for name, ops in NAMED.items():
            assert not (told := await compared(there, ops, verifies=False)), f"{name}:\n{told}"
        for seed in range(DRAWN):
            assert not (told := await compared_twice(there, drawn(seed), verifies=False)), f"seed {seed}:\n{told}"


async def test_a_difference_is_seen(there: Real) -> None:
    """A model that does not verify is no model of this broker; and of the sequence only what matters is told."""
    ops = (INIT, ROWS_PLAIN, ADD_OTHER, ROWS_OTHER, ROWS)
    told = await compared(there, ops, verifies=False)
    assert told is not None
    assert "INVALID_TXN_STATE" in told
    assert "the model answers ('ok', 2)" in told
    assert await shrunk(there, ops, verifies=False) == (INIT, ROWS)
    assert await compared(there, ops) is None


def test_drawn_sequences_do_most_of_what_can_be_done() -> None:
    """Errors and values that the model gives over the seeds that are compared."""
    answers = set()
    for seed in range(DRAWN):
        for step in modelled(drawn(seed), verifies=True).steps:
            answers.add((step.op.kind, step.answer[0] if step.answer[0] == "ok" else step.answer[-1]))
    assert {
        *(("init", "ok"), ("add", "ok"), ("produce", "ok"), ("end", "ok"), ("read", "ok"), ("delete", "ok")),
        *(("produce", "OUT_OF_ORDER_SEQUENCE_NUMBER"), ("produce", "INVALID_PRODUCER_EPOCH")),
        *(("produce", "INVALID_TXN_STATE"), ("end", "INVALID_TXN_STATE"), ("end", "PRODUCER_FENCED")),
        *(("add", "PRODUCER_FENCED"), ("read", "OFFSET_OUT_OF_RANGE")),
    } <= answers
