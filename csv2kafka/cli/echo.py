"""Lines that the command writes without rich: for people without secrets and without what a terminal would obey, for
programs as JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from csv2kafka.cli.printable import lines_of_it, printable_json
from csv2kafka.cli.redact import redacted, redacted_facts


def echo(text: str, *, err: bool = False) -> None:
    """A line for people; what it has below it is indented."""
    click.echo(lines_of_it(redacted(text)), err=err)


def echo_json(value: Any) -> None:
    """A result on standard output."""
    click.echo(as_json(value, indent=2))


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Without secrets, and in letters that every terminal and file can have."""
    return printable_json(json.dumps(redacted_facts(value), indent=indent, ensure_ascii=False))
