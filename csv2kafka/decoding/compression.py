"""Which compression an object has, by its first bytes, and which form a resume point has in a compressed one.

A state is one line of JSON: ``codec``; ``at``, how many decompressed bytes stand before the point; what the codec
needs beside it. Where an encoding other than UTF-8 lies on top, ``text`` is its decoder's state, and ``drop`` the
decompressed bytes between the point and there. A state that is no JSON object is of an object without compression.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from attrs import evolve, frozen

from csv2kafka.errors import DataError, StateContradiction
from csv2kafka.model import ResumePoint

if TYPE_CHECKING:
    from csv2kafka.decoding.members import Expander


@frozen(kw_only=True)
class Codec:
    """``magic``: what each member begins with, whole. ``endings`` of names. ``unit``: what its members are called."""

    name: str
    magic: re.Pattern[bytes]
    magic_bytes: int
    endings: tuple[str, ...]
    unit: str
    made_by: str
    """Module and class of its Expander, imported when such an object is met."""
    padding: int = 1
    """Zero bytes between and behind members come in multiples of this."""

    def expander(self) -> type[Expander]:
        module, _, name = self.made_by.partition(":")
        return cast("type[Expander]", getattr(import_module(f"csv2kafka.decoding.{module}"), name))


CODECS = (
    Codec(
        name="gzip",
        magic=re.compile(rb"\x1f\x8b\x08"),
        magic_bytes=3,
        endings=(".gz", ".gzip"),
        unit="gzip member",
        made_by="gzip:Gzip",
    ),
    Codec(
        name="zstd",
        magic=re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),  # a frame, or one to be skipped
        magic_bytes=4,
        endings=(".zst", ".zstd"),
        unit="zstd frame",
        made_by="libraries:Zstd",
    ),
    Codec(
        name="bzip2",
        magic=re.compile(rb"BZh[1-9](?:\x31\x41\x59\x26\x53\x59|\x17\x72\x45\x38\x50\x90)"),  # a block, or the end
        magic_bytes=10,
        endings=(".bz2",),
        unit="bzip2 stream",
        made_by="libraries:Bzip2",
    ),
    Codec(
        name="xz",
        magic=re.compile(rb"\xfd7zXZ\x00"),
        magic_bytes=6,
        endings=(".xz",),
        unit="xz stream",
        made_by="libraries:Xz",
        padding=4,
    ),
)
MAGIC_BYTES = max(codec.magic_bytes for codec in CODECS)
_FIRST_BYTES = b"\x1f\x28BZ\xfd" + bytes(range(0x50, 0x60))


def undecided(head: bytes) -> bool:
    """Can it not be told yet from these first bytes of an object what it is?"""
    return len(head) < MAGIC_BYTES and (not head or head[0] in _FIRST_BYTES)


def codec_of(head: bytes, uri: str) -> Codec | None:
    """The compression of an object that begins with ``head``, MAGIC_BYTES of it or the whole; None if it has none.

    DataError where its name says another one than its bytes.
    """
    found = next((codec for codec in CODECS if codec.magic.match(head)), None)
    path = re.split("[?#]", uri)[0] if uri.startswith(("http://", "https://")) else uri
    named = next((codec for codec in CODECS if path.lower().endswith(codec.endings)), None)
    if named and head and found is not named:
        what = f"{found.name} data" if found else "bytes that are no compression known here"
        raise DataError(
            f"{uri}: expected {named.name} data, as its name says, found {what} ({head[:8].hex(' ')} …)",
            hint="something may have decompressed it on its way: give it a name that says what it is",
        )
    return found


@frozen(kw_only=True)
class Point:
    """Where decompression can begin: ``offset`` in the object's own bytes, with ``made`` decompressed ones before."""

    offset: int
    made: int
    state: str


def point_of(codec: str, *, offset: int, made: int, extra: Mapping[str, Any] | None = None) -> Point:
    state = json.dumps({"codec": codec, "at": made, **(extra or {})}, separators=(",", ":"))
    return Point(offset=offset, made=made, state=state)


@frozen(kw_only=True)
class Start:
    """A resume point taken apart. ``point``, and ``extra``: what its codec kept; ``drop`` decompressed bytes behind it
    are passed, and ``text`` is where the text's decoder begins, in decompressed bytes."""

    codec: Codec
    point: Point
    extra: Mapping[str, Any]
    text: ResumePoint

    @property
    def drop(self) -> int:
        return self.text.offset - self.point.made

    @property
    def passing(self) -> int:
        """Bytes that have to be decompressed to come to where the run stopped."""
        return self.drop + self.text.skip


def beginning(codec: Codec) -> Start:
    return Start(codec=codec, point=point_of(codec.name, offset=0, made=0), extra={}, text=ResumePoint())


def start_of(point: ResumePoint, uri: str) -> Start | None:
    """None where the point is not of a compressed object. StateContradiction if it is of no codec known here."""
    if point.state is None or not point.state.startswith("{"):
        return None
    try:
        state = json.loads(point.state)
        name = state.pop("codec")
        codec = next(codec for codec in CODECS if codec.name == name)
        at, drop, text = int(state.pop("at")), int(state.pop("drop", 0)), state.pop("text", None)
        if at < 0 or drop < 0 or not isinstance(text, (str, type(None))):
            raise ValueError("no place in an object")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, StopIteration) as error:
        raise StateContradiction(
            f"{uri}: the checkpoint's resume point is of no compression known here: {point.state[:80]}",
            hint="use the csv2kafka that wrote it, or --restart to begin at row 0",
        ) from error
    return Start(
        codec=codec,
        point=point_of(codec.name, offset=point.offset, made=at, extra=state),
        extra=state,
        text=ResumePoint(offset=at + drop, state=text, skip=point.skip),
    )


def resume_at(point: Point, text: ResumePoint) -> ResumePoint:
    """Where the text's decoder stands, in decompressed bytes, as a point in the object's own."""
    between = text.offset - point.made
    if text.state is None:  # UTF-8, of which nothing but the place has to be known: the state is shared by many blocks
        return ResumePoint(offset=point.offset, state=point.state, skip=between + text.skip)
    state = json.loads(point.state) | {"text": text.state, "drop": between}
    return evolve(text, offset=point.offset, state=json.dumps(state, separators=(",", ":")))
