"""``csv2kafka status``: the jobs of a checkpoint store, how far each is, and who works on it."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from csv2kafka import registry
from csv2kafka.cli.console import Console
from csv2kafka.cli.options import configured, loaded
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.config import ConnectConfig
from csv2kafka.errors import ConfigError
from csv2kafka.model import JobStatus
from csv2kafka.model.report import last_offset, local_time

WIDE = 250  # for a file or a pipe: lines are cut by whoever reads them


@configured("status", ConnectConfig)
@click.argument("job", required=False)
@click.option("--json", "as_json", is_flag=True, help="As a JSON array, one object a job.")
def command(job: str | None, as_json: bool, **flags: Any) -> int:
    """Show the jobs of the checkpoint store, or one JOB: how far it is, and who works on it."""
    config = loaded(ConnectConfig, flags)
    found = run_until_signalled(lambda: jobs(config))
    if job is not None:
        found = [status for status in found if status.checkpoint.job == job]
        if not found:
            raise ConfigError(f"no job {job!r} in {config.checkpoints}", hint="csv2kafka status shows all of them")
    if as_json:
        click.echo(json.dumps([facts(status) for status in found], indent=2, ensure_ascii=False))
    elif not found:
        click.echo(f"no jobs in {config.checkpoints}", err=True)
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
        console.print(_details(found[0]) if job is not None else _table(found))
    return 0


async def jobs(config: ConnectConfig) -> list[JobStatus]:
    """All jobs of the store, by name."""
    store = registry.build_store(config)
    try:
        return [status async for status in store.jobs()]
    finally:
        await store.close()


def facts(status: JobStatus) -> dict[str, Any]:
    """A job as programs read it; docs/report.md has the fields."""
    point = status.checkpoint
    return {
        "job": point.job,
        "state": state(status),
        "rows": point.counts.rows,
        "bad_rows": point.counts.bad_rows,
        "bytes": point.counts.bytes,
        "source": point.position.uri,
        "line": point.position.line,
        "first_offset": point.sink.first_offset,
        "last_offset": last_offset(point),
        "content_hash": str(point.content_hash),
        "transactions": point.transactions,
        "generation": point.generation,
        "committed_at": point.at.isoformat(),
        "run_id": point.run_id,
        "owner": status.owner,
        "lease_epoch": status.lease_epoch,
        "heartbeat": status.heartbeat.isoformat() if status.heartbeat else None,
        "settings": dict(point.settings),
    }


def state(status: JobStatus) -> str:
    """``complete``, ``held`` (a run has its lease) or ``resumable``."""
    if status.checkpoint.complete:
        return "complete"
    return "held" if status.owner else "resumable"


def _table(found: list[JobStatus]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("Job", "State", "Rows", "Bad", "At", "Committed", "Held by"):
        table.add_column(name, justify="right" if name in ("Rows", "Bad") else "left", overflow="fold")
    for status in found:
        point = status.checkpoint
        table.add_row(
            Text(point.job),
            _state(status),
            f"{point.counts.rows:,}",
            f"{point.counts.bad_rows:,}",
            Text(f"{point.position.uri} line {point.position.line:,}"),
            local_time(point.at),
            Text(_holder(status)),
        )
    return table


def _details(status: JobStatus) -> Table:
    table = Table.grid(padding=(0, 3))
    for name, value in facts(status).items():
        if name == "settings":
            value = ", ".join(f"{key}={text}" for key, text in sorted(value.items()) if text)
        shown = f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
        table.add_row(Text(name.replace("_", " "), "bold"), Text(shown))
    return table


def _state(status: JobStatus) -> Text:
    word = state(status)
    return Text(word, {"complete": "green", "held": "cyan", "resumable": "yellow"}[word])


def _holder(status: JobStatus) -> str:
    if not status.owner:
        return ""
    since = f", last heard {local_time(status.heartbeat)}" if status.heartbeat else ""
    return f"{status.owner}{since}"
