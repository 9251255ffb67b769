"""Is the simulated cluster what a broker is? The same operations of the port against both, answer by answer.

    python -m tests.simulation.fidelity --sequences 1000 --bootstrap-servers localhost:9092
    python -m tests.simulation.fidelity --seed 17 --bootstrap-servers localhost:9092

What is compared: of each operation the value or the error's class and name, and once what it set going has settled,
where the log starts, ends and is stable; at the end everything that a reader of either isolation is given. Producer
ids are told apart by the order in which they were given.

What differs, and why:
- an answer of class NothingDone is no answer: both are asked again, because the model's markers take another time;
- the model's topics have neither the user's ``operations`` nor most settings;
- without ``Cluster.verifies`` the model is a broker before 3.6, or one that is told not to verify
  (``transaction.partition.verification.enable=false``), which is what it is compared with then.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import random
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field, fields, frozen
from confluent_kafka import TopicPartition as AdminPartition
from confluent_kafka.admin import AdminClient

from csv2kafka.errors import Csv2KafkaError
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import Broker, BrokerError, Isolation, NothingDone, Producer, TopicPartition
from tests.record_batches import batch, values
from tests.simulation.broker import Network, network
from tests.simulation.clock import simulate

PARTITIONS = 2
MIB = 1 << 20
SETTLE_SECONDS = 15.0  # for markers, and for a time-out of a transaction
POLL_SECONDS = 0.005
MODEL_SECONDS = 0.1  # in which its markers are written
REPEATS = 2_000
LAST_SEQUENCE = 2**31 - 1
TRANSACTIONAL = ("t0", "t1")
IDEMPOTENT = ("i0",)

Answer = tuple[Any, ...]


@frozen(kw_only=True)
class Op:
    """``kind``: init, add, produce, end, delete, read, wait, facts, create. ``who``: t0 and t1 have transactional ids,
    i0 is idempotent, n has no producer id. ``age``: which of its identities, counted back from the newest.
    ``sequence``: of a batch: ``next``, ``gap``, ``back``, ``zero``, ``wrap``, or ``again`` for an identical batch,
    ``depth`` back. ``plain``: a batch outside any transaction. ``place``: for reading: ``start``, ``end``, ``beyond``,
    ``before``, ``stable``."""

    kind: str
    who: str = "t0"
    age: int = 0
    at: int = 0
    records: int = 1
    sequence: str = "next"
    depth: int = 1
    plain: bool = False
    both: bool = False
    commit: bool = True
    committed: bool = True
    place: str = "start"
    timeout_ms: int = 60_000

    def __str__(self) -> str:
        changed = {f.name: getattr(self, f.name) for f in fields(Op) if getattr(self, f.name) != f.default}
        return "Op(" + ", ".join(f"{name}={value!r}" for name, value in changed.items()) + ")"


@define(eq=False, kw_only=True)
class Player:
    """Plays operations on a topic of its own. ``delete(partition, offset)`` makes the log start there."""

    broker: Broker
    topic: str
    delete: Callable[[TopicPartition, int], Awaitable[None]]
    identities: dict[str, list[Producer]] = field(factory=dict)
    ids: dict[int, int] = field(factory=lambda: {-1: -1})
    next: dict[tuple[Producer | None, int], int] = field(factory=dict)
    sent: dict[tuple[str, int], list[tuple[bytes, str | None]]] = field(factory=dict)
    produced: int = 0

    async def play(self, op: Op) -> Answer:
        """What it was answered."""
        try:
            return ("ok", await getattr(self, f"_{op.kind}")(op))
        except BrokerError as error:
            return (_kind(error), error.name)
        except Csv2KafkaError as error:
            return (_kind(error),)

    async def ends(self) -> tuple[Any, ...]:
        return tuple([await self._ends(at) for at in range(PARTITIONS)])

    async def everything(self) -> tuple[Any, ...]:
        """Both partitions as readers of both isolations see them."""
        return tuple([await self._log(at, isolation) for at in range(PARTITIONS) for isolation in Isolation])

    async def _ends(self, at: int) -> tuple[int, int, int]:
        ends = await self.broker.log_ends(self._partition(at))
        return ends.start, ends.end, ends.stable

    async def _log(self, at: int, isolation: Isolation) -> tuple[Any, ...]:
        start, end, stable = await self._ends(at)
        found: list[Any] = []
        position, stop = start, stable if isolation is Isolation.READ_COMMITTED else end
        while position < stop:
            read = await self.broker.read(self._partition(at), position, isolation, max_bytes=MIB)
            found += [self._told(one) for one in read.batches]
            if read.next_offset <= position:
                found.append(f"nothing more at {position}, though {stop} was the end")
                break
            position = read.next_offset
        return tuple(found)

    def _told(self, one: Any) -> tuple[Any, ...]:
        """Of a batch, all but its bytes."""
        return (
            *(one.base_offset, one.last_offset, self._id(one.producer_id), one.producer_epoch),
            *(name for name in ("is_control", "is_transactional", "aborted") if getattr(one, name)),
            *(() if one.is_control else [value.decode() for value in values(one.data) if value is not None]),
        )

    # --- operations ---

    async def _init(self, op: Op) -> Any:
        name = None if op.who in IDEMPOTENT else self._name(op.who)
        producer = await _answered(lambda: self.broker.init_producer(name, timeout_ms=op.timeout_ms))
        self.identities.setdefault(op.who, []).append(producer)
        return self._id(producer.producer_id), producer.epoch

    async def _add(self, op: Op) -> None:
        targets = [self._partition(at) for at in range(PARTITIONS)] if op.both else [self._partition(op.at)]
        producer = self._identity(op) or Producer(producer_id=1, epoch=0)
        await _answered(lambda: self.broker.add_partitions(self._name(op.who), producer, targets))

    async def _produce(self, op: Op) -> int:
        before = self.sent.setdefault((op.who, op.at), [])
        producer = self._identity(op)
        transactional = op.who in TRANSACTIONAL and not op.plain
        if op.sequence == "again" and len(before) >= op.depth:
            data, name = before[-op.depth]
            return await self.broker.produce(self._partition(op.at), data, transactional_id=name)
        key = producer, op.at
        sequence = self._sequence(op, self.next.get(key, 0))
        rows = [f"{op.who} {self.produced + number}".encode() for number in range(op.records)]
        self.produced += op.records
        data = batch(rows, producer, sequence=sequence, transactional=transactional and producer is not None)
        name = self._name(op.who) if transactional and producer is not None else None
        base = await self.broker.produce(self._partition(op.at), data, transactional_id=name)
        before.append((data, name))
        self.next[key] = (sequence + op.records) % (LAST_SEQUENCE + 1)
        return base

    async def _end(self, op: Op) -> None:
        producer = self._identity(op) or Producer(producer_id=1, epoch=0)
        await _answered(lambda: self.broker.end_transaction(self._name(op.who), producer, commit=op.commit))

    async def _delete(self, op: Op) -> None:
        start, _, stable = await self._ends(op.at)
        await self.delete(self._partition(op.at), start + (stable - start) // 2)

    async def _read(self, op: Op) -> Any:
        start, end, stable = await self._ends(op.at)
        offset = {"start": start, "end": end, "beyond": end + 1, "before": start - 1, "stable": stable}[op.place]
        if offset < 0:
            return None  # no offset at all: the broker gives it another meaning
        isolation = Isolation.READ_COMMITTED if op.committed else Isolation.READ_UNCOMMITTED
        read = await self.broker.read(self._partition(op.at), offset, isolation, max_bytes=MIB)
        ends = read.ends.start, read.ends.end, read.ends.stable
        return [self._told(one) for one in read.batches], read.next_offset, ends

    async def _wait(self, op: Op) -> None:
        """Until what was to come has come: the caller waits for the same ends."""

    async def _facts(self, op: Op) -> Any:
        facts = await self.broker.topic(self.topic if op.who == "t0" else f"{self.topic}-{op.who}")
        if facts is None:
            return None
        config = {name: facts.config.get(name) for name in ("cleanup.policy", "max.message.bytes")}
        again = await self.broker.topic(facts.name)
        assert again is not None
        return dict(facts.partitions), config, len(facts.topic_id), again.topic_id == facts.topic_id

    async def _create(self, op: Op) -> None:
        name = self.topic if op.who == "t0" else f"{self.topic}-{op.who}"
        await self.broker.create_topic(
            name, partitions=op.records, config={"cleanup.policy": "compact"}, only_try=op.plain
        )

    # --- names ---

    def _sequence(self, op: Op, expected: int) -> int:
        return {
            "next": expected,
            "gap": expected + 2,
            "back": max(0, expected - 1),
            "zero": 0,
            "wrap": LAST_SEQUENCE - 1,
            "again": expected,
        }[op.sequence] % (LAST_SEQUENCE + 1)

    def _identity(self, op: Op) -> Producer | None:
        known = self.identities.get(op.who, [])
        return known[max(0, len(known) - 1 - op.age)] if known else None

    def _partition(self, at: int) -> TopicPartition:
        return TopicPartition(self.topic, at)

    def _name(self, who: str) -> str:
        return f"{self.topic}.{who}"

    def _id(self, producer_id: int) -> int:
        return self.ids.setdefault(producer_id, len(self.ids) - 1)


def _kind(error: Csv2KafkaError) -> str:
    return type(error).__name__


async def _answered(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer, asked for again while it is that nothing was done."""
    for _ in range(REPEATS):
        try:
            return await ask()
        except NothingDone:
            await asyncio.sleep(POLL_SECONDS)
    raise AssertionError("no end of NothingDone")


@frozen(kw_only=True)
class Step:
    """An operation, its answer, and the ends behind it."""

    op: Op
    answer: Answer
    ends: tuple[Any, ...]


@frozen(kw_only=True)
class Played:
    """A sequence as it went. ``seen``: what readers are given at the end."""

    steps: tuple[Step, ...]
    seen: tuple[Any, ...]


def modelled(ops: Sequence[Op], *, verifies: bool) -> Played:
    """The sequence against the simulated cluster."""

    async def main() -> Played:
        net = network(verifies=verifies)
        net.cluster.make_topic("rows", partitions=PARTITIONS)
        async with net.factory()() as broker:
            player = Player(broker=broker, topic="rows", delete=functools.partial(_model_deletes, net))
            steps = []
            for op in ops:
                answer = await player.play(op)
                await asyncio.sleep(op.timeout_ms / 1000 if op.kind == "wait" else MODEL_SECONDS)
                steps.append(Step(op=op, answer=answer, ends=await player.ends()))
            return Played(steps=tuple(steps), seen=await player.everything())

    return simulate(main())


async def _model_deletes(net: Network, target: TopicPartition, offset: int) -> None:
    net.cluster.log(target).start = offset


@define(eq=False)
class Real:
    """A broker, its client, and how often a sequence was played there."""

    broker: Broker
    admin: AdminClient
    played: int = 0

    async def difference(self, ops: Sequence[Op], expected: Played) -> str | None:
        """None if the broker answers as the model does; else what is different, with all that went before."""
        self.played += 1
        topic = f"fidelity-{uuid.uuid4().hex[:12]}"
        await self.broker.create_topic(topic, partitions=PARTITIONS, config={})
        player = Player(broker=self.broker, topic=topic, delete=self._delete)
        told = []
        for step in expected.steps:
            answer = await player.play(step.op)
            ends = await _settled(player, step.ends)
            told.append(f"  {step.op}: {answer} {ends}")
            if answer != step.answer:
                return "\n".join([*told, f"the model answers {step.answer}"])
            if ends != step.ends:
                return "\n".join([*told, f"the model's logs (start, end, stable): {step.ends}"])
        seen = await player.everything()
        if seen != expected.seen:
            return "\n".join([*told, f"readers see {seen}", f"in the model  {expected.seen}"])
        return None

    async def _delete(self, target: TopicPartition, offset: int) -> None:
        futures = self.admin.delete_records([AdminPartition(target.topic, target.partition, offset)])
        await asyncio.to_thread(lambda: [each.result(20) for each in futures.values()])


async def _settled(player: Player, expected: tuple[Any, ...]) -> tuple[Any, ...]:
    """The ends, as soon as they are the expected ones, and however they are in the end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_SECONDS
    while (ends := await player.ends()) != expected and loop.time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
    return ends


@asynccontextmanager
async def real(bootstrap_servers: str) -> Any:
    """A client's session with a real broker."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    async with broker_factory({"bootstrap_servers": bootstrap_servers})() as broker:
        yield Real(broker, admin)


async def compared(there: Real, ops: Sequence[Op], *, verifies: bool = True) -> str | None:
    """The first difference, None if there is none."""
    expected = await asyncio.to_thread(modelled, ops, verifies=verifies)
    return await there.difference(ops, expected)


async def compared_twice(there: Real, ops: Sequence[Op], *, verifies: bool = True) -> str | None:
    """A difference that comes again: where a machine stands still, a broker's time-outs end first, for once."""
    first = await compared(there, ops, verifies=verifies)
    return first and await compared(there, ops, verifies=verifies)


async def shrunk(there: Real, ops: Sequence[Op], *, verifies: bool = True) -> tuple[Op, ...]:
    """A shorter sequence that still differs."""
    found = tuple(ops)
    at = len(found) - 1
    while at >= 0:
        shorter = found[:at] + found[at + 1 :]
        if await compared(there, shorter, verifies=verifies) is not None:
            found = shorter
        at = min(at, len(found)) - 1
    return found


def drawn(seed: int) -> tuple[Op, ...]:
    """A sequence of a seed: mostly what makes sense, with mistakes in between."""
    draw = random.Random(seed)
    ops = [Op(kind="init", who="t0")]
    if draw.random() < 0.5:
        ops.append(Op(kind="add", who="t0", both=draw.random() < 0.5))
    return (*ops, *(_op(draw) for _ in range(draw.randint(4, 24))))


def _op(draw: random.Random) -> Op:
    kinds = ("init",) * 3 + ("add",) * 6 + ("produce",) * 14 + ("end",) * 6 + ("delete", "read")
    kind = draw.choice(kinds)
    who = draw.choice((*TRANSACTIONAL, "t0", "t0", *IDEMPOTENT, "n"))
    age = draw.choice((0, 0, 0, 0, 1))
    if kind == "init":
        return Op(kind=kind, who=who if who != "n" else "t0")
    if kind in ("add", "end"):
        who = who if who in TRANSACTIONAL else "t0"
        return Op(
            kind=kind,
            who=who,
            age=age,
            at=draw.randint(0, 1),
            both=kind == "add" and draw.random() < 0.3,
            commit=draw.random() < 0.6,
        )
    if kind == "produce":
        return Op(
            kind=kind,
            who=who,
            age=age,
            at=draw.choice((0, 0, 1)),
            records=draw.choice((1, 1, 2, 3)),
            sequence=draw.choice(("next",) * 8 + ("again", "again", "gap", "back", "zero", "wrap")),
            depth=draw.randint(1, 7),
            plain=draw.random() < 0.06,
        )
    place = draw.choice(("start", "start", "stable", "beyond", "before"))
    return Op(kind=kind, at=draw.randint(0, 1), place=place, committed=draw.random() < 0.6)


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit code 1 if the two differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.fidelity", description="Is the model a broker?")
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--without-verification", action="store_true", help="of a broker that is told not to verify")
    parser.add_argument("--failures", type=int, default=5, help="stop after so many")
    given = parser.parse_args(arguments)
    return asyncio.run(_compare(given))


async def _compare(given: argparse.Namespace) -> int:
    seeds = [given.seed] if given.seed is not None else range(given.start, given.start + given.sequences)
    verifies, failed, operations = not given.without_verification, 0, 0
    async with real(given.bootstrap_servers) as there:
        for seed in seeds:
            ops = drawn(seed)
            operations += len(ops)
            if await compared_twice(there, ops, verifies=verifies) is None:
                continue
            failed += 1
            least = await shrunk(there, ops, verifies=verifies)
            print(f"seed {seed}:\n{await compared(there, least, verifies=verifies)}", flush=True)
            if failed >= given.failures:
                break
    print(f"{len(seeds)} sequences, {operations:,} operations, {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
