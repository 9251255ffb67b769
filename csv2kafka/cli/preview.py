"""``csv2kafka preview``: what the first rows become. Nothing is written anywhere, and no broker is asked.

The values go to standard output, one a line, as their own bytes (behind the key and a tab where there is a key),
so that they can be piped on; on a terminal what it would obey is shown as an escape, as ls does. Columns, refused rows
and warnings go to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click
from attrs import define

from csv2kafka.cli.echo import echo
from csv2kafka.cli.options import configured, loaded
from csv2kafka.cli.printable import printable_value
from csv2kafka.cli.progress.outcome import counted
from csv2kafka.cli.results import results
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.cli.suspicion import wrong_delimiter
from csv2kafka.config import ReadConfig
from csv2kafka.errors import DataError
from csv2kafka.model import Position, Records

if TYPE_CHECKING:
    from csv2kafka.reading import Encoded

DEFAULT_ROWS = 10


@configured("preview", ReadConfig)
@click.option(
    "-n", "--rows", type=click.IntRange(min=1), default=DEFAULT_ROWS, metavar="ROWS", help="How many rows. [10]"
)
def command(rows: int, **flags: Any) -> int:
    """Show what the first rows of SOURCE become: keys and values on standard output, as their own bytes.

    Columns and bad rows, with place and reason, go to standard error. Exits 65 if one of the rows is bad.
    """
    config = loaded(ReadConfig, flags)
    return run_until_signalled(lambda: preview(config, rows))


async def preview(config: ReadConfig, rows: int) -> int:
    """Print up to ``rows`` rows, refused ones among them; gives the exit code. Reads only what it needs."""
    from csv2kafka.reading import as_they_are, close_source, read_rows, reading_from

    reading = reading_from(config)
    shown = _Shown(limit=rows)
    try:
        objects = [obj async for obj in reading.source.objects()]
        if objects:
            start = Position(uri=objects[0].uri, version=objects[0].version)
            async with aclosing(read_rows(reading, objects, start, (), as_they_are)) as encoded:
                async for item in encoded:
                    with results():
                        shown.show(item)
                    if shown.full:
                        break
    finally:
        await close_source(reading.source)
    shown.ended()
    return DataError.exit_code if shown.bad else 0


@define(kw_only=True)
class _Shown:
    """What was printed so far."""

    limit: int
    rows: int = 0
    bad: int = 0
    header: tuple[str, ...] = ()

    @property
    def full(self) -> bool:
        return self.rows + self.bad >= self.limit

    def show(self, item: Encoded[None]) -> None:
        if item.chunk.header and not self.header:
            self.header = item.chunk.header
            _say(f"{item.obj.uri}: {counted(len(self.header), 'column')}: {', '.join(self.header)}")
            if (doubt := wrong_delimiter(self.header)) is not None:
                _say(f"warning: {doubt}")
        for line, refusal in _in_order(item.records):
            if self.full:
                return
            if refusal is None:
                self.rows += 1
                sys.stdout.buffer.write(f"{printable_value(line[:-1])}\n".encode() if sys.stdout.isatty() else line)
            else:
                self.bad += 1
                bad = item.records.bad[refusal]
                row = item.before.rows + bad.index + refusal + 1
                place = f"row {row} (line {item.before.line + bad.line}, byte {item.chunk.offset + bad.start})"
                sys.stdout.buffer.flush()
                _say(f"{item.obj.uri}: {place}: {bad.reason}")

    def ended(self) -> None:
        if not self.rows and not self.bad:
            _say("no data rows")


def _in_order(records: Records) -> Iterator[tuple[bytes, int | None]]:
    """Each row as a line, or the index of the refused row that stands there."""
    refused = list(range(len(records.bad)))
    for index, (key, value) in enumerate(records.rows()):
        while refused and records.bad[refused[0]].index <= index:
            yield b"", refused.pop(0)
        yield (value if records.keys is None else (key or b"") + b"\t" + value) + b"\n", None
    for rest in refused:
        yield b"", rest


def _say(line: str) -> None:
    echo(line, err=True)
