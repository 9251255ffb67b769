"""Checkpoints and manifests to JSON and back (cattrs). An unknown format version is refused, never guessed at.

A checkpoint carries a sum over itself, ``sum``: with one digit changed where it was kept, a run would begin amid a row.
Those of earlier versions have none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import asdict

from csv2kafka.errors import StateContradiction
from csv2kafka.model.state import FORMAT_VERSION, Checkpoint, ContentHash, Manifest

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")

SUM = "sum"
SUM_LETTERS = 16
_ABOVE = 1 << 63  # what no offset, length or count of rows can be


def to_json(value: Checkpoint | Manifest) -> bytes:
    """One line of UTF-8 JSON, the same for the same value."""
    text = _canonical(value)
    if isinstance(value, Checkpoint):
        text = b'%b,"%b":"%b"}' % (text[:-1], SUM.encode(), _sum(text).encode())
    return text


def checkpoint_from_json(data: bytes | str, *, job: str, where: str) -> Checkpoint:
    """The checkpoint of ``job`` that ``to_json`` wrote. ``where`` names its place for the error.

    Raises StateContradiction if it is not one, another job's, or of a format this version does not know.
    """
    raw = _parsed(data, "checkpoint", where)
    if raw.get("format") != FORMAT_VERSION:
        raise StateContradiction(
            f"{where}: checkpoint format {raw.get('format')!r}, this csv2kafka knows {FORMAT_VERSION}",
            hint="use the csv2kafka that wrote it; another --job name begins at row 0, behind what stands there",
        )
    said = raw.pop(SUM, None)
    try:
        found = _sum(_canonical(raw))
        checkpoint = _structured(raw, Checkpoint)
    except (ValueError, TypeError) as error:
        raise _unreadable("checkpoint", where) from error
    if said not in (None, found):
        raise StateContradiction(
            f"{where}: the checkpoint is damaged: expected the sum {said!r} over it, found {found!r}",
            hint="see to the store's disk, and restore it from a copy; another --job name begins at row 0, behind what "
            "stands there",
        )
    if checkpoint.job != job:
        raise StateContradiction(
            f"{where}: expected the checkpoint of job {job!r}, found that of job {checkpoint.job!r}",
            hint="see what has copied it there; another --job name begins at row 0, behind what stands there",
        )
    if wrong := list(_impossible(checkpoint)):
        raise StateContradiction(
            f"{where}: the checkpoint says what cannot be: {', '.join(wrong)}", hint="see what has changed it"
        )
    return checkpoint


def manifest_from_json(data: bytes | str, *, where: str) -> Manifest:
    """The manifest that ``to_json`` wrote; StateContradiction if it is not one."""
    try:
        return _structured(_parsed(data, "manifest", where), Manifest)
    except (ValueError, TypeError) as error:
        raise _unreadable("manifest", where) from error


def _canonical(value: Any) -> bytes:
    """The same bytes for the same content. ValueError for text that is none (lone surrogates)."""
    return json.dumps(value, default=_plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _sum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:SUM_LETTERS]


def _impossible(point: Checkpoint) -> Iterator[str]:
    """Numbers that no run has written."""
    position, counts, sink = point.position, point.counts, point.sink
    numbers = {
        "object_index": position.object_index,
        "offset": position.offset,
        "resume offset": position.resume.offset,
        "skip": position.resume.skip,
        "position's rows": position.rows,
        "line": position.line or -1,
        "rows": counts.rows,
        "bad_rows": counts.bad_rows,
        "bytes": counts.bytes,
        "generation": point.generation,
        "transactions": point.transactions,
        "first_offset": sink.first_offset or 0,
        **{f"offset of {target}": offset for target, offset in sink.offsets.items()},
    }
    yield from (f"{name} {number}" for name, number in numbers.items() if not 0 <= number < _ABOVE)


def _plain(value: Any) -> Any:
    """What JSON has no form for."""
    if isinstance(value, ContentHash):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else asdict(value, recurse=False)


def _structured(raw: dict[str, object], kind: type[T]) -> T:
    """ValueError or TypeError for what is not one."""
    # Late, because only a run that goes on where another stopped has something to read.
    from cattrs import BaseValidationError

    try:
        return _converter().structure(raw, kind)
    except BaseValidationError as error:
        raise ValueError(str(error)) from error


@cache
def _converter() -> Converter:
    from cattrs import Converter

    made = Converter()
    made.register_structure_hook(ContentHash, lambda text, _: ContentHash(value=int(text, 16)))
    made.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    made.register_structure_hook_func(
        lambda cl: cl == Mapping[str, str], lambda value, _: {str(k): str(v) for k, v in value.items()}
    )
    made.register_structure_hook_func(
        lambda cl: cl == Mapping[str, int], lambda value, _: {str(k): int(v) for k, v in value.items()}
    )
    return made


def _parsed(data: bytes | str, what: str, where: str) -> dict[str, object]:
    try:
        raw = json.loads(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise _unreadable(what, where) from error
    if not isinstance(raw, dict):
        raise _unreadable(what, where)
    return raw


def _unreadable(what: str, where: str) -> StateContradiction:
    return StateContradiction(
        f"{where}: not a {what} of csv2kafka",
        hint="see what wrote it; another --job name begins at row 0, behind what stands there",
    )
