"""Holds the topics and the checkpoint against the world, before anything is written.

What cannot all be true stops the job with an explanation; going on would lose or double rows. ``--restart``
is the user's decision, never ours.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from csv2kafka.errors import NotAuthorized, StateContradiction, TopicMissing
from csv2kafka.kafka.log import committed_batches
from csv2kafka.kafka.port import Broker, LogEnds, Operation, TopicFacts, TopicPartition
from csv2kafka.kernel import COMPRESSIONS
from csv2kafka.model import Checkpoint, SinkState, Target

DATA = Target.DATA.value
DEAD_LETTER = Target.DEAD_LETTER.value
DEFAULT_BATCH_LIMIT = 1_048_588  # Kafka's own default of max.message.bytes
SHORT_RETENTION_MS = 24 * 3600 * 1000
DECIDE = (
    "see what happened to it; --restart forgets the checkpoint and begins at row 0 (rows that stand there stay, and "
    "are sent again)"
)

_log = logging.getLogger(__name__)


async def existing_topic(broker: Broker, target: TopicPartition, *, create: bool, flag: str) -> TopicFacts:
    """The topic's facts; TopicMissing if it or its partition is not there. ``flag`` names the option for it."""
    facts = await broker.topic(target.topic)
    if facts is None and create:
        await broker.create_topic(target.topic, partitions=target.partition + 1, config={})
        facts = await broker.topic(target.topic)
    if facts is None:
        raise TopicMissing(
            f"there is no topic {target.topic} ({flag})",
            hint=f"--create-topic makes it with the cluster's default replication, or use kafka-topics.sh "
            f"--create --topic {target.topic}",
        )
    if target.partition not in facts.partitions:
        raise TopicMissing(
            f"topic {target.topic} has partitions 0 to {len(facts.partitions) - 1}, not {target.partition}",
            hint="choose one of them with --partition",
        )
    return facts


async def still_there(broker: Broker, target: TopicPartition, stored: Checkpoint) -> None:
    """StateContradiction if the topic is not there, though the checkpoint has rows in it."""
    if await broker.topic(target.topic) is None:
        raise StateContradiction(
            f"there is no topic {target.topic}, though job {stored.job} has put {stored.counts.rows:,} rows into it: "
            "it was deleted, or this is another cluster",
            hint=DECIDE,
        )


def allowed(facts: TopicFacts, *operations: Operation) -> None:
    """NotAuthorized if the brokers say that this user may not do all of that with the topic."""
    if facts.operations is None:
        return
    missing = [each.name.capitalize() for each in operations if each not in facts.operations]
    if missing:
        raise NotAuthorized(
            f"topic {facts.name}: this user may not {' or '.join(missing)}",
            hint=f"give the user {' and '.join(missing)} on the topic (with IAM: "
            + ", ".join(f"kafka-cluster:{each}Data" for each in missing)
            + ")",
        )


def batch_limit(facts: TopicFacts) -> int:
    """The largest batch the topic takes, in bytes after compression."""
    limit = int(facts.config.get("max.message.bytes", DEFAULT_BATCH_LIMIT))
    return min(limit, int(facts.config.get("segment.bytes", limit)))


def codec(facts: TopicFacts, wanted: str) -> str:
    """The compression to use: the topic's own where it has one. Brokers would compress batches anew, and hold that
    size against the limit."""
    own = facts.config.get("compression.type", "producer")
    if own == "uncompressed":
        return "none"
    return own if own in COMPRESSIONS else wanted


def warnings(facts: TopicFacts, partition: int, *, keyed: bool) -> list[str]:
    """What in the data topic's settings could lose rows that were confirmed, one sentence each."""
    if not facts.config:
        return [f"topic {facts.name}: its settings may not be described, so it is not known whether they keep rows"]
    return [f"topic {facts.name} has {name}={text}" for name, text in risks(facts, partition, keyed=keyed).items()]


def risks(facts: TopicFacts, partition: int, *, keyed: bool) -> dict[str, str]:
    """The same by setting: its value, and what that risks. Empty too where settings may not be described."""
    config = facts.config
    found = {}
    if config.get("unclean.leader.election.enable") == "true":
        found["unclean.leader.election.enable"] = "true: a failing broker can take confirmed rows with it"
    if config.get("min.insync.replicas") == "1" and facts.partitions[partition] > 1:
        found["min.insync.replicas"] = "1: rows are confirmed by one broker alone; 2 is safe"
    if "compact" in config.get("cleanup.policy", "") and keyed:
        found["cleanup.policy"] = "compact: of rows with the same key only the last one stays"
    retention = int(config.get("retention.ms", -1))
    if 0 <= retention < SHORT_RETENTION_MS and "delete" in config.get("cleanup.policy", "delete"):
        found["retention.ms"] = f"{retention}: rows may be gone before they were read"
    return found


def same_topic(facts: TopicFacts, state: SinkState) -> None:
    """StateContradiction if the topic was deleted and made anew since the checkpoint."""
    if facts.topic_id and state.destination_id and facts.topic_id != state.destination_id:
        raise StateContradiction(
            f"topic {facts.name} is another one than the checkpoint's: its id was {state.destination_id}, "
            f"now it is {facts.topic_id}",
            hint=DECIDE,
        )


async def ends_known_well(broker: Broker, target: TopicPartition, expected: int, *, wait: float) -> LogEnds:
    """The partition's ends, asked for again after ``wait`` seconds if it ends before an offset that was reached once:
    a leader that has just come up, or one that was cut off and does not know it, may not know better."""
    ends = await broker.log_ends(target)
    if ends.end < expected:
        _log.warning(
            "%s ends at offset %d, though %d had been reached; asking again in %g s, because a leader that has just "
            "come up may not know better yet",
            target,
            ends.end,
            expected,
            wait,
        )
        await asyncio.sleep(wait)
        ends = await broker.log_ends(target, refresh=True)
    return ends


async def log_reaches(broker: Broker, target: TopicPartition, expected: int, *, wait: float) -> LogEnds:
    """The partition's ends; StateContradiction if the log ends before the offset known to have been reached."""
    ends = await ends_known_well(broker, target, expected, wait=wait)
    if ends.end < expected:
        raise StateContradiction(
            f"{target} ends at offset {ends.end}, though {expected} had been reached: records were lost (truncated, "
            "an unclean leader election), or this is another cluster",
            hint=DECIDE,
        )
    return ends


def reached_by(known: Checkpoint | None, topic: TopicFacts) -> int:
    """Where the log of this very topic ended for certain when the checkpoint was made."""
    if known is None or known.sink.destination_id != topic.topic_id:
        return 0
    return known.sink.offsets.get(DATA, 0)


def log_still_has(target: TopicPartition, state: SinkState, ends: LogEnds) -> None:
    """StateContradiction if the log begins behind the checkpoint's next offset: rows of this job may have stood
    in what is gone, so it cannot be told which have to be sent. (At-least-once only.)"""
    reached = state.offsets.get(DATA, 0)
    if ends.start > reached:
        raise StateContradiction(
            f"{target} begins at offset {ends.start}, the checkpoint says that {reached} was reached: what stood "
            "between is gone, and it cannot be told which rows that were",
            hint=DECIDE,
        )


async def nothing_of_ours_behind(broker: Broker, target: TopicPartition, state: SinkState, ends: LogEnds) -> None:
    """StateContradiction if a committed batch of the checkpoint's producer stands at or behind its next offset:
    it is in no checkpoint, and going on would double it. (The checkpoint's own marker stands there.)"""
    start = max(state.offsets.get(DATA, ends.start), ends.start)
    async with aclosing(committed_batches(broker, target, start, ends.end)) as batches:
        async for batch in batches:
            if batch.producer_id in state.producer_ids and batch.last_offset >= start:
                raise StateContradiction(
                    f"{target}: offsets {batch.base_offset} to {batch.last_offset} hold committed rows of this job "
                    f"that its checkpoint (next offset {start}) does not know",
                    hint=DECIDE,
                )


def store_not_ahead(stored: Checkpoint | None, counted: Checkpoint | None, topic: str) -> None:
    """StateContradiction if the store knows of a commit that the checkpoint topic does not: it is written
    after Kafka's answer only, so the checkpoint topic has lost data."""
    if stored is None or not stored.sink.offsets:
        return
    if counted is None or _progress(stored) > _progress(counted):
        have = "none" if counted is None else _told(counted)
        raise StateContradiction(
            f"job {stored.job}: the checkpoint store has {_told(stored)}, topic {topic} has {have}: the topic has "
            "lost data, or it is another one",
            hint=DECIDE,
        )


def _progress(checkpoint: Checkpoint) -> tuple[int, int, bool]:
    return checkpoint.generation, checkpoint.position.rows, checkpoint.complete


def _told(checkpoint: Checkpoint) -> str:
    done = ", complete" if checkpoint.complete else ""
    return f"a checkpoint of generation {checkpoint.generation} at row {checkpoint.position.rows}{done}"
