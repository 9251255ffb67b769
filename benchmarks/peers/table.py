"""The peers, in the order of the tables."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import jars
from benchmarks.content import Sends
from benchmarks.peers.peer import Peer, Place, own_report
from csv2kafka.cli.local_kafka import KAFKA_VERSION, fetch_jars, java

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).with_name("csv2kafka")
LINGER = "linger.ms=100"
PRODUCER = "acks=all, idempotent, zstd"
# Larger batches and zstd's level 1 are the fastest for kcat; its defaults are up to a third slower.
KCAT = (
    *("-X", "acks=all", "-X", "enable.idempotence=true", "-z", "zstd", "-X", "compression.level=1"),
    *("-X", LINGER, "-X", "batch.size=4000000", "-X", "batch.num.messages=100000"),
)
KCAT_SETTINGS = f"{PRODUCER} level 1, {LINGER}, batch.size=4 MB, batch.num.messages=100,000"
KAFKA_CLIENT = "acks=all enable.idempotence=true compression.type=zstd linger.ms=20 batch.size=1048576"
SPARK_CONNECTOR = (
    "org.apache.spark:spark-sql-kafka-0-10_2.13",
    "org.apache.spark:spark-token-provider-kafka-0-10_2.13",
)
# What it needs beside that and is not part of Spark, as its 4.1 names them.
SPARK_CONNECTOR_NEEDS = ("org.apache.kafka:kafka-clients:3.9.1", "org.apache.commons:commons-pool2:2.12.1")


def csv2kafka(place: Place, *options: str) -> Sequence[str]:
    """The installed command."""
    source, report = str(place.table.path), str(place.report)
    return [str(COMMAND), "run", source, "-b", place.servers, "-t", place.topic, "--report", report, *options]


def _script(name: str, place: Place, *more: str) -> Sequence[str]:
    return [sys.executable, "-P", str(HERE / name), str(place.table.path), place.servers, place.topic, *more]


def _kcat(place: Place) -> list[str]:
    return ["kcat", "-P", "-b", place.servers, "-t", place.topic, "-p", "0", *KCAT]


def _duckdb_kcat(place: Place) -> Sequence[str]:
    reader = [sys.executable, "-P", str(HERE / "duckdb_json.py"), str(place.table.path)]
    return ["bash", "-c", f"set -o pipefail; {shlex.join(reader)} | {shlex.join(_kcat(place))}"]


def _replay(place: Place, *options: str) -> Sequence[str]:
    return _script("replay.py", place, str(place.report), str(place.broker_pid), *options)


def _producer_performance(place: Place) -> Sequence[str]:
    with place.table.path.open("rb") as file:
        lines = sum(1 for _ in file)
    return [
        *(str(java()), "-cp", f"{fetch_jars()}/*", "org.apache.kafka.tools.ProducerPerformance"),
        *("--topic", place.topic, "--num-records", str(lines), "--throughput", "-1"),
        *("--payload-file", str(place.table.path), "--payload-delimiter", "\\n"),
        *("--producer-props", f"bootstrap.servers={place.servers}", *KAFKA_CLIENT.split()),
    ]


def _connect_jars() -> Path:
    group = "org.apache.kafka"
    return jars.fetch("connect", f"{group}:connect-runtime:{KAFKA_VERSION}", f"{group}:connect-file:{KAFKA_VERSION}")


def _connect(place: Place) -> Sequence[str]:
    """A worker with one connector; it keeps its place in a file of its own, so that a second run goes on."""
    converter = "org.apache.kafka.connect.storage.StringConverter"
    worker = {
        "bootstrap.servers": place.servers,
        "listeners": "http://127.0.0.1:0",
        "key.converter": converter,
        "value.converter": converter,
        "offset.storage.file.filename": str(place.directory / "offsets"),
        "plugin.discovery": "service_load",
        **{f"producer.{name}": value for name, value in (each.split("=") for each in KAFKA_CLIENT.split())},
    }
    connector = {
        "name": "file",
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "tasks.max": "1",
        "file": str(place.table.path),
        "topic": place.topic,
    }
    paths = []
    for name, settings in {"worker": worker, "connector": connector}.items():
        path = place.directory / f"{name}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        paths.append(str(path))
    main = "org.apache.kafka.connect.cli.ConnectStandalone"
    return [str(java()), "-cp", f"{_connect_jars()}/*", main, *paths]


def _spark_jars() -> Path:
    import pyspark

    connector = [f"{artifact}:{pyspark.__version__}" for artifact in SPARK_CONNECTOR]
    return jars.fetch("spark-kafka", *connector, *SPARK_CONNECTOR_NEEDS, alone=True)


def _spark(place: Place) -> Sequence[str]:
    return _script("spark_job.py", place, ",".join(str(path) for path in _spark_jars().glob("*.jar")))


def _needs(
    *, programs: Sequence[str] = (), modules: Sequence[str] = (), fetched: Callable[[], Path] | None = None
) -> str | None:
    """What is missing of these."""
    missing = [f"there is no {name} on the path" for name in programs if not shutil.which(name)]
    missing += [f"the Python package {name} is not installed" for name in modules if not importlib.util.find_spec(name)]
    if not missing and fetched is not None:
        try:
            fetched()
        except jars.JarsMissing as error:
            missing.append(str(error))
    return "; ".join(missing) or None


def _csv2kafka_missing() -> str | None:
    return None if COMMAND.exists() else f"csv2kafka is not installed beside {Path(sys.executable).name}"


_ours = partial(Peer, missing=_csv2kafka_missing, own=own_report, kind="ours")
_ceiling = partial(Peer, own=own_report, kind="ceiling", killed=False)

PEERS: Sequence[Peer] = (
    _ours(
        name="csv2kafka",
        title="csv2kafka",
        settings="default settings: exactly-once, JSON, zstd",
        sends=Sends.JSON,
        argv=csv2kafka,
    ),
    _ours(
        name="csv2kafka-at-least-once",
        title="csv2kafka, at-least-once",
        settings="--delivery at-least-once",
        sends=Sends.JSON,
        argv=lambda place: csv2kafka(place, "--delivery", "at-least-once"),
    ),
    _ours(
        name="csv2kafka-raw",
        title="csv2kafka, raw rows",
        settings="--format raw, exactly-once",
        sends=Sends.ROWS,
        argv=lambda place: csv2kafka(place, "--format", "raw"),
    ),
    _ours(
        name="csv2kafka-python",
        title="csv2kafka, Python kernel",
        settings="CSV2KAFKA_KERNEL=python, exactly-once",
        sends=Sends.JSON,
        argv=csv2kafka,
        environment={"CSV2KAFKA_KERNEL": "python"},
    ),
    Peer(
        name="duckdb-kcat",
        title="DuckDB to JSON, piped into kcat",
        settings=f"COPY (FROM read_csv(…, all_varchar)) TO '/dev/stdout' (FORMAT json); kcat -P, {KCAT_SETTINGS}",
        sends=Sends.JSON_WITH_NULLS,
        argv=_duckdb_kcat,
        missing=partial(_needs, programs=["kcat", "bash"], modules=["duckdb"]),
    ),
    Peer(
        name="kcat-lines",
        title="kcat -P -l, raw lines",
        settings=KCAT_SETTINGS,
        sends=Sends.LINES,
        argv=lambda place: [*_kcat(place), "-l", str(place.table.path)],
        missing=partial(_needs, programs=["kcat"]),
    ),
    Peer(
        name="producer-performance",
        title="Kafka's ProducerPerformance, raw lines",
        settings=KAFKA_CLIENT,
        sends=Sends.SAMPLE,
        argv=_producer_performance,
        killed=False,
    ),
    Peer(
        name="spark",
        title="Spark batch job, local[1]",
        settings=f"read.csv(multiLine), to_json, write.format('kafka'); {KAFKA_CLIENT}",
        sends=Sends.JSON_WITH_NULLS,
        argv=_spark,
        missing=partial(_needs, modules=["pyspark"], fetched=_spark_jars),
        slow=True,
    ),
    Peer(
        name="dict-reader",
        title="csv.DictReader, json, confluent-kafka",
        settings=f"{PRODUCER}, linger.ms=20, a flush every 10,000 rows",
        sends=Sends.JSON,
        argv=partial(_script, "dict_reader.py"),
        missing=partial(_needs, modules=["confluent_kafka"]),
        slow=True,
    ),
    Peer(
        name="aiokafka",
        title="csv.DictReader, json, one aiokafka send per row",
        settings=f"{PRODUCER}, linger_ms=20, max_batch_size=1 MiB",
        sends=Sends.JSON,
        argv=partial(_script, "one_send.py"),
        slow=True,
    ),
    Peer(
        name="connect",
        title="Kafka Connect FileStreamSource, standalone",
        settings=f"StringConverter; producer: {KAFKA_CLIENT}",
        sends=Sends.LINES,
        argv=_connect,
        missing=partial(_needs, fetched=_connect_jars),
        ends="stopped",
        slow=True,
    ),
    _ceiling(
        name="replay",
        title="replay of finished batches (the ceiling)",
        settings="csv2kafka's own batches and session, only sent, 4 in flight, a transaction a second",
        sends=Sends.JSON,
        argv=_replay,
    ),
    _ceiling(
        name="replay-uncompressed",
        title="replay of finished batches, not compressed",
        settings="the same with --compression none",
        sends=Sends.JSON,
        argv=lambda place: _replay(place, "none"),
    ),
)
