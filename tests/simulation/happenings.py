"""What happens to the cluster and to stores at a moment. ``number`` of a happening chooses a partition or a store.

leader            a partition's leader moves; connections to the old one are told so
old-leader        the same, but the old one is cut off and does not know it: it still answers reads from its old
                  log, and some clients find it instead of the new one
coordinator       the transactions move to another coordinator, which reads for ``seconds`` first
coordinator-away  nobody coordinates: no answer, no markers, no time-outs
cluster-away      no broker answers anybody
compaction        the checkpoint topic is compacted, several times
other-job         another job's transaction is open on a partition for ``seconds``
store-away        a store answers nobody
"""

from __future__ import annotations

from attrs import define, evolve

from csv2kafka.errors import Csv2KafkaError
from csv2kafka.kafka.port import TopicPartition
from tests.simulation.cluster import Cluster
from tests.simulation.laws import FOREIGN
from tests.simulation.partition import Log
from tests.simulation.play import open_transaction
from tests.simulation.schedule import Happening
from tests.simulation.world import CHECKPOINTS, DATA, JOB, LETTERS, World

PARTITIONS = (DATA, CHECKPOINTS, LETTERS)


@define(eq=False, kw_only=True)
class OldLeader(Cluster):
    """What a node that was cut off has of the partition it led."""

    old: Log

    def log(self, target: TopicPartition) -> Log:
        return self.old


def happens(world: World, happening: Happening) -> None:
    if world.calm:
        return
    kind, seconds, number = happening.kind, happening.seconds, happening.number
    world.tell("cluster", f"{kind} {seconds:g} s ({number})")
    world.fault(kind, seconds)
    partition = PARTITIONS[number]
    leaders, now = world.leaders, world.now()
    if kind == "leader":
        leaders.moves[partition] += 1
    elif kind == "old-leader":
        if partition.topic in world.net.cluster.topics:
            leaders.old_logs[partition] = leaders.moves[partition], now + seconds, _frozen(world, partition)
            leaders.moves[partition] += 1
    elif kind == "coordinator":
        leaders.moves["coordinator"] += 1
        leaders.loading_until = now + seconds
        world.net.cluster.another_coordinator(seconds)
    elif kind == "coordinator-away":
        leaders.moves["coordinator"] += 1
        leaders.away_until = now + seconds
        world.net.cluster.another_coordinator(seconds)
    elif kind == "cluster-away":
        leaders.cluster_away_until = leaders.away_until = now + seconds
    elif kind == "compaction":
        for pause in (0.0, 0.02, 0.1, 1.0, 30.0):
            world.loop.call_later(pause, _compact, world)
    elif kind == "store-away":
        world.table(number).away_until = now + seconds
    elif kind == "other-job":
        _other_job(world, happening)


def _frozen(world: World, partition: TopicPartition) -> Cluster:
    """What a cut-off leader of the partition has."""
    log = world.net.cluster.log(partition)
    old = evolve(log, batches=list(log.batches), open=dict(log.open), aborted=list(log.aborted), producers={})
    return OldLeader(later=world.loop.call_later, old=old)


def _compact(world: World) -> None:
    if CHECKPOINTS.topic in world.net.cluster.topics:
        log = world.net.cluster.log(CHECKPOINTS)
        before = len(log.batches)
        log.compact()
        if len(log.batches) < before:
            world.cover("compaction took records")


def _other_job(world: World, happening: Happening) -> None:
    cluster = world.net.cluster
    target = CHECKPOINTS if happening.number or world.schedule.delivery != "exactly-once" else DATA
    if target.topic not in cluster.topics:
        return
    identity = f"another {happening.at}"
    try:
        producer = open_transaction(cluster, identity, target, key=b"x", value=FOREIGN)
    except Csv2KafkaError:
        return

    def end() -> None:
        try:
            cluster.end_transaction(identity, producer, commit=happening.at * 1000 % 2 < 1)
        except Csv2KafkaError:
            world.loop.call_later(1.0, end)

    world.loop.call_later(happening.seconds, end)


def lose(world: World, kind: str) -> bool:
    """Something that should have stayed is gone. Whether the next run has to find out."""
    cluster, standing = world.net.cluster, world.laws.standing
    log = cluster.log(DATA)
    stored = world.table(0).checkpoint(JOB)
    exactly_once = world.schedule.delivery == "exactly-once"
    rows = standing.rows if exactly_once else (0 if stored is None else stored.counts.rows)
    world.tell("cluster", f"loss: {kind}")
    world.cover(f"loss: {kind}")
    if kind in ("truncate", "recreate"):
        reader = world.laws.readers[DATA]
        reader.seen, reader.generations = 0, 0  # of what nothing told that it was there
        reader.waiting.clear()
    if kind == "truncate":
        log.truncate(next((b.base_offset for b in log.batches if b.commit is None and not log.is_aborted(b)), 0))
        return rows > 0
    if kind == "recreate":
        del cluster.topics[DATA.topic]
        cluster.make_topic(DATA.topic)
        return rows > 0 or (standing.generation >= 0 if exactly_once else stored is not None)
    if kind == "forget-checkpoints":
        if not exactly_once or stored is None or CHECKPOINTS.topic not in cluster.topics:
            return False
        del cluster.topics[CHECKPOINTS.topic]
        return True
    log.start = log.stable
    return not exactly_once and stored is not None and log.start > stored.sink.offsets.get("data", 0)
