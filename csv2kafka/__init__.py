"""Huge CSV files into Kafka: every row, in exact order, once, whatever crashes.

    from csv2kafka import KafkaSink, LocalSource, Pipeline
    report = await Pipeline(LocalSource("orders.csv"), KafkaSink("orders", bootstrap_servers="…")).run()

The names in ``__all__`` are public; they are imported when first used. Errors are in ``csv2kafka.errors``, what a
plug-in implements in ``csv2kafka.protocols``, what it is tested with in ``csv2kafka.testing``; ``csv2kafka.verify``
reads a result back.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csv2kafka.checkpoints.dynamodb import DynamoDBStore
    from csv2kafka.checkpoints.kafka import KafkaStore
    from csv2kafka.checkpoints.s3 import S3Store
    from csv2kafka.checkpoints.sqlite import SQLiteStore
    from csv2kafka.config import RunConfig
    from csv2kafka.encoding import JsonEncoder, RawEncoder
    from csv2kafka.errors import Csv2KafkaError
    from csv2kafka.model import Checkpoint, Dialect
    from csv2kafka.model.report import Report, VerifyReport
    from csv2kafka.pipeline import Pipeline
    from csv2kafka.sinks.file import FileSink
    from csv2kafka.sinks.kafka import KafkaSink
    from csv2kafka.sources.http import HttpSource
    from csv2kafka.sources.local import LocalSource
    from csv2kafka.sources.s3 import S3Source
    from csv2kafka.sources.stdin import StdinSource

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "csv2kafka.model",
    "Csv2KafkaError": "csv2kafka.errors",
    "Dialect": "csv2kafka.model",
    "DynamoDBStore": "csv2kafka.checkpoints.dynamodb",
    "FileSink": "csv2kafka.sinks.file",
    "HttpSource": "csv2kafka.sources.http",
    "JsonEncoder": "csv2kafka.encoding",
    "KafkaSink": "csv2kafka.sinks.kafka",
    "KafkaStore": "csv2kafka.checkpoints.kafka",
    "LocalSource": "csv2kafka.sources.local",
    "Pipeline": "csv2kafka.pipeline",
    "RawEncoder": "csv2kafka.encoding",
    "Report": "csv2kafka.model.report",
    "RunConfig": "csv2kafka.config",
    "S3Source": "csv2kafka.sources.s3",
    "S3Store": "csv2kafka.checkpoints.s3",
    "SQLiteStore": "csv2kafka.checkpoints.sqlite",
    "StdinSource": "csv2kafka.sources.stdin",
    "VerifyReport": "csv2kafka.model.report",
}

__all__ = [
    "Checkpoint",
    "Csv2KafkaError",
    "Dialect",
    "DynamoDBStore",
    "FileSink",
    "HttpSource",
    "JsonEncoder",
    "KafkaSink",
    "KafkaStore",
    "LocalSource",
    "Pipeline",
    "RawEncoder",
    "Report",
    "RunConfig",
    "S3Source",
    "S3Store",
    "SQLiteStore",
    "StdinSource",
    "VerifyReport",
    "__version__",
]


if not TYPE_CHECKING:  # so that a type checker sees a name that is not there

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
