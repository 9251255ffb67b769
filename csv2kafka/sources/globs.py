"""Globs as Python's ``glob`` takes them, held against names alone: what has the name may be elsewhere, or gone."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(pattern: str, name: str) -> bool:
    """``*`` does not match a slash, ``**`` between slashes does, and neither matches a name that begins with a dot."""
    return _match(pattern.split("/"), name.split("/"))


def _match(pattern: Sequence[str], names: Sequence[str]) -> bool:
    if not pattern:
        return not names
    first, *rest = pattern
    if first != "**":
        return bool(names) and _fits(first, names[0]) and _match(rest, names[1:])
    if not rest:
        return bool(names) and all(_is_shown(name) for name in names)
    return _match(rest, names) or (bool(names) and _is_shown(names[0]) and _match(pattern, names[1:]))


def _fits(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def _is_shown(name: str) -> bool:
    return name != "" and not name.startswith(".")
