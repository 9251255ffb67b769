"""From configuration to parts: which class serves which scheme, and the job's name.

The schemes of this package are in ``_own``; an installed package adds others, each as an entry point:

    [project.entry-points."csv2kafka.sinks"]
    nats = "csv2kafka_nats:NatsSink.from_url"      # csv2kafka run orders.csv -o nats://host/subject

    group                     scheme of            factory
    csv2kafka.sources         SOURCE               (urls: Sequence[str], config: RunConfig) -> Source
    csv2kafka.sinks           --output             (url: str, config: RunConfig) -> Sink
    csv2kafka.checkpoints     --checkpoints        (url: str, config: ConnectConfig) -> CheckpointStore

A factory gets the URLs as they were given, all of one scheme, and the whole checked configuration. It raises
ConfigError for what it cannot take. A scheme of this package cannot be taken over by another one. SOURCE and
--output without a scheme are files; ``-`` is standard input.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from csv2kafka.config import ConnectConfig, ReadConfig, RunConfig
from csv2kafka.config.option import did_you_mean, options
from csv2kafka.errors import ConfigError, Csv2KafkaError
from csv2kafka.model import Dialect
from csv2kafka.protocols import CheckpointStore, Encoder, Sink, Source

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints

SOURCES, SINKS, CHECKPOINTS = "csv2kafka.sources", "csv2kafka.sinks", "csv2kafka.checkpoints"
FILE, STDIN, KAFKA = "file", "-", "kafka"
DEFAULT_STORE = "memory://"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_READABLE = 50  # letters of each end that a job's name shows


@frozen(kw_only=True, eq=False)
class Parts:
    """What a pipeline is made of."""

    source: Source
    sink: Sink
    checkpoints: CheckpointStore
    encoder: Encoder
    dialect: Dialect


def build(config: RunConfig) -> Parts:
    """The parts the configuration asks for. Raises ConfigError with the problems of all of them."""
    errors: list[ConfigError] = []

    def collected(make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except ConfigError as error:
            errors.append(error)
            return None

    source = collected(build_source, config)
    sink = collected(build_sink, config)
    encoder = collected(build_encoder, config)
    checkpoints: Any = collected(build_store, config)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigError(*(problem for error in errors for problem in error.problems))
    return Parts(source=source, sink=sink, checkpoints=checkpoints, encoder=encoder, dialect=build_dialect(config))


def build_source(config: ReadConfig) -> Source:
    """The source of SOURCE..., all of one scheme."""
    schemes = {url: STDIN if url == STDIN else _scheme(url) for url in config.sources}
    scheme, *others = dict.fromkeys(schemes.values())
    if others:
        found = ", ".join(repr(url) for url in config.sources)
        raise ConfigError(f"{options(ReadConfig)['sources'].label}: expected sources of one kind, found {found}")
    if scheme == STDIN and len(config.sources) > 1:
        raise ConfigError(
            f"{options(ReadConfig)['sources'].label}: expected - alone, found it {len(config.sources)} times"
        )
    source: Source = _made(SOURCES, scheme, options(ReadConfig)["sources"].label, Source, config.sources, config)
    return source


def build_sink(config: RunConfig) -> Sink:
    """The sink of --topic or --output."""
    label = options(RunConfig)["output"].label
    if config.output is None:
        scheme, url = KAFKA, f"kafka://{config.topic}"
    else:
        scheme, url = _scheme(config.output), config.output
        if scheme == KAFKA:
            raise ConfigError(f"{label}: expected a file, found {url!r}: a topic is given by --topic")
    sink: Sink = _made(SINKS, scheme, label, Sink, url, config)
    return sink


def build_store(config: ConnectConfig) -> CheckpointStore:
    """The store of --checkpoints."""
    label = options(ConnectConfig)["checkpoints"].label
    store: CheckpointStore = _made(
        CHECKPOINTS, _scheme(config.checkpoints), label, CheckpointStore, config.checkpoints, config
    )
    return store


def output_file(config: RunConfig) -> Path | None:
    """The file of --output; None without one, or if another scheme's sink is given."""
    return Path(_path(config.output)) if config.output is not None and _scheme(config.output) == FILE else None


def source_paths(config: ReadConfig) -> list[str]:
    """SOURCE as paths, directories and globs of this machine; empty for standard input and other schemes."""
    return [_path(url) for url in config.sources if url != STDIN and _scheme(url) == FILE]


def store_file(config: ConnectConfig) -> Path | None:
    """The file of the --checkpoints store, if it is one of SQLite's. Raises ConfigError for a wrong URL."""
    if _scheme(config.checkpoints) not in ("sqlite", "memory"):
        return None
    from csv2kafka.checkpoints.sqlite import path_of

    return path_of(config.checkpoints).absolute()


def build_dialect(config: ReadConfig) -> Dialect:
    """How the CSV is written."""
    return Dialect(delimiter=config.delimiter, quote=config.quote, escape=config.escape, comment=config.comment)


def build_encoder(config: ReadConfig) -> Encoder:
    """The encoder of --format and --key. Also refuses an --encoding that cannot be read as a stream."""
    from csv2kafka import encoding
    from csv2kafka.decoding import check_encoding

    check_encoding(config.encoding)
    encoder = encoding.JsonEncoder if config.format == "json" else encoding.RawEncoder
    return encoder(dialect=build_dialect(config), keys=config.key or ())


def default_encoder(dialect: Dialect) -> Encoder:
    """JSON objects without a key."""
    from csv2kafka.encoding import JsonEncoder

    return JsonEncoder(dialect=dialect)


def default_store() -> CheckpointStore:
    """A SQLite database in the user's state directory."""
    from csv2kafka.checkpoints.sqlite import SQLiteStore

    return SQLiteStore.from_url(DEFAULT_STORE)


def job_name(uri: str, destination: str, *, run_id: str) -> str:
    """``orders.csv-to-orders-0-1f0c9a7be2``: readable, the same for the same source and destination.

    Made of letters that are safe in a transactional id. The cluster's address is no part of it: another list of
    brokers must not begin a new job. Standard input gets a name of its own in each run.
    """
    if uri == STDIN:
        return f"stdin-to-{_readable(destination)}-{run_id[:10]}"
    digest = hashlib.sha256(f"{uri}\n{destination}".encode(errors="surrogatepass")).hexdigest()
    return f"{_readable(uri)}-to-{_readable(destination)}-{digest[:10]}"


def _readable(place: str) -> str:
    """The last part of a path, or a topic and partition, in safe letters."""
    name = re.sub(r"^(kafka topic|file) ", "", place).replace(" partition ", "-")
    name = name.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:_READABLE].strip("-.") or "all"


def _scheme(url: str) -> str:
    match = _SCHEME.match(url)
    return match[1].lower() if match else FILE


def _made(group: str, scheme: str, label: str, protocol: type, *arguments: Any) -> Any:
    """What the scheme's factory makes; another package's is held against its protocol."""
    if (group, scheme) in _own():
        return _own()[group, scheme](*arguments)
    point = _entry_point(group, scheme, label)
    try:
        part = point.load()(*arguments)
    except Csv2KafkaError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{label}: {scheme!r} is served by {_package(point)}, which fails: {type(error).__name__}: {error}",
            hint="update that package, or remove it",
        ) from error
    if not isinstance(part, protocol):
        raise ConfigError(
            f"{label}: {scheme!r} is served by {_package(point)}, which gave a {type(part).__name__}: "
            f"not a {protocol.__name__} of this csv2kafka",
            hint="update that package, or remove it",
        )
    return part


def _entry_point(group: str, scheme: str, label: str) -> EntryPoint:
    found = _installed(group)
    matching = list({point.value: point for point in found if point.name == scheme}.values())
    if not matching:
        own = {name for where, name in _own() if where == group}
        known = sorted((own | {point.name for point in found}) - {STDIN})
        raise ConfigError(
            f"{label}: no scheme {scheme!r} here{did_you_mean(scheme, known)}", hint=f"there is {', '.join(known)}"
        )
    if len(matching) > 1:
        packages = " and ".join(sorted(_package(point) for point in matching))
        raise ConfigError(f"{label}: {scheme!r} is served by {packages}", hint="remove one of the two packages")
    return matching[0]


def _installed(group: str) -> EntryPoints:
    """What all installed packages offer. Late, because to look through them takes longer than to build a pipeline."""
    from importlib.metadata import entry_points

    return entry_points(group=group)


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name} {point.dist.version} ({point.value})" if point.dist else point.value


# --- the factories of this package: its parts know nothing of the configuration ---


def _own() -> Mapping[tuple[str, str], Callable[..., Any]]:
    return {
        (SOURCES, FILE): file_source,
        (SOURCES, STDIN): stdin_source,
        (SOURCES, "s3"): s3_source,
        (SOURCES, "http"): http_source,
        (SOURCES, "https"): http_source,
        (SINKS, FILE): file_sink,
        (SINKS, KAFKA): kafka_sink,
        (CHECKPOINTS, "sqlite"): sqlite_store,
        (CHECKPOINTS, "memory"): sqlite_store,
        (CHECKPOINTS, "kafka"): kafka_store,
        (CHECKPOINTS, "dynamodb"): dynamodb_store,
        (CHECKPOINTS, "s3"): s3_store,
    }


def file_source(urls: Sequence[str], config: ReadConfig) -> Source:
    """SOURCE: paths, directories, globs."""
    from csv2kafka.sources.local import LocalSource

    return LocalSource(*(_path(url) for url in urls))


def stdin_source(urls: Sequence[str], config: ReadConfig) -> Source:
    """``-``."""
    from csv2kafka.sources.stdin import StdinSource

    return StdinSource()


def s3_source(urls: Sequence[str], config: ReadConfig) -> Source:
    """s3://BUCKET/KEY, s3://BUCKET/PREFIX/ and globs of keys."""
    from csv2kafka.sources.s3 import S3Source
    from csv2kafka.sources.s3_after import check_after

    if isinstance(config, RunConfig) and config.after is not None:
        check_after(urls, config.after)
    return S3Source(*urls, **config.s3)


def http_source(urls: Sequence[str], config: ReadConfig) -> Source:
    """http:// and https://."""
    from csv2kafka.sources.http import HttpSource

    return HttpSource(*urls)


def file_sink(url: str, config: RunConfig) -> Sink:
    """--output FILE."""
    from csv2kafka.sinks.file import FileSink

    return FileSink(_path(url))


def kafka_sink(url: str, config: RunConfig) -> Sink:
    """--bootstrap-servers and --topic."""
    from csv2kafka.sinks.kafka import KafkaSink

    return KafkaSink(
        str(config.topic),
        bootstrap_servers=str(config.bootstrap_servers),
        partition=config.partition,
        delivery=config.delivery,
        compression=config.compression,
        checkpoint_topic=config.checkpoint_topic,
        create_topic=config.create_topic,
        dead_letter_topic=config.dead_letter_topic,
        completion_topic=config.completion_topic,
        **config.kafka,
    )


def sqlite_store(url: str, config: ConnectConfig) -> CheckpointStore:
    """sqlite:///PATH and memory://."""
    from csv2kafka.checkpoints.sqlite import SQLiteStore

    return SQLiteStore.from_url(url)


def kafka_store(url: str, config: ConnectConfig) -> CheckpointStore:
    """kafka://: the checkpoint topic alone."""
    from csv2kafka.checkpoints.kafka import KafkaStore

    if config.bootstrap_servers is None:
        raise ConfigError(f"{options(ConnectConfig)['bootstrap_servers'].label}: is needed for {url}")
    return KafkaStore(
        bootstrap_servers=config.bootstrap_servers, checkpoint_topic=config.checkpoint_topic, **config.kafka
    )


def dynamodb_store(url: str, config: ConnectConfig) -> CheckpointStore:
    """dynamodb://TABLE."""
    from csv2kafka.checkpoints.dynamodb import DynamoDBStore

    return DynamoDBStore.from_url(url)


def s3_store(url: str, config: ConnectConfig) -> CheckpointStore:
    """s3://BUCKET/PREFIX."""
    from csv2kafka.checkpoints.s3 import S3Store

    return S3Store.from_url(url)


def _path(url: str) -> str:
    return url.removeprefix("file://")
