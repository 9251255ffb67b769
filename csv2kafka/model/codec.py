"""Checkpoints and manifests to JSON and back (cattrs). An unknown format version is refused, never guessed at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import asdict

from csv2kafka.errors import StateContradiction
from csv2kafka.model.state import FORMAT_VERSION, Checkpoint, ContentHash, Manifest

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


def to_json(value: Checkpoint | Manifest) -> bytes:
    """One line of UTF-8 JSON, the same for the same value."""
    text = json.dumps(value, default=_plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def checkpoint_from_json(data: bytes | str, *, where: str) -> Checkpoint:
    """The checkpoint that ``to_json`` wrote. ``where`` names its place for the error.

    Raises StateContradiction if it is not one, or of a format this version does not know.
    """
    raw = _parsed(data, "checkpoint", where)
    if raw.get("format") != FORMAT_VERSION:
        raise StateContradiction(
            f"{where}: checkpoint format {raw.get('format')!r}, this csv2kafka knows {FORMAT_VERSION}",
            hint="use the csv2kafka that wrote it; another --job name begins at row 0, behind what stands there",
        )
    try:
        return _structured(raw, Checkpoint)
    except (ValueError, TypeError) as error:
        raise _unreadable("checkpoint", where) from error


def manifest_from_json(data: bytes | str, *, where: str) -> Manifest:
    """The manifest that ``to_json`` wrote; StateContradiction if it is not one."""
    try:
        return _structured(_parsed(data, "manifest", where), Manifest)
    except (ValueError, TypeError) as error:
        raise _unreadable("manifest", where) from error


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
    except ValueError as error:
        raise _unreadable(what, where) from error
    if not isinstance(raw, dict):
        raise _unreadable(what, where)
    return raw


def _unreadable(what: str, where: str) -> StateContradiction:
    return StateContradiction(
        f"{where}: not a {what} of csv2kafka",
        hint="see what wrote it; another --job name begins at row 0, behind what stands there",
    )
