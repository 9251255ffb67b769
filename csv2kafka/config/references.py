"""Secrets by reference: ``secretsmanager://NAME#key`` or ``ssm://NAME`` stands for the whole value of any option.

They are looked up before values are converted, so that a number or a choice can come from there too. What looks
them up is given by the caller: this layer knows no services.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from csv2kafka.errors import ConfigError

if TYPE_CHECKING:
    from csv2kafka.config.option import Option

SCHEMES = ("secretsmanager://", "ssm://")

# References to what each gives, or to why it gives nothing. Unreachable where that could not be found out.
Resolve = Callable[[Collection[str]], Mapping[str, str | ConfigError]]


class Resolved(str):
    """What a reference gave. Shown (``repr``, and so in errors) as the reference."""

    reference: str

    def __new__(cls, value: str, reference: str) -> Resolved:
        made = super().__new__(cls, value)
        made.reference = reference
        return made

    def __repr__(self) -> str:
        return f"what {self.reference} gives"


def references(value: Any) -> Iterator[str]:
    """Those in a raw value: itself, or entries of a list or a mapping."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from references(entry)
    elif isinstance(value, str) and not isinstance(value, Resolved) and value.startswith(SCHEMES):
        yield value


def resolved(
    said: Mapping[str, Option], raw: Mapping[str, Any], origins: Mapping[str, str], resolve: Resolve
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """``raw`` with what its references give, without the options of which one gives nothing; and what is wrong
    with those. Every reference is looked up once."""
    wanted = {reference for value in raw.values() for reference in references(value)}
    given = resolve(sorted(wanted)) if wanted else {}
    refused: dict[str, list[str]] = {}
    for name, value in raw.items():
        for label, reference in _named(said[name], value, origins.get(name, "")):
            error = given[reference]
            if isinstance(error, ConfigError):
                hint = f"; {error.hint}" if error.hint else ""
                refused.setdefault(name, []).append(f"{label}: {error.message}{hint}")
    return {name: _replaced(value, given) for name, value in raw.items() if name not in refused}, refused


def _named(said: Option, value: Any, origin: str) -> Iterator[tuple[str, str]]:
    """Each reference of an option with how errors name its place; values by name come from several layers."""
    if said.kind.keyed:
        for name, entry in value.items():
            for reference in references(entry):
                yield said.label_of(name), reference
    else:
        for reference in references(value):
            yield f"{said.label}{origin and f' {origin}'}", reference


def _replaced(value: Any, given: Mapping[str, str | ConfigError]) -> Any:
    if isinstance(value, Mapping):
        return {name: _replaced(entry, given) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_replaced(entry, given) for entry in value)
    if isinstance(value, str) and value in given:
        return Resolved(str(given[value]), value)
    return value
