"""What a partition must hold, told by Python's csv module, and how what it holds differs. Pure.

A row becomes a number: Python's own hash (64 bits) of its fields' texts, or of its bytes. It is the same only within
one process, and so are these comparisons.
"""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from attrs import frozen

Hashes = Sequence[int]
Hash = Callable[[bytes], int]
MOST_FIELD_BYTES = 1 << 24


class Sends(Enum):
    """What a peer makes of the file, so what it is compared with."""

    JSON = "every row as a JSON object of texts"
    JSON_WITH_NULLS = "every row as a JSON object of texts; empty fields are null"
    ROWS = "every row's own bytes"
    LINES = "every line, the header's too: a quoted newline cuts a row in two"
    SAMPLE = "as many lines as the file has, drawn at random"


@frozen(kw_only=True)
class Difference:
    """After a kill and another run. ``lost``, ``doubled``: records. ``in_order``: each once, and in order."""

    lost: int
    doubled: int
    in_order: bool


def expected(path: Path, sends: Sends) -> Hashes:
    """One number for each record that the file is to become, in order."""
    if sends in (Sends.LINES, Sends.SAMPLE):
        with path.open("rb") as file:
            return array("q", (hash(line.removesuffix(b"\n")) for line in file))
    csv.field_size_limit(MOST_FIELD_BYTES)
    with path.open(encoding="utf-8", newline="") as file:
        if sends is Sends.ROWS:
            return array("q", (hash(text.encode()) for text in _own_text(file)))
        rows = csv.reader(file)
        next(rows)
        return array("q", (hash(tuple(row)) for row in rows))


def hash_of(sends: Sends, header: Sequence[str], parse: Callable[[bytes], Any]) -> Hash:
    """A record's value to its number. ``parse``: of JSON. A value that is no such row at all is a number too."""
    if sends not in (Sends.JSON, Sends.JSON_WITH_NULLS):
        return hash
    names, nulls = tuple(header), sends is Sends.JSON_WITH_NULLS

    def of_json(value: bytes) -> int:
        row = parse(value)
        if not isinstance(row, dict) or tuple(row) != names:
            return hash(value)
        if nulls:
            return hash(tuple(["" if field is None else field for field in row.values()]))
        return hash(tuple(row.values()))

    return of_json


def problem(wanted: Hashes, found: Hashes, sends: Sends) -> str | None:
    """The first thing that is wrong, None if nothing is."""
    if len(wanted) != len(found):
        return f"{len(found):,} records instead of {len(wanted):,}"
    if sends is Sends.SAMPLE:
        foreign = len(set(found) - set(wanted))
        return f"{foreign:,} records that are no line of the file" if foreign else None
    if wanted == found:
        return None
    first = next(at for at, (one, other) in enumerate(zip(wanted, found, strict=True)) if one != other)
    kind = "not in order" if Counter(wanted) == Counter(found) else "not what the file has"
    return f"{kind}: the first at record {first + 1:,}"


def difference(wanted: Hashes, found: Hashes) -> Difference:
    """What is missing, and what is there too often."""
    if wanted == found:
        return Difference(lost=0, doubled=0, in_order=True)
    should, does = Counter(wanted), Counter(found)
    return Difference(lost=(should - does).total(), doubled=(does - should).total(), in_order=False)


def _own_text(lines: Iterable[str]) -> Iterator[str]:
    """Each row's text without its line end, the header's left out; where a row ends, csv.reader says."""
    taken: list[str] = []

    def passing() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    rows = csv.reader(passing())
    next(rows)
    taken.clear()
    for _ in rows:
        yield "".join(taken).rstrip("\r\n")
        taken.clear()
