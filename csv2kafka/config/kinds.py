"""The kinds of value an option can have: how text and TOML values become one, and how one is shown.

``Kind.parse`` takes what a flag, a variable, a TOML file or a library user gave, and is idempotent: a value it
made comes back as it is. It raises ValueError saying what was expected and found.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

KIB, MIB = 1 << 10, 1 << 20
_SIZES = {"": 1, "B": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "KI": KIB, "MI": MIB, "GI": 1 << 30}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BOOLEANS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)
NONE_WORDS = ("", "none")


@frozen(kw_only=True)
class Kind:
    """One kind of value. ``metavar`` stands for it in help, ``expected`` in errors and the reference. ``keyed``:
    several values by name, each of which may be secret."""

    metavar: str
    expected: str
    parse: Callable[[Any], Any]
    show: Callable[[Any], str] = str
    choices: tuple[str, ...] = ()
    keyed: bool = False


def text(metavar: str, expected: str, pattern: str) -> Kind:
    """Text that matches ``pattern`` whole."""

    def parse(raw: Any) -> str:
        if not isinstance(raw, str) or not re.fullmatch(pattern, raw, re.DOTALL):
            raise _unexpected(expected, raw)
        return raw

    return Kind(metavar=metavar, expected=expected, parse=parse)


def choice(*choices: str) -> Kind:
    """One of a few words."""
    expected = f"one of {', '.join(choices)}"

    def parse(raw: Any) -> str:
        if raw not in choices:
            raise _unexpected(expected, raw)
        return str(raw)

    return Kind(metavar="|".join(choices), expected=expected, parse=parse, choices=choices)


def count(metavar: str, low: int, high: int) -> Kind:
    """A whole number from ``low`` to ``high``."""
    expected = f"a whole number from {low:,} to {high:,}"

    def parse(raw: Any) -> int:
        number = _within(_number(raw, r"[+-]?\d+", expected), low, high, expected, raw)
        if number != int(number):
            raise _unexpected(expected, raw)
        return int(number)

    return Kind(metavar=metavar, expected=expected, parse=parse)


def size(low: int, high: int) -> Kind:
    """A number of bytes: ``500k`` is 500,000, ``16MiB`` is 16 × 1,048,576."""
    expected = f"a size such as 500k or 16MiB, from {show_size(low)} to {show_size(high)}"

    def parse(raw: Any) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?)b?", raw, re.IGNORECASE) if isinstance(raw, str) else None
        unit = _SIZES.get(match[2].upper()) if match else None
        if match and unit is None:
            raise _unexpected(expected, raw)
        number = float(match[1]) * unit if match and unit else _number(raw, r"\d+", expected)
        return int(_within(number, low, high, expected, raw))

    return Kind(metavar="BYTES", expected=expected, parse=parse, show=show_size)


def duration(low: float, high: float) -> Kind:
    """Seconds: ``0.2``, ``500ms``, ``2m``, ``1h``."""
    expected = f"a duration such as 0.2, 500ms or 2m, from {show_seconds(low)} to {show_seconds(high)}"

    def parse(raw: Any) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", raw.strip()) if isinstance(raw, str) else None
        number = float(match[1]) * _SECONDS[match[2]] if match else _number(raw, r"\d+(\.\d+)?", expected)
        return float(_within(number, low, high, expected, raw))

    return Kind(metavar="TIME", expected=expected, parse=parse, show=show_seconds)


def character() -> Kind:
    """One ASCII character that can stand in a CSV dialect."""
    expected = r"one ASCII character (tab or \t for a tab)"

    def parse(raw: Any) -> str:
        value = "\t" if raw in ("\\t", "tab") else raw
        if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n\0":
            raise _unexpected(expected, raw)
        return value

    return Kind(metavar="CHAR", expected=expected, parse=parse, show=lambda value: "tab" if value == "\t" else value)


def optional(kind: Kind) -> Kind:
    """The same, or nothing: an empty value or ``none``."""
    expected = f"{kind.expected}, or none"

    def parse(raw: Any) -> Any:
        if raw is None or (isinstance(raw, str) and raw.lower() in NONE_WORDS):
            return None
        try:
            return kind.parse(raw)
        except ValueError:
            raise _unexpected(expected, raw) from None

    def show(value: Any) -> str:
        return "none" if value is None else kind.show(value)

    return Kind(metavar=kind.metavar, expected=expected, parse=parse, show=show, choices=kind.choices)


def switch() -> Kind:
    """On or off."""
    expected = "true or false"

    def parse(raw: Any) -> bool:
        value = _BOOLEANS.get(raw.lower()) if isinstance(raw, str) else raw
        if not isinstance(value, bool):
            raise _unexpected(expected, raw)
        return value

    return Kind(metavar="", expected=expected, parse=parse, show=lambda value: "on" if value else "off")


def names(metavar: str) -> Kind:
    """Column names with commas between them; one with a comma in it stands in double quotes, as in a CSV."""
    expected = "column names with commas between them"

    def parse(raw: Any) -> tuple[str, ...] | None:
        if raw is None:
            return None
        found = next(csv.reader([raw], strict=True), []) if isinstance(raw, str) and "\n" not in raw else raw
        if not _are_texts(found) or not found or not all(found):
            raise _unexpected(expected, raw)
        return tuple(found)

    return Kind(metavar=metavar, expected=expected, parse=_csv_errors(parse, expected), show=_show_names)


def words(metavar: str, expected: str) -> Kind:
    """Several texts: a list, or one text split as a shell does."""

    def parse(raw: Any) -> tuple[str, ...]:
        try:
            found = shlex.split(raw) if isinstance(raw, str) else raw
        except ValueError:
            found = ()
        if not _are_texts(found) or not found or not all(found):
            raise _unexpected(expected, raw)
        return tuple(found)

    return Kind(metavar=metavar, expected=expected, parse=parse, show=lambda value: " ".join(value) or "none")


def mapping(metavar: str) -> Kind:
    """``KEY=VALUE`` texts, or a TOML table. Values may be secret, so they are never shown."""
    expected = "KEY=VALUE"

    def parse(raw: Any) -> dict[str, Any]:
        try:
            found = shlex.split(raw) if isinstance(raw, str) else raw
        except ValueError:
            raise ValueError(f"expected {expected}") from None
        if isinstance(found, Mapping):
            return {str(key): value for key, value in found.items()}
        options: dict[str, Any] = {}
        for place, pair in enumerate(found if _are_texts(found) else [""], 1):
            key, equals, value = pair.partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z][\w.-]*", key):
                # Not what it is: behind another it may be the rest of a password with a space in it.
                raise ValueError(f"expected {expected}, found none in entry {place}" if key else f"expected {expected}")
            options[key] = value
        return options

    def show(value: Any) -> str:
        return ", ".join(sorted(value)) or "none"

    return Kind(metavar=metavar, expected=expected, parse=parse, show=show, keyed=True)


def show_size(value: int) -> str:
    """1048576 → ``1 MiB``, 1000 → ``1000``."""
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit}{name}"
    return str(value)


def show_seconds(value: float) -> str:
    """60 → ``1m``, 0.5 → ``500ms``, 1.5 → ``1.5s``."""
    for name in ("d", "h", "m"):
        if value and value % _SECONDS[name] == 0:
            return f"{value / _SECONDS[name]:g}{name}"
    return f"{value * 1000:g}ms" if 0 < value < 1 else f"{value:g}s"


def _show_names(value: Sequence[str] | None) -> str:
    return "none" if value is None else ",".join(value)


def _are_texts(found: Any) -> bool:
    return isinstance(found, (list, tuple)) and all(isinstance(entry, str) for entry in found)


def _csv_errors(parse: Callable[[Any], Any], expected: str) -> Callable[[Any], Any]:
    def parsed(raw: Any) -> Any:
        try:
            return parse(raw)
        except csv.Error:
            raise _unexpected(expected, raw) from None

    return parsed


def _number(raw: Any, pattern: str, expected: str) -> float:
    """TOML's numbers and text's; a bool is an int to Python, but not to a person."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and re.fullmatch(pattern, raw.strip()):
        return float(raw)
    raise _unexpected(expected, raw)


def _within(number: float, low: float, high: float, expected: str, raw: Any) -> float:
    if not low <= number <= high:
        raise _unexpected(expected, raw)
    return number


def _unexpected(expected: str, raw: Any) -> ValueError:
    return ValueError(f"expected {expected}, found {raw!r}")
