"""The source's rows, as a run would write them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from attrs import define, field

from csv2kafka import registry
from csv2kafka.config import RunConfig
from csv2kafka.model import ContentHash, Event, Position, Progressed, SourceObject, Started
from csv2kafka.reading import Encoded, Reading, as_they_are, read_rows, total_bytes

SHOWN_BYTES = 200


@define(kw_only=True, eq=False)
class Expected:
    """``rows``: compared and equal so far; ``content``: their hash, where ``hashed`` asks for it."""

    job: str
    reading: Reading
    objects: Sequence[SourceObject]
    emit: Callable[[Event], None]
    hashed: bool
    rows: int = 0
    bad_rows: int = 0
    content: ContentHash = field(factory=ContentHash)

    async def chunks(self) -> AsyncGenerator[Encoded[None], None]:
        """Chunks with rows in them, in order."""
        if not self.objects:
            return
        start = Position(uri=self.objects[0].uri, version=self.objects[0].version)
        async with aclosing(read_rows(self.reading, self.objects, start, (), as_they_are)) as encoded:
            async for item in encoded:
                self.bad_rows += len(item.records.bad)
                if len(item.records):
                    yield item
                self._tell(item)

    def place(self, item: Encoded[None], row: int) -> str:
        """The row by its place in the source."""
        start, lines = item.place_of(row, self.reading.dialect.comment)
        number = item.after(row).rows + 1 + sum(1 for bad in item.records.bad if bad.index == row)
        return f"row {number:,} ({item.obj.uri}, line {item.before.line + lines}, byte {item.chunk.offset + start})"

    def _tell(self, item: Encoded[None]) -> None:
        self.emit(
            Progressed(rows=self.rows, bad_rows=self.bad_rows, source_bytes=item.source_bytes(), uri=item.obj.uri)
        )


async def expected_of(config: RunConfig, reading: Reading, emit: Callable[[Event], None], *, hashed: bool) -> Expected:
    """The rows of a configuration's source, pinned."""
    objects = tuple([obj async for obj in reading.source.objects()])
    job = config.job or registry.job_name(reading.source.uri, registry.build_sink(config).destination, run_id="")
    emit(Started(job=job, run_id="", objects=len(objects), total_bytes=total_bytes(objects)))
    return Expected(job=job, reading=reading, objects=objects, emit=emit, hashed=hashed)


def shown(value: bytes) -> str:
    """A value for people; of a long one the beginning."""
    text = value[:SHOWN_BYTES].decode(errors="backslashreplace")
    return text + (f"… ({len(value):,} bytes)" if len(value) > SHOWN_BYTES else "")
