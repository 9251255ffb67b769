"""The compacted topic that holds what counts: of each job its checkpoint, its claim and its manifest.

    checkpoint/JOB   in the transaction of the rows it covers
    claim/JOB        which run owns the job; the last one does
    manifest/JOB     the source objects the generation began with

All of it stands in partition 0. Consumer-group offsets would not do: they expire, and a finished job would
start again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing

from attrs import asdict, frozen

from csv2kafka.errors import ConfigError, StateContradiction, TakenOver, TopicMissing
from csv2kafka.kafka import checks
from csv2kafka.kafka.log import HANGING_SECONDS, LogRecord, committed_records
from csv2kafka.kafka.port import Broker, TopicFacts, TopicPartition
from csv2kafka.kernel import pack_records
from csv2kafka.model import Checkpoint, Manifest, checkpoint_from_json, manifest_from_json, to_json

SEGMENT_BYTES = 16 << 20  # small, because only closed segments are compacted, and an opening reads backwards
FIRST_WINDOW = 256
WINDOW_GROWTH = 8
LARGEST_RECORD_BYTES = 8 << 20  # a manifest of some hundred thousand objects; managed clusters allow no more


@frozen(kw_only=True)
class Claim:
    """A run says that the job is its own. ``store_id``: of the store whose lease it holds, None without."""

    run_id: str
    store_id: str | None
    producer_id: int
    producer_epoch: int
    at: str

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @staticmethod
    def from_json(data: bytes, *, where: str) -> Claim:
        try:
            raw = json.loads(data)
            store_id = raw["store_id"]
            return Claim(
                run_id=str(raw["run_id"]),
                store_id=None if store_id is None else str(store_id),
                producer_id=int(raw["producer_id"]),
                producer_epoch=int(raw["producer_epoch"]),
                at=str(raw["at"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StateContradiction(
                f"{where}: not a claim of csv2kafka", hint="see what else writes to the checkpoint topic"
            ) from error


def partition_of(topic: str) -> TopicPartition:
    """The one partition in use."""
    return TopicPartition(topic, 0)


def checkpoint_record(checkpoint: Checkpoint) -> bytearray:
    """A batch of one record: the checkpoint under its job's key."""
    return pack_records([(_key("checkpoint", checkpoint.job), to_json(checkpoint), [])])


def manifest_record(job: str, manifest: Manifest) -> bytearray:
    """Compressed: it names every object of the source."""
    return pack_records([(_key("manifest", job), to_json(manifest), [])], compression="zstd")


def claim_record(job: str, claim: Claim) -> bytearray:
    return pack_records([(_key("claim", job), claim.to_json(), [])])


def tombstone_records(job: str) -> list[bytearray]:
    """Batches that make the topic forget the job. Each record stands alone, as they were written."""
    return [pack_records([(_key(kind, job), None, [])]) for kind in ("checkpoint", "manifest", "claim")]


async def prepare(broker: Broker, name: str, *, min_insync_replicas: str | None) -> TopicFacts:
    """The topic's facts; it is created if it is not there, and refused if its records could go."""
    facts = await broker.topic(name)
    if facts is None:
        await broker.create_topic(name, partitions=1, config=new_config(min_insync_replicas))
        facts = await broker.topic(name)
    if facts is None:
        raise TopicMissing(f"topic {name} was created and is gone again", hint="see who deletes topics; then run again")
    refuse_unsafe(facts)
    return facts


def new_config(min_insync_replicas: str | None) -> dict[str, str]:
    """With which the topic is made. ``min_insync_replicas``: the data topic's, if it is known."""
    config = {
        "cleanup.policy": "compact",
        "unclean.leader.election.enable": "false",
        "segment.bytes": str(SEGMENT_BYTES),
        "max.message.bytes": str(LARGEST_RECORD_BYTES),
    }
    if min_insync_replicas is not None:
        config["min.insync.replicas"] = min_insync_replicas
    return config


async def last_values(
    broker: Broker, target: TopicPartition, keys: Iterable[bytes], *, before: int, patience: float = HANGING_SECONDS
) -> dict[bytes, bytes]:
    """The last committed value of each key before the offset; keys without one, or deleted, are left out.

    Reads windows that grow backwards: a running job's records are near the end, however long the log is.
    """
    wanted, found = set(keys), dict[bytes, bytes | None]()
    lowest = (await broker.log_ends(target)).start
    stop, width = before, FIRST_WINDOW
    while wanted and stop > lowest:
        start = max(lowest, stop - width)
        window = dict[bytes, bytes | None]()
        async for record in committed_records(broker, target, start, stop, patience=patience):
            if record.key in wanted:
                window[record.key] = record.value
        found |= window
        wanted -= window.keys()
        stop, width = start, width * WINDOW_GROWTH
    return {key: value for key, value in found.items() if value is not None}


async def last_checkpoint(
    broker: Broker, target: TopicPartition, job: str, *, before: int, patience: float = HANGING_SECONDS
) -> Checkpoint | None:
    """The job's last committed checkpoint before the offset."""
    key = _key("checkpoint", job)
    value = (await last_values(broker, target, [key], before=before, patience=patience)).get(key)
    return None if value is None else checkpoint_from_json(value, job=job, where=f"{target} {key.decode()}")


async def last_manifest(broker: Broker, target: TopicPartition, job: str, *, before: int) -> Manifest | None:
    """The manifest that was kept last."""
    key = _key("manifest", job)
    value = (await last_values(broker, target, [key], before=before)).get(key)
    return None if value is None else manifest_from_json(value, where=f"{target} {key.decode()}")


async def see_claim(broker: Broker, target: TopicPartition, job: str, offset: int) -> None:
    """Wait until a read_committed reader sees our claim, which was written at ``offset``.

    From then on everything before it is decided and visible: a zombie's commit that was on its way, what
    another job's open transaction hid, and what a leader that had been cut off did not have.
    """
    seen = [record.key async for record in committed_records(broker, target, offset, offset + 1)]
    if seen == [_key("claim", job)]:
        return
    raise TakenOver(
        f"job {job}: this run's claim at offset {offset} of {target} is gone: another run has claimed the job since",
        hint="another run works on it; `csv2kafka status` shows how far it is",
    )


async def claims(
    broker: Broker, target: TopicPartition, job: str, *, start: int, stop: int, patience: float
) -> AsyncGenerator[Claim, None]:
    """The committed claims of the job between two offsets, in order, each as soon as it is seen: what some transaction
    hides behind them takes nothing from them. Whoever may leave before the end closes it (``aclosing``)."""
    async with aclosing(committed_records(broker, target, start, stop, patience=patience)) as records:
        async for record in records:
            if record.key == _key("claim", job) and record.value is not None:
                yield Claim.from_json(record.value, where=f"{target} offset {record.offset}")


async def all_records(broker: Broker, target: TopicPartition) -> Mapping[bytes, LogRecord]:
    """The last committed record of each key, as far as it is decided now."""
    ends = await broker.log_ends(target)
    last = dict[bytes, LogRecord]()
    async for record in committed_records(broker, target, ends.start, ends.stable):
        if record.key is not None:
            last[record.key] = record
    return last


def job_of(key: bytes, kind: str) -> str | None:
    """The job's name if the key is one of that kind."""
    prefix = f"{kind}/".encode()
    return key[len(prefix) :].decode() if key.startswith(prefix) else None


def _key(kind: str, job: str) -> bytes:
    return f"{kind}/{job}".encode()


def warning(facts: TopicFacts) -> str | None:
    """A sentence where it cannot be told whether the topic is safe; None where it can."""
    if "cleanup.policy" in facts.config:
        return None
    return (
        f"checkpoint topic {facts.name}: its settings may not be described, so it is not known whether it keeps "
        "checkpoints: see that it has cleanup.policy=compact and unclean.leader.election.enable=false"
    )


def check_room(facts: TopicFacts, job: str, manifest: Manifest) -> None:
    """ConfigError if the topic does not take the job's manifest."""
    size, limit = len(manifest_record(job, manifest)), checks.batch_limit(facts)
    if size > limit:
        raise ConfigError(
            f"the list of this job's {len(manifest.objects):,} source objects takes {size:,} bytes, "
            f"checkpoint topic {facts.name} has max.message.bytes={limit}",
            hint="raise max.message.bytes of that topic, or split the source into several jobs",
        )


def refuse_unsafe(facts: TopicFacts) -> None:
    """ConfigError if its records could go: anything but plain compaction would forget a job's checkpoint one day, and
    it would start again."""
    policy = facts.config.get("cleanup.policy")
    if policy is None:
        return  # describing configuration is not allowed to us: ``warning`` says so
    if policy.strip() != "compact":
        raise ConfigError(
            f"checkpoint topic {facts.name} has cleanup.policy={policy}, it must be exactly compact",
            hint=f"kafka-configs.sh --alter --entity-type topics --entity-name {facts.name} "
            "--add-config cleanup.policy=compact, or name another with --checkpoint-topic",
        )
    if facts.config.get("unclean.leader.election.enable", "false") == "true":
        raise ConfigError(
            f"checkpoint topic {facts.name} has unclean.leader.election.enable=true: it could lose checkpoints",
            hint=f"kafka-configs.sh --alter --entity-type topics --entity-name {facts.name} "
            "--add-config unclean.leader.election.enable=false, or name another with --checkpoint-topic",
        )
