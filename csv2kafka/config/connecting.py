"""The options that say which cluster and which checkpoint store, and how to reach them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from csv2kafka.config import kinds
from csv2kafka.config.common import GUARANTEES, TO, TOPIC, CommonConfig
from csv2kafka.config.option import Contradiction, option, options


@frozen(kw_only=True, slots=False)
class ConnectConfig(CommonConfig):
    """A Kafka cluster and a checkpoint store."""

    bootstrap_servers: str | None = option(
        kinds.optional(
            kinds.text("HOST:PORT,...", "brokers such as broker1:9092,broker2:9092", r"[^\s,]+(\s*,\s*[^\s,]+)*")
        ),
        group=TO,
        help="Brokers to begin with.",
        default=None,
        example="-b broker1:9092,broker2:9092",
        short="-b",
        verify=True,
    )
    kafka: Mapping[str, Any] = option(
        kinds.mapping("KEY=VALUE"),
        group=TO,
        help="An option of the Kafka client, by aiokafka's name: TLS, SASL, time-outs. May be given several times. "
        "A secret is better kept in a variable, CSV2KAFKA_KAFKA_<NAME>.",
        default={},
        example="--kafka security_protocol=SASL_SSL",
        repeatable=True,
        verify=True,
    )
    checkpoints: str = option(
        kinds.text("URL", "a URL such as sqlite:///jobs.db", r"[a-z][a-z0-9+.-]*://[^\0]*"),
        group=GUARANTEES,
        help="Where progress and the lease are kept. sqlite:///PATH: a SQLite file; PATH is relative unless it begins "
        "with a slash itself (sqlite:////var/lib/jobs.db). kafka://: the checkpoint topic alone. "
        "dynamodb://TABLE (csv2kafka init makes it), s3://BUCKET/PREFIX: for machines that vanish. memory://: a SQLite "
        "file all the same, csv2kafka/checkpoints.sqlite in the user's state directory ($XDG_STATE_HOME, else "
        "~/.local/state); it outlives the run, and status shows its path.",
        default="memory://",
        example="--checkpoints sqlite:////var/lib/csv2kafka/jobs.db",
        verify=True,
    )
    checkpoint_topic: str = option(
        TOPIC,
        group=GUARANTEES,
        help="The compacted topic that holds the checkpoints that count. Made if it is not there.",
        default="csv2kafka-checkpoints",
        verify=True,
    )

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[Contradiction]:
        said = options(cls)
        if "bootstrap_servers" in values["kafka"]:
            yield ("kafka",), f"{said['kafka'].label}: bootstrap_servers is {said['bootstrap_servers'].flag}"
        yield from super().contradictions(values)
