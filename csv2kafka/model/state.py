"""Where a job stands: positions, checkpoints, manifests. Frozen, and to JSON and back through cattrs.

A checkpoint names only what is durable: it is made after the rows it covers were confirmed, or in one
transaction with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from attrs import evolve, field, frozen

FORMAT_VERSION = 1
DIGEST_MULTIPLIER = 0x2D358DCCAA6C78A5_8BB84B93962EACC9  # odd, so that multiplying loses nothing
DIGEST_MASK = (1 << 128) - 1


@frozen(kw_only=True)
class ResumePoint:
    """Where decoding of an object can be taken up again.

    ``offset``: in the object's own bytes. ``state``: the decoder's, opaque text; None where one byte of the
    object is one byte of decoded text. ``skip``: decoded bytes to drop from there.
    """

    offset: int = 0
    state: str | None = None
    skip: int = 0

    def forward(self, count: int) -> ResumePoint:
        """The point ``count`` decoded bytes further on."""
        if self.state is None:
            return evolve(self, offset=self.offset + count)
        return evolve(self, skip=self.skip + count)


@frozen(kw_only=True)
class Position:
    """Between two records of the source: everything before it is done, nothing behind it is.

    ``offset``: decoded offset in the object. ``rows``: data rows before it in the whole job, refused ones
    included. ``line``: the line (from 1) of the object at which the next record begins.
    """

    object_index: int = 0
    uri: str = ""
    version: str = ""
    offset: int = 0
    resume: ResumePoint = field(factory=ResumePoint)
    rows: int = 0
    line: int = 1


@frozen(kw_only=True)
class Counts:
    """``rows`` written, ``bad_rows`` refused, ``bytes``: decoded bytes of the source passed."""

    rows: int = 0
    bad_rows: int = 0
    bytes: int = 0


@frozen(kw_only=True)
class ContentHash:
    """A hash of all rows written, in order, that can go on from any row.

    Each row's XXH3-128 (seeded with its key's XXH3-64; seed 0 without a key) is folded in as
    ``value = value * M + row_hash  (mod 2^128)``; runs of rows combine, so it does not depend on where they
    were cut, nor on which of them were hashed first.
    """

    value: int = 0

    def extend(self, value: int, rows: int) -> ContentHash:
        """This hash followed by ``rows`` more rows, whose own hash is ``value``."""
        return ContentHash(value=(self.value * pow(DIGEST_MULTIPLIER, rows, DIGEST_MASK + 1) + value) & DIGEST_MASK)

    def __str__(self) -> str:
        return f"{self.value:032x}"


@frozen(kw_only=True)
class Manifest:
    """The objects of a job and their versions, fixed when it starts: ((uri, size, version), …)."""

    objects: tuple[tuple[str, int | None, str], ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the objects, hex: the same exactly when URIs, sizes and versions are."""
        entries = json.dumps([list(entry) for entry in self.objects], separators=(",", ":"))
        return hashlib.sha256(entries.encode()).hexdigest()


@frozen(kw_only=True)
class SinkState:
    """What a sink adds to a checkpoint, so that it finds its own place again.

    ``offsets``: by target (``data``, ``dead-letter``), the next free place: a Kafka offset, a file's length.
    ``first_offset``: where the job's first row stands (or will). ``destination_id``: which topic (its id) or
    file (device and inode) it was; ``fingerprint``: a hash of the last of what was written, where the sink can
    prove itself by it (a file's inode is soon given to another file). Producers are those whose batches are this
    job's.
    """

    offsets: Mapping[str, int] = field(factory=dict)
    first_offset: int | None = None
    destination_id: str = ""
    fingerprint: str = ""
    producer_ids: tuple[int, ...] = ()
    producer_epoch: int = -1


@frozen(kw_only=True)
class Checkpoint:
    """Everything needed to go on, and to see that going on is right.

    ``generation``: each ``--restart`` begins the next. ``settings``: all that shapes the output, by name (what
    differs is told by name). ``manifest_digest``: of the job's Manifest, which is kept as a record of its own.
    ``complete``: the whole source is done. ``at``: when it was made (UTC). ``transactions``: commits so far.
    """

    job: str
    run_id: str
    position: Position = field(factory=Position)
    header: tuple[str, ...] = ()
    counts: Counts = field(factory=Counts)
    content_hash: ContentHash = field(factory=ContentHash)
    sink: SinkState = field(factory=SinkState)
    generation: int = 0
    settings: Mapping[str, str] = field(factory=dict)
    manifest_digest: str = ""
    transactions: int = 0
    complete: bool = False
    at: datetime = field(factory=lambda: datetime.fromtimestamp(0).astimezone())
    format: int = FORMAT_VERSION


@frozen(kw_only=True)
class Completion:
    """The completion event: one record, visible only after every row is. ``value`` is JSON."""

    value: bytes


@frozen(kw_only=True)
class JobStatus:
    """A job of ``csv2kafka status``: the checkpoint in a store and who holds its lease (None: nobody). ``gone``: that
    process has certainly ended, so the lease is free; False where the store cannot know."""

    checkpoint: Checkpoint
    owner: str | None = None
    lease_epoch: int = 0
    heartbeat: datetime | None = None
    gone: bool = False
