"""The source: what its objects are, whether each begins as it should, and what the first rows tell of all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from attrs import define, evolve

from csv2kafka.config import RunConfig
from csv2kafka.decoding import decode
from csv2kafka.errors import BadRow, Csv2KafkaError
from csv2kafka.model import DEFAULT_MAX_RECORD, Position, Records, ResumePoint, SourceObject
from csv2kafka.model.findings import Finding, Forecast
from csv2kafka.reading import Encoded, Reading, as_they_are, read_rows, total_bytes

SOURCE, HEADER, ROWS, ESTIMATE = "source", "header", "first rows", "estimate"
NAMED = 3  # objects, and columns, that are named
LOOKED_INTO = 20  # objects whose beginning is read
READ_SECONDS = 60.0  # for the beginnings of all of them
PIECE_BYTES = 64 << 10  # of an object, to see how much of it becomes how much text
MEASURED_BYTES = 4 << 20  # of text
ROWS_PER_SECOND = 1_000_000
SERVERLESS = "kafka-serverless."
SERVERLESS_BYTES_PER_SECOND = 5_000_000  # into one partition


def source_finding(objects: Sequence[SourceObject]) -> Finding:
    """How many objects, their first names, and their size."""
    size = total_bytes(objects)
    names = _named([obj.uri for obj in objects])
    told = f"{_count(len(objects), 'object')}, {'of unknown size' if size is None else _count(size, 'byte')}, pinned"
    message = f"{told}: {names}" if objects else told
    if not all(obj.replayable for obj in objects):
        return Finding.warned(SOURCE, message, "it can be read only once, so a run from it cannot be gone on with")
    return Finding.passed(SOURCE, message)


async def first_rows(
    reading: Reading, objects: Sequence[SourceObject], config: RunConfig
) -> tuple[Forecast, list[Finding]]:
    """What the beginnings of the objects tell: header, rows under the job's policy, an estimate of all."""
    given = config.max_record if config.max_record != DEFAULT_MAX_RECORD else None
    forecast = Forecast(max_record=given, stops_at_bad_row=config.on_bad_row == "fail")
    if not all(obj.replayable for obj in objects):
        return forecast, [Finding.not_checked(name, "to look at it would use it up") for name in (HEADER, ROWS)]
    seen = _Seen()
    failed: Csv2KafkaError | None = None
    scale: float | None = None
    try:
        async with asyncio.timeout(READ_SECONDS):
            for index in range(min(LOOKED_INTO, len(objects))):
                await seen.look_into(reading, objects, index)
            scale = await _text_for_each_byte(reading, objects[0], seen)
    except TimeoutError:
        if not seen.objects:
            return forecast, [Finding.not_checked(ROWS, f"nothing of {objects[0].uri} came in {READ_SECONDS:g} s")]
    except Csv2KafkaError as error:
        failed = error
    findings = [seen.header_finding(len(objects))] if seen.objects else []
    if failed is not None:
        findings.append(Finding.failed(ROWS if seen.objects else HEADER, failed))
    else:
        findings += seen.row_findings(config.on_bad_row)
    forecast = evolve(
        forecast, header=seen.header, sample=seen.sample, rows=seen.rows_in(total_bytes(objects), scale, len(objects))
    )
    seconds, by = _seconds(forecast.rows, total_bytes(objects), scale, str(config.bootstrap_servers))
    forecast = evolve(forecast, seconds=seconds)
    if failed is None:
        findings.append(_estimate(forecast, by))
    return forecast, findings


@define
class _Seen:
    """What was read. ``before``, ``text``, ``lines``: of the first object, bytes of text before its rows, bytes of the
    rows seen, and how many those are, refused ones included. ``whole``: so far each object was seen to its end.
    ``plain``: the first one's bytes are its text."""

    objects: int = 0
    header: tuple[str, ...] = ()
    rows: int = 0
    bad: int = 0
    first_bad: str = ""
    sample: Records | None = None
    text: int = 0
    lines: int = 0
    before: int = 0
    whole: bool = True
    plain: bool = True

    async def look_into(self, reading: Reading, objects: Sequence[SourceObject], index: int) -> None:
        """The object's first rows. DataError if its header is another than those before."""
        obj = objects[index]
        start = Position(object_index=index, uri=obj.uri, version=obj.version)
        ended = True
        async with aclosing(read_rows(reading, objects[: index + 1], start, self.header, as_they_are)) as encoded:
            async for item in encoded:
                self.header = self.header or item.chunk.header
                self._add(item, first=index == 0)
                ended = item.chunk.last and not item.records.unfinished
                if len(item.records) + len(item.records.bad) and item.chunk.broken is None:
                    break
        self.whole = self.whole and ended
        self.objects += 1

    def _add(self, item: Encoded[None], *, first: bool) -> None:
        records = item.records
        self.rows += len(records)
        self.bad += len(records.bad)
        if records.bad and not self.first_bad:
            bad = records.bad[0]
            place = f"line {item.before.line + bad.line}, byte {item.chunk.offset + bad.start}"
            self.first_bad = f"{item.obj.uri}: {place}: {bad.reason}"
        if first:
            self.sample = self.sample if self.sample is not None and len(self.sample) else records
            self.before = self.before if self.text else item.before.offset
            self.text += item.end().offset - item.before.offset
            self.lines += len(records) + len(records.bad)
            self.plain = self.plain and item.end().resume.state is None

    def header_finding(self, objects: int) -> Finding:
        """The columns, and in how many objects they were seen."""
        if not self.header:
            return Finding.warned(HEADER, "no columns and no rows", "see whether the source is what it should be")
        columns = f"{_count(len(self.header), 'column')}: {_named(self.header)}"
        if objects == 1 or self.objects == 1:
            return Finding.passed(HEADER, columns)
        which = "all" if self.objects == objects else "the first"
        rest = "" if self.objects == objects else f" of {objects:,}; the others are not looked into"
        return Finding.passed(HEADER, f"{columns}; the same in {which} {self.objects:,} objects{rest}")

    def row_findings(self, policy: str) -> list[Finding]:
        """Rows that a run would refuse, by its policy."""
        looked_at = _count(self.rows + self.bad, "row")
        if self.bad and policy == "fail":
            wrong = f"{self.bad:,} of {looked_at} looked at are bad; the first: {self.first_bad}"
            hint = "mend the file, see whether the dialect is right, or choose another --on-bad-row"
            return [Finding(name=ROWS, status="fail", message=wrong, hint=hint, exit_code=BadRow.exit_code)]
        if self.bad:
            wrong = f"{self.bad:,} of {looked_at} looked at are bad ({policy}); the first: {self.first_bad}"
            return [Finding.warned(ROWS, wrong, "see whether the dialect is right")]
        if not self.rows:
            return [Finding.warned(ROWS, "no data rows", "see whether the source is what it should be")]
        return [Finding.passed(ROWS, f"{looked_at} looked at: all are well formed")]

    def rows_in(self, size: int | None, scale: float | None, objects: int) -> int | None:
        """How many rows there are in all: by count, or by the length of those seen; None where that is not known."""
        if self.whole and self.objects == objects:
            return self.rows + self.bad
        if size is None or scale is None or not self.lines or not self.text:
            return None
        return round((size * scale - objects * self.before) * self.lines / self.text)


async def _text_for_each_byte(reading: Reading, obj: SourceObject, seen: _Seen) -> float | None:
    """Bytes of text that a byte of the object becomes: it may be compressed, or in another encoding."""
    if seen.plain:
        return 1.0
    taken, text = 0, 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        async for block in reading.source.read(obj, 0):
            for at in range(0, len(block), PIECE_BYTES):
                piece = block[at : at + PIECE_BYTES]
                taken += len(piece)
                yield piece

    blocks = decode(pieces(), encoding=reading.encoding, start=ResumePoint(), offset=0, uri=obj.uri)
    async with aclosing(blocks):
        async for block in blocks:
            text += len(block.data)
            if text >= MEASURED_BYTES:
                break
    return text / taken if taken else None


def _seconds(rows: int | None, size: int | None, scale: float | None, servers: str) -> tuple[float | None, str]:
    """How long the job may take, and by which speed that was said."""
    if SERVERLESS in servers:
        seconds = None if size is None or scale is None else size * scale / SERVERLESS_BYTES_PER_SECOND
        return seconds, "5 MB/s, which MSK Serverless lets into a partition (less time, as far as rows compress)"
    return None if rows is None else rows / ROWS_PER_SECOND, f"{ROWS_PER_SECOND:,} rows/s (a guess: not measured here)"


def _estimate(forecast: Forecast, by: str) -> Finding:
    if forecast.rows is None or forecast.seconds is None:
        return Finding.not_checked(ESTIMATE, "the source's size is not known, or nothing of it was seen in time")
    size = forecast.value_bytes
    values = "" if size is None else f", {size:,} bytes of values and keys"
    return Finding.passed(ESTIMATE, f"about {_count(forecast.rows, 'row')}{values}; {_time(forecast.seconds)} at {by}")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 1 else "less than a second"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
