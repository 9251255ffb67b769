"""A pipeline as the only work of a process, for programs of one's own where the command would else run.

    async def start() -> int:
        config = await configuration()
        return await until_stopped(Pipeline.from_config(config, transform=…), watch="auto")

    raise SystemExit(main(start))

    SIGTERM, SIGINT, a notice ──▶ what is on the way is committed ──▶ 75, and the same program goes on there

Exit codes are the command's (docs/errors.md), so what starts it again need not know the difference. How it ended and
what is warned of are JSON lines on standard error as of ``--progress json`` (docs/report.md), which alarms read.
Secrets are not taken out of them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from csv2kafka.config import PREFIX, RunConfig, load
from csv2kafka.errors import Csv2KafkaError, Stopped
from csv2kafka.pipeline import Pipeline

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOP_SECONDS = 9.5  # then ``main``'s process ends anyway: a thread may be in a read that never ends

_alone = ContextVar("_alone", default=False)  # whether the process is ``main``'s


async def configuration(**own: Any) -> RunConfig:
    """That of the environment and of the file it names, references to secrets looked up. ``own``: raw values by field
    name, stronger than both. Raises ConfigError with all problems at once; Unreachable."""
    from csv2kafka.aws import secrets
    from csv2kafka.sources import small_object

    return await asyncio.to_thread(
        load,
        RunConfig,
        flags=own,
        environ=os.environ,
        file=os.environ.get(f"{PREFIX}CONFIG") or None,
        read=small_object.read,
        resolve=secrets.resolve,
    )


async def until_stopped(pipeline: Pipeline, *, watch: str = "none") -> int:
    """Run it in this loop, the main thread's, until it ends or is told to; gives the exit code. ``watch``: which
    notices of AWS tell it to, as ``--watch``."""
    run = asyncio.ensure_future(pipeline.run())
    reasons: list[str] = []

    def stop(reason: str) -> None:
        reasons.append(reason)
        if len(reasons) == 1:  # cancelled once more, it would no longer commit what is on the way
            _tell("stopping")
            run.cancel()
            if _alone.get():
                deadline = threading.Timer(STOP_SECONDS, os._exit, (Stopped.exit_code,))
                deadline.daemon = True  # and not cancelled: Python itself waits for threads when it exits
                deadline.start()

    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number.name)
    notices = asyncio.ensure_future(_heed(watch, stop))
    try:
        report = await run
    except asyncio.CancelledError:
        if not reasons:  # whoever cancelled this call wants no exit code
            raise
        rows = pipeline.report.checkpoint.counts.rows
        return failed(Stopped(f"stopped ({reasons[0]}): {rows:,} rows are committed", hint="run the same again"))
    except Csv2KafkaError as error:
        return failed(error)
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        notices.cancel()
        await asyncio.wait({notices})
    _tell("finished", report=report.as_dict())
    return 0


def main(start: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """What ``start`` gives, or the exit code of an error that comes before there is a pipeline. Log records are written
    as the other lines are, unless the program has set up logging itself."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()])
    before = _alone.set(True)
    try:
        return asyncio.run(start())
    except Csv2KafkaError as error:
        return failed(error)
    finally:
        _alone.reset(before)


def failed(error: Csv2KafkaError) -> int:
    """Tell of it; gives its exit code."""
    _tell("failed", exit_code=error.exit_code, error=type(error).__name__, message=error.message, hint=error.hint)
    return error.exit_code


async def _heed(watch: str, stop: Callable[[str], None]) -> None:
    if watch == "none":
        return
    from csv2kafka.aws.notices import notice

    reason = await notice(watch, os.environ)
    if reason is not None:
        stop(reason)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _tell("log", level=record.levelname.lower(), message=record.getMessage())


def _tell(event: str, **facts: Any) -> None:
    """A reader that went away is no reason to fail."""
    line = {"event": event, "at": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
    with suppress(OSError, ValueError):
        sys.stderr.write(json.dumps(line) + "\n")  # in ASCII: nothing that a terminal would obey
        sys.stderr.flush()
