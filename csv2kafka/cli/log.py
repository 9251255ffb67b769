"""Logging of the command: what the library, its parts and the client log, to standard error. The library sets up
nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from csv2kafka.cli.printable import lines_of_it
from csv2kafka.cli.redact import redacted, redacted_facts

_OWN = logging.getLogger("csv2kafka")
# Their debug lines hold whole requests and answers: signatures, secrets, a CSV's content.
_NEVER_DEBUGGED = ("botocore", "aiobotocore", "boto3", "urllib3", "aiohttp", "aws_msk_iam_sasl_signer")


def configure(*, json_lines: bool, debug: bool) -> None:
    """Warnings and notes as lines a person reads, or one JSON object a line. ``debug``: also the Kafka client's."""
    handler = logging.StreamHandler(_Stream())
    handler.setFormatter(_Lines(json_lines=json_lines, debug=debug))
    handler.addFilter(_no_login)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if debug else logging.WARNING)
    # What the client finds worth a warning (a node is away) the pipeline tells itself, once, as a wait.
    logging.getLogger("aiokafka").setLevel(logging.DEBUG if debug else logging.CRITICAL)
    for name in _NEVER_DEBUGGED:
        logging.getLogger(name).setLevel(logging.WARNING)


def warning(text: str) -> None:
    """A warning of the command itself, as ``configure`` has set it up."""
    _OWN.warning("%s", text)


def _no_login(record: logging.LogRecord) -> bool:
    """The client's debug lines show a login as it is sent, with password or token."""
    return not (record.name.startswith("aiokafka") and "SaslAuthenticate" in record.getMessage())


class _Lines(logging.Formatter):
    """structlog's formatter, made with the first line: most runs log none, and structlog, which brings rich with
    it, takes as long to import as the Kafka client."""

    def __init__(self, *, json_lines: bool, debug: bool) -> None:
        super().__init__()
        self._json_lines = json_lines
        self._debug = debug
        self._made: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._made is None:
            self._made = _formatter(json_lines=self._json_lines, debug=self._debug)
        return self._made.format(record)


def _formatter(*, json_lines: bool, debug: bool) -> logging.Formatter:
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        processor=_json if json_lines else _plain,
        foreign_pre_chain=[
            _named,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if debug else _without_traceback,
        ],
        use_get_message=True,
    )


class _Stream:
    """Standard error as it is now: a progress display may stand in its place for a while."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def _named(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The command's own lines need no name."""
    record = event["_record"]
    if record.name != _OWN.name:
        event["logger"] = record.name
    return event


def _without_traceback(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("exc_info", None)
    event.pop("stack_info", None)
    return event


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    import json

    said = redacted_facts({key: value for key, value in event.items() if not key.startswith("_")})
    at, level, message = said.pop("timestamp"), said.pop("level"), said.pop("event")
    line = {"event": "log", "at": at, "level": level, "message": message, **said}
    return json.dumps(line, default=lambda value: redacted(str(value)))


def _plain(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    said = {key: value for key, value in event.items() if not key.startswith("_") and key != "exception"}
    if str(said.get("logger", "")).startswith(f"{_OWN.name}."):
        del said["logger"]  # for those who look for it in the program: with JSON
    at, level, message = said.pop("timestamp"), said.pop("level"), said.pop("event")
    more = "".join(f" {key}={value}" for key, value in said.items())
    trace = f"\n{event['exception']}" if "exception" in event else ""
    return lines_of_it(redacted(f"{at[11:19]}Z {level}: {message}{more}{trace}"))
