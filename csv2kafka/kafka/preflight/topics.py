"""One topic as a run would find it: there or to be made, what we may do with it, and what its settings mean."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from attrs import frozen

from csv2kafka.errors import BadRow, ConfigError, Csv2KafkaError, Doubt
from csv2kafka.kafka import checks
from csv2kafka.kafka.packer import KafkaPacker
from csv2kafka.kafka.port import Broker, Operation, TopicFacts, TopicPartition
from csv2kafka.model import Packed
from csv2kafka.model.findings import Finding, Forecast

ADVICE = {
    "unclean.leader.election.enable": "false",
    "min.insync.replicas": "2",
    "cleanup.policy": "delete",
}
UNLIMITED = -1


@frozen(kw_only=True)
class Found:
    """``facts``: None where the topic is not there, or may not be looked at."""

    facts: TopicFacts | None
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        return any(finding.status == "fail" for finding in self.findings)


async def looked_up(
    broker: Broker,
    target: TopicPartition,
    *needed: Operation,
    flag: str,
    create: Mapping[str, str] | None,
    partitions: int = 1,
) -> Found:
    """The topic, its partition's leader, and what we may do. ``flag``: the option that names it. ``create``: the
    settings with which a run would make it (``partitions`` of them); None: it would not."""
    name = f"topic {target.topic}"
    try:
        facts = await broker.topic(target.topic)
        if facts is None and create is not None:
            await broker.create_topic(target.topic, partitions=partitions, config=create, only_try=True)
            made = Finding.passed(name, f"is not there; a run makes it ({flag}), and the brokers would let it")
            return Found(facts=None, findings=(made,))
        facts = await checks.existing_topic(broker, target, create=False, flag=flag)
        ends = await broker.log_ends(target)
    except Csv2KafkaError as error:
        return Found(facts=None, findings=(Finding.failed(name, error),))
    there = f"partition {target.partition} of {len(facts.partitions)}, its leader answers"
    stands = f"offsets {ends.start:,} to {ends.end - 1:,}" if ends.end > ends.start else "no records"
    return Found(facts=facts, findings=(Finding.passed(name, f"{there}; {stands}"), _rights(facts, needed)))


def _rights(facts: TopicFacts, needed: tuple[Operation, ...]) -> Finding:
    name = f"topic {facts.name}: rights"
    words = " and ".join(each.name.capitalize() for each in needed)
    if facts.operations is None:
        return Finding.not_checked(name, f"the brokers do not say whether we may {words}")
    try:
        checks.allowed(facts, *needed)
    except Csv2KafkaError as error:
        return Finding.failed(name, error)
    return Finding.passed(name, f"we may {words}")


async def setting_findings(
    facts: TopicFacts, partition: int, *, keyed: bool, compression: str, forecast: Forecast
) -> list[Finding]:
    """The data topic's settings, against what could lose rows, and against the job's length and size."""
    if not facts.config:
        return [
            Finding.not_checked(f"topic {facts.name}: settings", "they may not be described (DescribeConfigs)"),
            _replication(facts, partition),
        ]
    size, too_large = await _packed_size(facts, compression, forecast)
    return [
        _replication(facts, partition),
        *_plain(facts, partition, keyed=keyed),
        *_retention(facts, size, forecast),
        _limit(facts, too_large, forecast),
    ]


def _replication(facts: TopicFacts, partition: int) -> Finding:
    name = f"topic {facts.name}: replication"
    copies = facts.partitions[partition]
    needed = int(facts.config.get("min.insync.replicas", 1))
    if needed > copies:
        wrong = Doubt(
            f"min.insync.replicas={needed}, but there are only {copies} copies: nothing can be written",
            hint=_alter(facts, "min.insync.replicas", str(copies)),
        )
        return Finding.failed(name, wrong)
    if copies == 1:
        return Finding.warned(
            name, "one copy: with its broker's disk the rows are lost", "3 copies are usual (a new topic, or reassign)"
        )
    return Finding.passed(name, f"{copies} copies")


def _plain(facts: TopicFacts, partition: int, *, keyed: bool) -> Iterator[Finding]:
    """Settings that a run warns of."""
    risks = checks.risks(facts, partition, keyed=keyed)
    policy = facts.config.get("cleanup.policy", "delete")
    for setting, advised in ADVICE.items():
        name, value = f"topic {facts.name}: {setting}", facts.config.get(setting)
        if setting in risks:
            yield Finding.warned(name, risks[setting], _alter(facts, setting, advised))
        elif setting == "cleanup.policy" and "compact" in policy and not keyed:
            refused = ConfigError(
                f"cleanup.policy={policy}: brokers refuse records without a key there",
                hint=f"give --key, or {_alter(facts, setting, advised)}",
            )
            yield Finding.failed(name, refused)
        elif value is not None:
            yield Finding.passed(name, value)


def _retention(facts: TopicFacts, size: int | None, forecast: Forecast) -> Iterator[Finding]:
    """How long and how much stays: for the time the job takes, and all of it."""
    name = f"topic {facts.name}: retention"
    if "delete" not in facts.config.get("cleanup.policy", "delete"):
        return
    ms = int(facts.config.get("retention.ms", UNLIMITED))
    most = int(facts.config.get("retention.bytes", UNLIMITED))
    if ms != UNLIMITED and forecast.seconds is not None and ms / 1000 < forecast.seconds:
        yield Finding.warned(
            name,
            f"retention.ms={ms}: the job takes about {forecast.seconds:,.0f} s, so first rows are deleted before the "
            "last are there",
            _alter(facts, "retention.ms", "604800000"),
        )
    elif ms != UNLIMITED and ms < checks.SHORT_RETENTION_MS:
        yield Finding.warned(
            name, f"retention.ms={ms}: rows may be gone before they were read", _alter(facts, "retention.ms", "-1")
        )
    elif most != UNLIMITED and size is not None and most < size:
        yield Finding.warned(
            name,
            f"retention.bytes={most}: the rows take about {size:,} bytes, so first ones are deleted before the last "
            "are there",
            _alter(facts, "retention.bytes", "-1"),
        )
    else:
        hours = "for ever" if ms == UNLIMITED else f"for {ms / 3_600_000:,.0f} hours"
        room = "without a limit in bytes" if most == UNLIMITED else f"up to {most:,} bytes"
        yield Finding.passed(name, f"{hours}, {room}{f'; the rows take about {size:,}' if size is not None else ''}")


def _limit(facts: TopicFacts, too_large: str, forecast: Forecast) -> Finding:
    """The largest batch against the rows seen, and the longest record that was asked for."""
    name, limit = f"topic {facts.name}: max.message.bytes", checks.batch_limit(facts)
    raised = _alter(facts, "max.message.bytes", str(forecast.max_record or 16 << 20))
    if too_large and forecast.stops_at_bad_row:
        return Finding(name=name, status="fail", message=too_large, hint=raised, exit_code=BadRow.exit_code)
    if too_large:
        return Finding.warned(name, too_large, raised)
    if forecast.max_record is not None and forecast.max_record > limit:
        return Finding.warned(
            name,
            f"{limit:,} bytes after compression: a row that does not fit is a bad row, though --max-record lets "
            f"{forecast.max_record:,} bytes in",
            raised,
        )
    return Finding.passed(name, f"{limit:,} bytes after compression; a row that does not fit is a bad row")


async def _packed_size(facts: TopicFacts, compression: str, forecast: Forecast) -> tuple[int | None, str]:
    """Bytes that all rows take in the log, as far as the first ones tell; and the first that is too large."""
    sample = forecast.sample
    if sample is None or not len(sample):
        return None, ""
    limit = checks.batch_limit(facts)
    packer = KafkaPacker(limit=limit, dead_letter_limit=limit, compression=checks.codec(facts, compression))
    packed: Packed = await asyncio.to_thread(packer.pack, sample)
    size = sum(len(payload.body) for payload in packed.payloads)
    rows = sum(payload.last - payload.first for payload in packed.payloads)
    whole = None if forecast.rows is None or not rows else size * forecast.rows // rows
    if not packed.too_large:
        return whole, ""
    count = len(packed.too_large)
    return whole, f"{count:,} of the first {len(sample):,} rows are bad rows there: {packed.too_large[0][1]}"


def _alter(facts: TopicFacts, setting: str, value: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {facts.name} --add-config {setting}={value}"
