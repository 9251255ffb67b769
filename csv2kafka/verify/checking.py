"""Is everything still as a receipt says? The source by its objects' versions, in seconds; the destination by reading it
once: without the CSV, by the hash of its rows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Literal

from attrs import define, field, frozen

from csv2kafka import registry
from csv2kafka.config import RunConfig
from csv2kafka.errors import ConfigError, NotAuthorized, SourceChanged
from csv2kafka.kafka.port import Broker, LogEnds, TopicFacts, TopicPartition
from csv2kafka.kernel import digest
from csv2kafka.model import ContentHash, Event, Manifest, Progressed, SourceObject, Started
from csv2kafka.proof import Checked, FileSide, Proof, TopicSide, object_differences
from csv2kafka.protocols import Source
from csv2kafka.reading import close_source
from csv2kafka.verify.contradictions import refuse_contradictions
from csv2kafka.verify.files import hash_file
from csv2kafka.verify.partition import ReadBack, connected, read_back

Only = Literal["source", "destination"]


async def check_proof(
    config: RunConfig, proof: Proof, *, only: Only | None = None, on_event: Callable[[Event], None] | None = None
) -> Checked:
    """Hold source and destination against a receipt; ``only`` one of them. ``config`` says how they are reached.

    Raises ConfigError where the configuration contradicts the receipt, and the errors of asking and reading; what is
    no longer as it was is in the result.
    """
    refuse_contradictions(config, proof)
    from_stdin = proof.source.asked == (registry.STDIN,)
    if only == "source" and from_stdin:
        raise ConfigError("the receipt is of standard input: what was read from there cannot be looked at again")
    emit = on_event or (lambda _: None)
    objects = proof.source.objects.objects
    sizes = [size for _, size, _ in objects]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    emit(Started(job=proof.job, run_id="", objects=len(objects), total_bytes=total))
    started = asyncio.get_running_loop().time()
    wanted = only != "destination" and not from_stdin
    source = await _source_differences(config, proof) if wanted else None
    found = _Destination(proof=proof, emit=emit, total=total or 0)
    if only != "source":
        await found.check(config)
    return Checked(
        source="not checked" if source is None else "differs" if source else "holds",
        destination="not checked" if only == "source" else "differs" if found.differences else "holds",
        differences=(*(source or ()), *found.differences),
        rows=found.rows,
        content_hash=found.content_hash,
        grown=found.grown,
        seconds=asyncio.get_running_loop().time() - started,
    )


async def _source_differences(config: RunConfig, proof: Proof) -> list[str]:
    """By a listing, as a run would make it: so what is new is seen too."""
    source = registry.build_source(config)
    try:
        try:
            objects = [obj async for obj in source.objects()]
        except NotAuthorized:
            raise
        except (ConfigError, SourceChanged) as error:
            return await _lost(source, proof.source.objects, error)
    finally:
        await close_source(source)
    found = Manifest(objects=tuple((obj.uri, obj.size, obj.version) for obj in objects))
    return object_differences(proof.source.objects, found)


async def _lost(source: Source, proved: Manifest, error: ConfigError | SourceChanged) -> list[str]:
    """What has become of each object where the listing failed: most likely because one is gone. The error itself where
    each is still to be had: a bucket keeps versions of objects that were deleted."""
    told = []
    for uri, size, version in proved.objects:
        try:
            await source.confirm(SourceObject(uri=uri, size=size, version=version))
        except SourceChanged as changed:
            told.append(changed.message)
    problems = error.problems if isinstance(error, ConfigError) else [error.message]
    return told or [f"the source cannot be found as it was: {problem}" for problem in problems]


@frozen
class _Stretch:
    """What a batch adds: its rows, and their hash. ``null``: the offset of a record with a null value, or a null key
    among others, which no row of a job has."""

    rows: int
    value: int
    last_offset: int
    null: int | None


def _stretch(back: ReadBack) -> _Stretch:
    batch, first, last = back.batch, back.first, back.last
    null = min((row for row in (*batch.null_values, *batch.null_keys) if first <= row < last), default=None)
    return _Stretch(
        rows=last - first,
        value=digest(batch.records, first, last),
        last_offset=back.offset(last - 1),
        null=None if null is None else back.offset(null),
    )


@define(kw_only=True)
class _Destination:
    """The destination, as far as it has been looked at."""

    proof: Proof
    emit: Callable[[Event], None]
    total: int
    differences: list[str] = field(factory=list)
    rows: int | None = None
    content_hash: str | None = None
    grown: int = 0

    async def check(self, config: RunConfig) -> None:
        side = self.proof.destination
        if isinstance(side, FileSide):
            await self._file(side)
            return
        async with connected(config) as broker:
            await self._topic(broker, side)

    async def _topic(self, broker: Broker, side: TopicSide) -> None:
        """What makes reading pointless is told alone."""
        target = TopicPartition(side.topic, side.partition)
        cluster, facts = await broker.cluster_id(), await broker.topic(side.topic)
        if side.cluster_id and cluster and cluster != side.cluster_id:
            self.differences.append(f"this is another cluster: the receipt's is {side.cluster_id}, this is {cluster}")
            return
        if facts is None or side.partition not in facts.partitions:
            self.differences.append(f"{side}: is not there any more")
            return
        if side.topic_id and facts.topic_id and facts.topic_id != side.topic_id:
            self.differences.append(
                f"topic {side.topic}: was deleted and made anew: its id was {side.topic_id}, now it is {facts.topic_id}"
            )
            return
        ends = await broker.log_ends(target)
        if ends.end < side.log_end:  # a leader that has just come up may not know better for a moment
            ends = await broker.log_ends(target, refresh=True)
        self.differences += _bounds(side, ends)
        if self.differences:
            return
        self.grown = ends.end - side.log_end
        await self._read(broker, target, side, facts)

    async def _read(self, broker: Broker, target: TopicPartition, side: TopicSide, facts: TopicFacts) -> None:
        rows, content, null = 0, ContentHash(), None
        if side.first_offset is not None and side.last_offset is not None:
            stretches = read_back(broker, target, side.first_offset, side.last_offset + 1, _stretch)
            async with aclosing(stretches):
                async for each in stretches:
                    rows, content = rows + each.rows, content.extend(each.value, each.rows)
                    null = each.null if null is None else null
                    self._tell(rows, str(side))
        self.rows, self.content_hash = rows, str(content)
        if rows != self.proof.rows:
            self.differences.append(
                f"{side}: {self.proof.rows:,} rows stood from offset {side.first_offset} to {side.last_offset}, now "
                f"there are {rows:,}{_compacted(facts)}"
            )
        elif null is not None:
            self.differences.append(f"{side}: the record at offset {null} has a null key or value, which no row has")
        elif self.content_hash != side.content_hash:
            self.differences.append(
                f"{side}: the rows are other ones: their content hash was {side.content_hash}, now it is {content}"
            )

    async def _file(self, side: FileSide) -> None:
        path, rows = Path(side.path), self.proof.rows
        try:
            with await asyncio.to_thread(path.open, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size == side.size:
                    size, self.content_hash = await hash_file(
                        file, lambda read: self._tell(rows * read // size, str(side))
                    )
        except FileNotFoundError:
            self.differences.append(f"{side}: is not there any more")
            return
        except OSError as error:
            raise ConfigError(f"{side}: {error.strerror}", hint="see whether it may be read") from error
        if size != side.size:
            self.differences.append(f"{side}: it had {side.size:,} bytes, now it has {size:,}")
        elif self.content_hash != side.sha256:
            self.differences.append(
                f"{side}: its lines are other ones: its sha256 was {side.sha256}, now it is {self.content_hash}"
            )
        else:
            self.rows = rows

    def _tell(self, rows: int, uri: str) -> None:
        """Of the source's bytes, the share that the rows are."""
        share = min(rows, self.proof.rows) * self.total // max(self.proof.rows, 1)
        self.emit(Progressed(rows=rows, bad_rows=0, source_bytes=share, uri=uri))


def _bounds(side: TopicSide, ends: LogEnds) -> list[str]:
    """What the partition's ends tell without reading."""
    if ends.end < side.log_end:
        return [
            f"{side}: it ended at offset {side.log_end}, now it ends at {ends.end}: records were lost (truncated, an "
            "unclean leader election)"
        ]
    if side.first_offset is None or side.last_offset is None or ends.start <= side.first_offset:
        return []
    if ends.start > side.last_offset:
        gone = "all rows"
    else:
        gone = f"the rows from offset {side.first_offset} to {ends.start - 1}"
    return [
        f"{side}: {gone} are gone: the first row was at offset {side.first_offset}, the topic now begins at "
        f"{ends.start}, as retention or somebody has deleted what stood before"
    ]


def _compacted(facts: TopicFacts) -> str:
    if "compact" not in facts.config.get("cleanup.policy", ""):
        return ""
    return " (the topic is compacted: of rows with the same key only the last one stays)"
