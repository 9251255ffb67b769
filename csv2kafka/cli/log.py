"""Logging of the command: structlog and the libraries' logging, to standard error. The library sets up nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import structlog


def configure(*, json_lines: bool, debug: bool) -> None:
    """Warnings and notes as lines a person reads, or one JSON object a line. ``debug``: also the Kafka client's."""
    level = logging.DEBUG if debug else logging.INFO
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if debug else _without_traceback,
    ]
    renderer: Any = _json if json_lines else _plain
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(_Stream())
    formatter = structlog.stdlib.ProcessorFormatter(
        processor=renderer, foreign_pre_chain=[_named, *shared], use_get_message=True
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level if debug else logging.WARNING)
    # What the client finds worth a warning (a node is away) the pipeline tells itself, once, as a wait.
    logging.getLogger("aiokafka").setLevel(level if debug else logging.CRITICAL)


def warning(text: str) -> None:
    """A warning of the command itself, as ``configure`` has set it up."""
    structlog.get_logger().warning(text)


class _Stream:
    """Standard error as it is now: a progress display may stand in its place for a while."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


class _Stderr:
    def msg(self, message: str) -> None:
        stream = _Stream()
        stream.write(message + "\n")
        stream.flush()

    debug = info = warning = error = critical = exception = log = msg


def _named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event


def _without_traceback(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("exc_info", None)
    event.pop("stack_info", None)
    return event


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    import json

    said = {key: value for key, value in event.items() if not key.startswith("_")}
    at, level, message = said.pop("timestamp"), said.pop("level"), said.pop("event")
    return json.dumps({"event": "log", "at": at, "level": level, "message": message, **said}, default=str)


def _plain(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    said = {key: value for key, value in event.items() if not key.startswith("_") and key != "exception"}
    at, level, message = said.pop("timestamp"), said.pop("level"), said.pop("event")
    more = "".join(f" {key}={value}" for key, value in said.items())
    trace = f"\n{event['exception']}" if "exception" in event else ""
    return f"{at[11:19]}Z {level}: {message}{more}{trace}"
