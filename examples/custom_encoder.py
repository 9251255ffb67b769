"""An encoder of one's own: some of the columns, numbers as numbers. A row whose number is none is refused.

    python examples/custom_encoder.py orders.csv -o orders.jsonl --columns id,amount --numbers amount

It builds on the JSON encoder, which reads the CSV, and changes only what becomes of each row. Refused rows go to
orders.jsonl.bad with their place and reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from array import array
from pathlib import Path

from attrs import evolve, field, frozen

from csv2kafka import FileSink, JsonEncoder, LocalSource, Pipeline
from csv2kafka.errors import ConfigError
from csv2kafka.model import Chunk, Records, RefusedRow

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


@frozen(kw_only=True)
class SelectedColumns:
    """JSON objects of ``columns`` in that order; the values of ``numbers`` as JSON numbers, null where empty."""

    columns: tuple[str, ...]
    numbers: frozenset[str] = frozenset()
    _whole_rows: JsonEncoder = field(factory=JsonEncoder, init=False)

    @property
    def settings(self) -> dict[str, str]:
        """All that shapes the output: a job does not go on with others."""
        return {"format": "selected", "columns": ",".join(self.columns), "numbers": ",".join(sorted(self.numbers))}

    def encode(self, chunk: Chunk) -> Records:
        """Pure, and called in several threads at once. What a row says never raises; a wrong setting does."""
        if chunk.header and not set(self.columns) <= set(chunk.header):
            raise ConfigError(f"columns: expected some of {', '.join(chunk.header)}, found {', '.join(self.columns)}")
        whole = self._whole_rows.encode(chunk)
        values = bytearray()
        # Columns are native uint32. row_ends and row_lines say where each row ended: a resume depends on them.
        value_ends, row_ends, row_lines = array("I"), array("I"), array("I")
        refused = list(whole.bad)
        bad: list[RefusedRow] = []
        for row, (_, value) in enumerate(whole.rows()):
            while refused and refused[0].index <= row:
                bad.append(evolve(refused.pop(0), index=len(value_ends)))  # index: good rows before it
            try:
                values += self._selected(json.loads(value))
            except ValueError as error:
                bad.append(_refuse(chunk.data, whole, row, len(value_ends), str(error)))
                continue
            value_ends.append(len(values))
            row_ends.append(whole.row_ends[row])
            row_lines.append(whole.row_lines[row])
        bad += [evolve(rest, index=len(value_ends)) for rest in refused]
        # ``end``, ``lines`` and ``unfinished`` stay: they are about the chunk, not about what was made of it.
        return evolve(
            whole,
            values=bytes(values),
            value_ends=value_ends,
            row_ends=row_ends,
            row_lines=row_lines,
            bad=tuple(bad),
        )

    def _selected(self, row: dict[str, str]) -> bytes:
        chosen = {name: _number(name, row[name]) if name in self.numbers else row[name] for name in self.columns}
        return json.dumps(chosen, ensure_ascii=False, separators=(",", ":")).encode()


def _number(name: str, text: str) -> int | float | None:
    if not text:
        return None
    if not _NUMBER.fullmatch(text):  # Python's own float() takes "nan" and "1_0", which are no numbers in JSON
        raise ValueError(f"{name}: expected a number, found {text[:50]!r}")
    number: int | float = json.loads(text)
    return number


def _refuse(data: bytes, whole: Records, row: int, index: int, reason: str) -> RefusedRow:
    """The row by its place in the chunk: behind the row before it, good or bad, and behind blank lines."""
    ends = [whole.row_ends[row - 1] if row else 0, *(bad.end for bad in whole.bad if bad.index <= row)]
    start = max(ends)
    while data[start : start + 1] in (b"\r", b"\n"):
        start += 1
    before = data[:start]
    return RefusedRow(
        index=index,
        start=start,
        end=start + len(data[start : whole.row_ends[row]].rstrip(b"\r\n")),
        line=before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n"),
        reason=reason,
    )


async def load(source: Path, output: Path, encoder: SelectedColumns) -> None:
    report = await Pipeline(LocalSource(source), FileSink(output), encoder=encoder, on_bad_row="dead-letter").run()
    counts = report.checkpoint.counts
    print(f"{counts.rows} rows in {output}, {counts.bad_rows} refused")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--columns", required=True)
    parser.add_argument("--numbers", default="")
    arguments = parser.parse_args()
    selected = SelectedColumns(
        columns=tuple(arguments.columns.split(",")), numbers=frozenset(filter(None, arguments.numbers.split(",")))
    )
    asyncio.run(load(arguments.source, arguments.output, selected))
