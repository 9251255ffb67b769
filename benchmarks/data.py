"""The tables that are measured: the same each time, made in memory or written as a stream.

The usual one has 10 columns and about 103 bytes a row, with quoted commas, doubled quotes, quoted newlines and UTF-8.
Others for the scaling runs have a given width of row, or number of columns.
"""

from __future__ import annotations

import csv
import io
import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen

HEADER = ("id", "name", "note", "amount", "city", "when", "flag", "text", "code", "last")
NOTES = ("plain", "a, comma", 'a "quote"', "two\nlines", "naïve café ☕", "", "tab\there", "nothing to see here")
BLOCK_ROWS = 100_000
POOL_BYTES = 1 << 22
ID_BYTES = 8
LETTERS = "abcdefghijklmnopqrstuvwxyz      0123456789"


@frozen(kw_only=True)
class Table:
    """A CSV file with a header: where it is, and how much it holds."""

    path: Path
    header: tuple[str, ...]
    rows: int
    bytes: int


def table(rows: int, line_end: str = "\r\n") -> bytes:
    """The usual table without its header."""
    draw = random.Random(1)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end)
    for row in range(rows):
        note, other = draw.choice(NOTES), draw.choice(NOTES)
        code = f"{draw.getrandbits(112):028x}"  # so that rows, as JSON, compress to about a seventh
        name, amount = f"name {row % 977}", row * 7 % 1000
        writer.writerow([row, name, note, amount, "Köln", "2024-01-01T12:00:00Z", "Y", other, code, "z"])
    return text.getvalue().encode()


MIXED_HEADER = ("id", "uuid", "first_name", "last_name", "email", "amount", "created_at", "city", "state", "comment")


def mixed_table(rows: int) -> bytes:
    """A table of which less repeats, without its header, the same each time."""
    draw = random.Random(5)
    first, last = (
        ("Anna", "Ben", "Elif", "Hana", "Kenji", "Omar", "Rosa", "Sven"),
        ("Schmidt", "Nakamura", "Öztürk", "Rossi"),
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for row in range(rows):
        given, family = draw.choice(first), draw.choice(last)
        when = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=draw.randrange(31_536_000))
        writer.writerow(
            [
                row,
                uuid.UUID(int=draw.getrandbits(128)),
                given,
                family,
                f"{given}.{family}{draw.randrange(1000)}@example.com".lower(),
                f"{draw.random() * 1000:.2f}",
                f"{when:%Y-%m-%dT%H:%M:%SZ}",
                draw.choice(("Köln", "Paris", "Osaka", "Lima", "Cairo")),
                draw.choice(("open", "paid", "refunded")),
                draw.choice(("as agreed, by phone", "call back", "", 'says "later"', "two\nlines")),
            ]
        )
    return text.getvalue().encode()


def write_usual(path: Path, rows: int) -> Table:
    """The usual table as a file with lines ending in LF, as most files do.

    From the second block on the rows are those of the first with other ids: compression does not look back that far.
    """
    if rows <= BLOCK_ROWS:
        return _write(path, HEADER, rows, [table(rows, "\n")])
    made = _rows_of(table(BLOCK_ROWS, "\n"))
    tails = [row[row.index(b",") :] for row in made]

    def blocks() -> Iterator[bytes]:
        for first in range(0, rows, BLOCK_ROWS):
            yield b"".join(b"%d%s" % (first + at, tail) for at, tail in enumerate(tails[: rows - first]))

    return _write(path, HEADER, rows, blocks())


def write_wide(path: Path, rows: int, columns: int, row_bytes: int) -> Table:
    """Rows of ``columns`` columns and about ``row_bytes`` bytes of letters: an id, then text of equal length."""
    draw = random.Random(2)
    header = tuple(f"c{column}" for column in range(columns))
    cell = max(1, (row_bytes - ID_BYTES) // max(1, columns - 1) - 1)
    cells = (POOL_BYTES + 2 * row_bytes) // (cell + 1)
    letters = "".join(draw.choices(LETTERS, k=cells * cell))
    # Cells with their commas, so that a row is one piece of this.
    pool = "".join(f",{letters[at : at + cell]}" for at in range(0, len(letters), cell))
    length = (columns - 1) * (cell + 1)
    places = range(0, len(pool) - length, cell + 1)

    def row(number: int) -> bytes:
        start = draw.choice(places)
        return f"{number}{pool[start : start + length]}\n".encode()

    def blocks() -> Iterator[bytes]:
        step = max(1, min(BLOCK_ROWS, (8 << 20) // row_bytes))
        for first in range(0, rows, step):
            yield b"".join(row(number) for number in range(first, min(first + step, rows)))

    return _write(path, header, rows, blocks())


def _write(path: Path, header: Sequence[str], rows: int, blocks: Iterator[bytes] | list[bytes]) -> Table:
    with path.open("wb") as file:
        file.write((",".join(header) + "\n").encode())
        for block in blocks:
            file.write(block)
    return Table(path=path, header=tuple(header), rows=rows, bytes=path.stat().st_size)


def _rows_of(text: bytes) -> list[bytes]:
    """Rows with their line ends; a quoted newline is data."""
    rows: list[bytes] = []
    pending = b""
    for line in text.splitlines(keepends=True):
        pending += line
        if pending.count(b'"') % 2 == 0:
            rows.append(pending)
            pending = b""
    return rows
