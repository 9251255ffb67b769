"""Checkpoints and manifests to JSON and back (cattrs). An unknown format version is refused, never guessed at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

import cattrs
from cattrs.preconf.json import make_converter

from csv2kafka.errors import StateContradiction
from csv2kafka.model.state import FORMAT_VERSION, Checkpoint, ContentHash, Manifest

_converter = make_converter()
_converter.register_unstructure_hook(ContentHash, str)
_converter.register_structure_hook(ContentHash, lambda text, _: ContentHash(value=int(text, 16)))
_converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
_converter.register_structure_hook_func(
    lambda cl: cl == Mapping[str, str], lambda value, _: {str(k): str(v) for k, v in value.items()}
)
_converter.register_structure_hook_func(
    lambda cl: cl == Mapping[str, int], lambda value, _: {str(k): int(v) for k, v in value.items()}
)


def to_json(value: Checkpoint | Manifest) -> bytes:
    """One line of UTF-8 JSON, the same for the same value."""
    return json.dumps(_converter.unstructure(value), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def checkpoint_from_json(data: bytes | str, *, where: str) -> Checkpoint:
    """The checkpoint that ``to_json`` wrote. ``where`` names its place for the error.

    Raises StateContradiction if it is not one, or of a format this version does not know.
    """
    raw = _parsed(data, "checkpoint", where)
    if raw.get("format") != FORMAT_VERSION:
        raise StateContradiction(
            f"{where}: checkpoint format {raw.get('format')!r}, this csv2kafka knows {FORMAT_VERSION}",
            hint="use the csv2kafka that wrote it, or --restart to begin at row 0",
        )
    try:
        return _converter.structure(raw, Checkpoint)
    except (cattrs.BaseValidationError, ValueError, TypeError) as error:
        raise _unreadable("checkpoint", where) from error


def manifest_from_json(data: bytes | str, *, where: str) -> Manifest:
    """The manifest that ``to_json`` wrote; StateContradiction if it is not one."""
    try:
        return _converter.structure(_parsed(data, "manifest", where), Manifest)
    except (cattrs.BaseValidationError, ValueError, TypeError) as error:
        raise _unreadable("manifest", where) from error


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
        f"{where}: not a {what} of csv2kafka", hint="see what wrote it; --restart begins at row 0"
    )
