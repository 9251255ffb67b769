"""The receipt of a verification: what was compared and what was found, so that it can be looked at again later.

One JSON object, whose fields docs/report.md names. ``sha256`` is the hash of all its other fields in canonical form
(``canonical``), so that an accidental or careless change is seen. It is no signature: no key is in it, and who
changes a receipt on purpose can make its hash anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, field, frozen

from csv2kafka.errors import ConfigError, Difference
from csv2kafka.model import Manifest

if TYPE_CHECKING:
    from cattrs import Converter

PROOF_VERSION = 1
BEGINS = "proof_version"  # a receipt is known by its first field
HASH = "sha256"

Side = Literal["holds", "differs", "not checked"]


@frozen(kw_only=True)
class TopicSide:
    """Where the rows are. ``first_offset``/``last_offset``: of the first and last row, None if there are none; no
    committed record of others stands between. ``log_end``: where the partition ended. ``behind``: records of others
    behind the rows. ``content_hash``: of the rows as they were read back. Ids are empty where brokers have none."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    first_offset: int | None
    last_offset: int | None
    log_end: int
    besides: int
    behind: int
    content_hash: str

    def __str__(self) -> str:
        return f"topic {self.topic} partition {self.partition}"


@frozen(kw_only=True)
class FileSide:
    """Where the lines are. ``sha256``: of the whole file, as ``sha256sum`` gives it."""

    path: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"file {self.path}"


@frozen(kw_only=True)
class SourceSide:
    """Where the rows come from. ``asked``: SOURCE, absolute and without secrets. ``content_hash``: of its rows."""

    asked: tuple[str, ...]
    objects: Manifest
    content_hash: str


@frozen(kw_only=True)
class JobState:
    """The job's checkpoint, as far as it says how the rows came there."""

    run_id: str
    complete: bool
    at: str
    rows: int
    content_hash: str
    transactions: int
    generation: int


@frozen(kw_only=True)
class Proof:
    """What a receipt says. ``settings``: the options that shape the output, by name. ``bad_rows``: left out."""

    tool: str
    at: str
    job: str
    rows: int
    bad_rows: int
    source: SourceSide
    settings: Mapping[str, Any]
    destination: TopicSide | FileSide
    checkpoint: JobState | None = None

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON object, but for its hash."""
        kind = "topic" if isinstance(self.destination, TopicSide) else "file"
        return {
            BEGINS: PROOF_VERSION,
            "tool": self.tool,
            "at": self.at,
            "job": self.job,
            "rows": self.rows,
            "bad_rows": self.bad_rows,
            "source": {
                "asked": list(self.source.asked),
                "objects": [{"uri": u, "size": s, "version": v} for u, s, v in self.source.objects.objects],
                "manifest_digest": self.source.objects.digest,
                "content_hash": self.source.content_hash,
            },
            "settings": dict(self.settings),
            "settings_digest": digest(self.settings),
            "destination": {"kind": kind, **asdict(self.destination)},
            "checkpoint": None if self.checkpoint is None else asdict(self.checkpoint),
        }


@frozen(kw_only=True)
class Checked:
    """What became of a receipt. ``differences``: a sentence for each. ``rows``: read back from the destination, None
    if they were not; ``content_hash``: theirs (of a file its ``sha256``). ``grown``: offsets that have come behind."""

    source: Side
    destination: Side
    differences: tuple[str, ...] = field(default=())
    rows: int | None = None
    content_hash: str | None = None
    grown: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return not self.differences

    def to_json(self) -> str:
        """All fields as indented JSON, ``holds`` among them."""
        return json.dumps({"holds": self.holds, **asdict(self)}, indent=2, ensure_ascii=False)


def canonical(facts: Any) -> bytes:
    """JSON in one form only: keys sorted, no spaces, UTF-8, nothing escaped that need not be. Whole numbers only."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="backslashreplace")  # half a surrogate becomes the escape that JSON has for it


def digest(facts: Any) -> str:
    """SHA-256 of the canonical form, hex."""
    return hashlib.sha256(canonical(facts)).hexdigest()


def receipt(facts: Mapping[str, Any]) -> bytes:
    """The file's content: ``Proof.as_dict()`` and its hash, indented."""
    text = json.dumps({**facts, HASH: digest(facts)}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace")


def proof_from_json(data: bytes, *, where: str) -> Proof:
    """What ``receipt`` wrote. ``where`` names the file for errors.

    Raises ConfigError if it is not one, or of a version this csv2kafka does not know; Difference if it was changed.
    """
    try:
        raw = json.loads(data.decode(), object_pairs_hook=_once)
    except _Twice as error:
        raise Difference(f"{where}: was changed after it was written: {error} stands in it twice") from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(where) from error
    if not isinstance(raw, dict) or BEGINS not in raw:
        raise _unreadable(where)
    version = raw[BEGINS]
    if type(version) is not int or version != PROOF_VERSION:
        raise ConfigError(
            f"{where}: a receipt of {BEGINS} {version!r}, this csv2kafka knows {PROOF_VERSION}",
            hint="check it with the csv2kafka that wrote it",
        )
    said = raw.pop(HASH, None)
    try:
        found = digest(raw)
    except ValueError as error:  # a number that JSON does not have
        raise _unreadable(where) from error
    if said != found:
        raise Difference(
            f"{where}: was changed after it was written: its {HASH} is {said!r}, that of what stands in it {found!r}",
            hint="take the receipt as it was written, or make a new one with --proof",
        )
    try:
        return _structured(raw)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(where) from error


def object_differences(proved: Manifest, found: Manifest) -> list[str]:
    """What has become of the source's objects, a sentence for each that is not as it was."""
    before = {uri: (size, version) for uri, size, version in proved.objects}
    now = {uri: (size, version) for uri, size, version in found.objects}
    told = [f"{uri}: is gone; it was {before[uri][1]}" for uri in before if uri not in now]
    told += [f"{uri}: was not there; now it is, with {now[uri][1]}" for uri in now if uri not in before]
    for uri in before:
        if uri in now and before[uri] != now[uri]:
            told.append(
                f"{uri}: was changed: it was {before[uri][1]}, now it is {now[uri][1]}{_only_touched(uri, before, now)}"
            )
    if not told and proved.objects != found.objects:
        told.append("the objects of the source come in another order")
    return told


def _only_touched(uri: str, *versions: Mapping[str, tuple[int | None, str]]) -> str:
    """A word where a file differs by its modification time alone."""
    parts = [dict(part.partition("=")[::2] for part in each[uri][1].split(",")) for each in versions]
    if any(set(part) != {"size", "mtime", "fingerprint"} for part in parts):
        return ""
    differing = {name for name in parts[0] if parts[0][name] != parts[1][name]}
    return " (only its modification time differs)" if differing == {"mtime"} else ""


class _Twice(Exception):
    """A name that an object has twice: which of the two counts, readers disagree on."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(repr(next(name for name in names if names.count(name) > 1)))
    return made


def _structured(raw: dict[str, Any]) -> Proof:
    """Any error means that it is no receipt: the hash has told already that nothing was changed."""
    source, destination = raw["source"], raw["destination"]
    sides: dict[str, type[TopicSide] | type[FileSide]] = {"topic": TopicSide, "file": FileSide}
    make, checkpoint = _converter().structure, raw["checkpoint"]
    proof = Proof(
        tool=make(raw["tool"], str),
        at=make(raw["at"], str),
        job=make(raw["job"], str),
        rows=make(raw["rows"], int),
        bad_rows=make(raw["bad_rows"], int),
        source=SourceSide(
            asked=make(source["asked"], tuple[str, ...]),
            objects=Manifest(objects=tuple((o["uri"], o["size"], o["version"]) for o in source["objects"])),
            content_hash=source["content_hash"],
        ),
        settings=dict(raw["settings"]),
        destination=make(destination, sides[destination["kind"]]),
        checkpoint=None if checkpoint is None else make(checkpoint, JobState),
    )
    if not _can_be(proof):
        raise ValueError("offsets that no partition has")
    return proof


def _can_be(proof: Proof) -> bool:
    """Whether the numbers go together: a reader would wait for what is behind the log's end."""
    side = proof.destination
    if isinstance(side, FileSide):
        return min(proof.rows, side.size) >= 0
    first, last = side.first_offset, side.last_offset
    if first is None or last is None:
        return proof.rows == 0 and first is last
    return min(proof.rows, side.partition, first) >= 0 and first <= last < side.log_end


@cache
def _converter() -> Converter:
    from cattrs import Converter  # late, because only a receipt that is read needs it

    return Converter(detailed_validation=False)


def _unreadable(where: str) -> ConfigError:
    return ConfigError(
        f"{where}: is no receipt of csv2kafka, or no longer a whole one", hint="give a file that --proof wrote"
    )
