"""``csv2kafka status``: the jobs of a checkpoint store, how far each is, and who works on it."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from csv2kafka import registry
from csv2kafka.cli.console import Console
from csv2kafka.cli.echo import echo, echo_json
from csv2kafka.cli.options import configured, loaded
from csv2kafka.cli.printable import lines_of_it
from csv2kafka.cli.progress.outcome import counted
from csv2kafka.cli.redact import redacted, redacted_facts
from csv2kafka.cli.results import results
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.config import ConnectConfig
from csv2kafka.errors import ConfigError
from csv2kafka.model import JobStatus
from csv2kafka.model.report import last_offset, local_time


@configured("status", ConnectConfig)
@click.argument("job", required=False)
@click.option("--json", "as_json", is_flag=True, help="As a JSON array, one object a job.")
def command(job: str | None, as_json: bool, **flags: Any) -> int:
    """Show the jobs of the checkpoint store, or one JOB: how far it is, and who works on it."""
    config = loaded(ConnectConfig, flags)
    place = where(config)
    if flags["bootstrap_servers"] and not config.checkpoints.startswith("kafka:"):
        echo(f"-b is not used: the jobs of {place} are shown (--checkpoints kafka:// asks the brokers)", err=True)
    found = run_until_signalled(lambda: jobs(config))
    if job is not None:
        found = [status for status in found if status.checkpoint.job == job]
        if not found:
            raise ConfigError(f"no job {job!r} in {place}", hint="csv2kafka status shows all of them")
    with results():
        if as_json:
            echo_json([facts(status) for status in found])
        elif not found:
            echo(f"no jobs in {place}", err=True)
        else:
            # soft_wrap: a line is cut by the terminal, if at all, so that a name can be copied.
            console = Console(highlight=False, soft_wrap=True)
            told = [_details(found[0])] if job is not None else [f"jobs in {redacted(place)}", *map(_lines, found)]
            for text in told:
                console.print(text, markup=False)
    return 0


def where(config: ConnectConfig) -> str:
    """The store, for people: its file, if it is one."""
    file = registry.store_file(config)
    return config.checkpoints if file is None else str(file)


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
        "owner_gone": status.gone,
        "lease_epoch": status.lease_epoch,
        "heartbeat": status.heartbeat.isoformat() if status.heartbeat else None,
        "settings": dict(point.settings),
    }


def state(status: JobStatus) -> str:
    """``complete``, ``held`` (a run has its lease, and may be alive) or ``resumable``."""
    if status.checkpoint.complete:
        return "complete"
    return "held" if status.owner and not status.gone else "resumable"


def _lines(status: JobStatus) -> Text:
    """A job on three lines: its name, alone and whole; how far it is; where that is, and who works on it."""
    point = status.checkpoint
    text = Text.assemble(
        (lines_of_it(point.job), "bold"), "\n  ", _state(status), f"  {counted(point.counts.rows, 'row')}"
    )
    if point.counts.bad_rows:
        text.append(f", {point.counts.bad_rows:,} bad", "yellow")
    text.append(f"  committed {local_time(point.at)}\n  {lines_of_it(point.position.uri) or 'no source yet'}")
    if point.position.uri:
        text.append(f", line {point.position.line:,}")
    if status.owner:
        text.append(f"\n  {'last ' if status.gone else ''}held by {_holder(status)}")
    return text


def _details(status: JobStatus) -> Text:
    lines = []
    for name, value in redacted_facts(facts(status)).items():
        if name == "settings":
            value = ", ".join(f"{key}={text}" for key, text in sorted(value.items()) if text)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        shown = f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
        lines.append(Text.assemble((f"{name.replace('_', ' '):<16}", "bold"), lines_of_it(shown)))
    return Text("\n").join(lines)


def _state(status: JobStatus) -> Text:
    word = state(status)
    return Text(word, {"complete": "green", "held": "cyan", "resumable": "yellow"}[word])


def _holder(status: JobStatus) -> str:
    since = f", last heard {local_time(status.heartbeat)}" if status.heartbeat else ""
    return f"{lines_of_it(status.owner or '')}{' (process gone)' if status.gone else ''}{since}"
