"""The default command over one thing that varies: rows, their width, columns, codecs, commit intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from attrs import evolve, frozen

from benchmarks import data, race
from benchmarks.data import Table
from benchmarks.figures import Run, summary
from benchmarks.peers.peer import Peer, Place
from benchmarks.peers.table import csv2kafka
from benchmarks.race import Check, Field
from benchmarks.results import Section
from benchmarks.startup import verified

CODECS = ("none", "lz4", "snappy", "zstd", "gzip")
INTERVALS = (0.2, 0.5, 1.0, 5.0, 10.0)
INTERVAL_FILES = 5  # usual files in one, so that there are some commits at 1 s
ROWS = (0.5, 2.5, 10.0, 25.0)  # times the usual number: 1, 5, 20 and 50 million
WIDTHS = (20, 100, 1_000, 10_000, 100_000)
COLUMNS = (1, 2, 5, 10, 50, 100, 500)
CELL_BYTES = 9
MOST_CHECKED_ROWS = 3_000_000  # what is more is checked by verify

Make = Callable[[Path], Table]


@frozen(kw_only=True)
class Point:
    """One value of what varies, with the options it needs and the file. Points of one ``file`` share it."""

    value: float
    label: str
    file: str
    make: Make
    options: Sequence[str] = ()


def rows(usual: int) -> Iterator[Point]:
    for times in ROWS:
        count = int(usual * times)
        yield Point(
            value=count, label=(label := f"{count / 1e6:g} M"), file=label, make=partial(data.write_usual, rows=count)
        )


def width(usual: int) -> Iterator[Point]:
    volume = usual * 100
    for size in WIDTHS:
        columns = 2 if size < 100 else 10
        make = partial(data.write_wide, rows=min(usual * 2, volume // size), columns=columns, row_bytes=size)
        yield Point(value=size, label=f"{size:,}", file=str(size), make=make)


def columns(usual: int) -> Iterator[Point]:
    volume = usual * 100
    for count in COLUMNS:
        size = count * (CELL_BYTES + 1)
        make = partial(data.write_wide, rows=min(usual * 2, volume // size), columns=count, row_bytes=size)
        yield Point(value=count, label=str(count), file=str(count), make=make)


def codecs(usual: int) -> Iterator[Point]:
    for at, codec in enumerate(CODECS):
        make = partial(data.write_usual, rows=usual)
        yield Point(value=at, label=codec, file="usual", make=make, options=("--compression", codec))


def intervals(usual: int) -> Iterator[Point]:
    for seconds in INTERVALS:
        make = partial(data.write_usual, rows=usual * INTERVAL_FILES)
        options = ("--checkpoint-interval", f"{seconds:g}s")
        yield Point(value=seconds, label=f"{seconds:g}", file="long", make=make, options=options)


SECTIONS: dict[str, tuple[Callable[[int], Iterator[Point]], str, bool]] = {
    "rows": (rows, "rows", True),
    "width": (width, "bytes a row", True),
    "columns": (columns, "columns", True),
    "codecs": (codecs, "codec", False),
    "intervals": (intervals, "seconds between commits", True),
}


def measure(name: str, field: Field, peer: Peer, usual: int, rounds: int, say: Callable[[str], None]) -> Section:
    """All points of a section, in turns. ``peer``: the default command; ``usual``: rows of the usual file."""
    make_points, axis, logarithmic = SECTIONS[name]
    points = list(make_points(usual))
    tables: dict[str, Table] = {}
    for point in points:
        if point.file not in tables:
            tables[point.file] = point.make(field.directory / f"scaling-{name}-{len(tables)}.csv")
    runs: dict[str, list[Run]] = {point.label: [] for point in points}
    for number in range(rounds):
        for point in points:
            table = tables[point.file]
            check: Check = race.by_content if table.rows <= MOST_CHECKED_ROWS else verified
            made = race.run(field, _with_options(peer, point.options), table, number, check)
            runs[point.label].append(made)
            say(f"  {name} {point.label}, round {number + 1}: {race.told(made)}")
    for table in tables.values():
        field.forget(table)
        table.path.unlink()
    figures = [(point.label, point.value, summary(runs[point.label], len(field.cpus))) for point in points]
    return Section(name=name, axis=axis, logarithmic=logarithmic, points=figures)


def _with_options(peer: Peer, options: Sequence[str]) -> Peer:
    def argv(place: Place) -> Sequence[str]:
        return csv2kafka(place, *options)

    return evolve(peer, argv=argv)
