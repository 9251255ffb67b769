"""Every option of a run, declared once: its type, default, limits, help and example.

    CommonConfig ─┬─ ReadConfig ────┬─ RunConfig      what a run (and verify) needs
                  └─ ConnectConfig ─┘
    ReadConfig: a source and how its CSV is read (preview). ConnectConfig: the cluster and the store (status).

Built directly or by ``load``, a configuration is converted and checked as a whole: all problems in one ConfigError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import NOTHING, frozen

from csv2kafka.config import kinds
from csv2kafka.config.common import BAD_ROWS, GUARANTEES, PATIENCE, SEEN, SOURCE, TO, TOPIC
from csv2kafka.config.connecting import ConnectConfig
from csv2kafka.config.option import Contradiction, option, options
from csv2kafka.config.reading import ReadConfig

_WEEK = 7 * 86400.0


@frozen(kw_only=True, slots=False)
class RunConfig(ReadConfig, ConnectConfig):
    """One run of one job: from where, to where, with which guarantees."""

    topic: str | None = option(
        kinds.optional(TOPIC), group=TO, help="The topic.", default=None, short="-t", verify=True
    )
    partition: int = option(
        kinds.count("N", 0, 2**31 - 1),
        group=TO,
        help="The partition: all rows go to one, because order holds only within a partition.",
        default=0,
        short="-p",
        verify=True,
    )
    output: str | None = option(
        kinds.optional(kinds.text("FILE", "a file's path", r"[^\0]+")),
        group=TO,
        help="JSON lines in a file instead of Kafka, with the same guarantees. Never standard output: after a crash "
        "that cannot be gone on with.",
        default=None,
        example="-o orders.jsonl",
        short="-o",
        verify=True,
    )
    create_topic: bool = option(
        kinds.switch(),
        group=TO,
        help="Make the topic if it is not there, with the cluster's default replication.",
        default=False,
        off="--no-create-topic",
    )
    compression: Literal["zstd", "lz4", "snappy", "gzip", "none"] = option(
        kinds.choice("zstd", "lz4", "snappy", "gzip", "none"),
        group=TO,
        help="Of the record batches.",
        default="zstd",
    )
    completion_topic: str | None = option(
        kinds.optional(TOPIC),
        group=TO,
        help="A topic that gets one record when every row is visible (partition 0).",
        default=None,
    )
    after: str | None = option(
        kinds.optional(
            kinds.text(
                "ACTION", "tag, tag:KEY=VALUE, move:s3://BUCKET/PREFIX/ or delete", r"tag(:[^=]+=.*)?|move:.+|delete"
            )
        ),
        group=SOURCE,
        help="What becomes of the S3 objects once every row is visible. tag: they get the tag csv2kafka=done, or "
        "KEY=VALUE. move: to that prefix, under their own names. delete. An object that has changed since stays.",
        default=None,
        example="--after move:s3://archive/orders/",
    )
    delivery: Literal["exactly-once", "at-least-once"] = option(
        kinds.choice("exactly-once", "at-least-once"),
        group=GUARANTEES,
        help="exactly-once: rows and checkpoint in one transaction. at-least-once: no transactions; what stands in "
        "the topic already is compared and not sent again.",
        default="exactly-once",
        verify=True,
    )
    job: str | None = option(
        # A part of the transactional id, of record keys and, in other stores, of object names.
        kinds.optional(kinds.text("NAME", "letters, digits, '.', '_' and '-', at most 200", r"[A-Za-z0-9._-]{1,200}")),
        group=GUARANTEES,
        help="What the job is called. Made from source and destination if not given; status shows it.",
        default=None,
        example="--job orders-2024",
        verify=True,
    )
    checkpoint_interval: float = option(
        # Above: well under the transaction time-out of 60 s.
        kinds.duration(0.01, 30),
        group=GUARANTEES,
        help="Commit after this time, or after --checkpoint-rows, whichever is first.",
        default=1.0,
        example="--checkpoint-interval 500ms",
    )
    checkpoint_rows: int | None = option(
        kinds.optional(kinds.count("N", 1, 10**12)),
        group=GUARANTEES,
        help="Commit after this many rows, or after --checkpoint-interval, whichever is first.",
        default=None,
        example="--checkpoint-rows 100000",
    )
    on_foreign: Literal["stop", "resend"] = option(
        kinds.choice("stop", "resend"),
        group=GUARANTEES,
        help="at-least-once: when somebody else's records stand where this job's may be, stop, or send again.",
        default="stop",
    )
    restart: bool = option(
        kinds.switch(),
        group=GUARANTEES,
        help="Forget the checkpoint and begin at row 0. What stands in the topic stays, and every row is sent again "
        "behind it; the files of --output are emptied. Give it on the command line, for one run: in a file or the "
        "environment it would begin again after every crash.",
        default=False,
        off="--no-restart",
    )
    on_bad_row: Literal["fail", "skip", "dead-letter"] = option(
        kinds.choice("fail", "skip", "dead-letter"),
        group=BAD_ROWS,
        help="fail: stop, with everything before it committed. skip: count it and go on. dead-letter: put it into "
        "--dead-letter-topic (with --output: into FILE.bad) and go on.",
        default="fail",
    )
    dead_letter_topic: str | None = option(
        kinds.optional(TOPIC),
        group=BAD_ROWS,
        help="The topic for bad rows (partition 0): their own bytes, with place and reason in headers.",
        default=None,
    )
    connect_timeout: float = option(
        kinds.duration(0.1, 86400),
        group=PATIENCE,
        help="How long to try when no broker has answered yet; then exit 69.",
        default=60.0,
        example="--connect-timeout 10s",
    )
    give_up_after: float | None = option(
        kinds.optional(kinds.duration(0, _WEEK)),
        group=PATIENCE,
        help="How long to go on trying when what had answered is lost; then exit 69. none: for ever.",
        default=None,
        example="--give-up-after 10m",
    )
    watch: Literal["none", "auto", "ec2", "spot", "ecs"] = option(
        kinds.choice("none", "auto", "ec2", "spot", "ecs"),
        group=PATIENCE,
        help="Stop in good time when the machine is about to be taken away, as SIGTERM does: ec2 asks the instance's "
        "metadata for a Spot notice or rebalance recommendation, spot for the notice alone (for AWS Batch), ecs the "
        "task's; auto finds out which. Exit 75.",
        default="none",
    )
    metrics: str | None = option(
        kinds.optional(
            kinds.text(
                "TARGET",
                "emf, emf:FILE or prometheus://[HOST]:PORT",
                r"emf(:[^\0]+)?|prometheus://([^/:\s]*|\[[0-9A-Fa-f:.]+\]):\d{1,5}/?",
            )
        ),
        group=SEEN,
        help="Where metrics go. emf: CloudWatch's Embedded Metric Format on standard error, or in a file. prometheus: "
        "a port to be scraped. docs/metrics.md names them.",
        default=None,
        example="--metrics prometheus://:9400",
    )
    progress: Literal["auto", "rich", "plain", "json", "none"] = option(
        kinds.choice("auto", "rich", "plain", "json", "none"),
        group=SEEN,
        help="On standard error. auto: rich on a terminal, else plain (a line every 10 s). json: an object a line.",
        default="auto",
        verify=True,
    )
    report: str | None = option(
        kinds.optional(kinds.text("FILE", "a file's path, or -", r"[^\0]+")),
        group=SEEN,
        help="Write the report (JSON, see docs/report.md) to this file, which must be new, empty or an earlier "
        "report; - is standard output.",
        default=None,
        example="--report report.json",
    )

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[Contradiction]:
        yield from _destination(values)
        yield from _topics(values)
        said = options(cls)
        if values["checkpoints"].startswith("kafka:"):
            against = [name for name in ("delivery", "output") if values[name] not in (None, "exactly-once")]
            for name in against:
                only = "kafka:// is for exactly-once into Kafka only"
                found = f"found {said[name].flag} {values[name]}"
                yield ("checkpoints", name), f"{said['checkpoints'].label}: {only}, {found}"
        if values["on_bad_row"] == "dead-letter" and not (values["output"] or values["dead_letter_topic"]):
            yield (
                ("on_bad_row", "dead_letter_topic", "output"),
                f"{said['dead_letter_topic'].label}: is needed for {said['on_bad_row'].flag} dead-letter",
            )
        sources = values["sources"] if values["sources"] is not NOTHING else ()
        others = [url for url in sources if not url.startswith("s3://")]
        if values["after"] and others:
            yield ("after", "sources"), f"{said['after'].label}: is for sources in S3, found {others[0]!r}"
        yield from super().contradictions(values)


@frozen(kw_only=True, slots=False)
class CheckConfig(RunConfig):
    """What is given beside a receipt, which says source, destination and settings itself: nothing of it is needed."""

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[Contradiction]:
        yield from super(RunConfig, cls).contradictions(values)


def _destination(values: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Kafka (servers and topic) or a file: one of the two, and all of it."""
    said = options(RunConfig)
    servers, topic, output = (said[name] for name in ("bootstrap_servers", "topic", "output"))
    kafka = [one for one in (topic, servers) if values[one.name]]
    if values["output"]:
        if values["output"].startswith("-"):
            yield (
                (output.name,),
                f"{output.label}: expected a file (./-x, if its name begins with a dash), found {values['output']!r}: "
                "standard output cannot be gone on with after a crash; give a file",
            )
        for one in kafka[:1]:
            yield (one.name, output.name), f"{output.label}: expected either a file or {one.flag}, found both"
    else:
        instead = "" if kafka else f", or {output.label}"
        for missing in [one for one in (servers, topic) if one not in kafka]:
            yield (missing.name, output.name), f"{missing.label}: is needed{instead}"
    for name in ("completion_topic", "dead_letter_topic", "create_topic"):
        if values["output"] and values[name]:
            yield (output.name, name), f"{said[name].label}: is for Kafka, found {output.flag} {values['output']}"


def _topics(values: Mapping[str, Any]) -> Iterator[Contradiction]:
    """The data topic holds the rows alone, the checkpoint topic is compacted: neither may be another's."""
    said = options(RunConfig)
    apart = (
        ("checkpoint_topic", "topic"),
        ("dead_letter_topic", "topic"),
        ("completion_topic", "topic"),
        ("dead_letter_topic", "checkpoint_topic"),
        ("completion_topic", "checkpoint_topic"),
    )
    for name, other in apart:
        if values[name] and values[name] == values[other]:
            both = f"expected another topic than {said[other].flag}'s, found {values[name]!r} for both"
            yield (name, other), f"{said[name].label}: {both}"
