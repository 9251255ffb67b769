"""CloudWatch's filter patterns for JSON, as far as deploy/ uses them, and what a metric filter makes of lines.

    matches('{ $.event = "failed" && ($.exit_code = 1 || $.exit_code = 76) }', line)
    values(metric_filter, lines)            # what it sends to its metric, one for each line that matches

Comparisons ``=`` and ``!=`` with numbers, quoted strings (``*`` stands for anything in them) and a bare ``*`` (it is
there), ``<``, ``<=``, ``>``, ``>=`` with numbers, ``&&`` before ``||``, and parentheses. A property that a line lacks
matches nothing, not even ``!=``. Anything else is a ValueError: what the tests cannot read, they do not pass.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<path>\$(?:\.[A-Za-z_][\w-]*)+)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<word>&&|\|\||<=|>=|!=|[=<>(){}*]))"""
)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Line = Mapping[str, Any]
_Test = Callable[[Line], bool]


def matches(pattern: str, line: Line) -> bool:
    """Whether a metric filter counts the line."""
    return _Parser(pattern).whole()(line)


def values(metric_filter: Mapping[str, Any], lines: Iterable[Line]) -> list[float]:
    """What an aws_cloudwatch_log_metric_filter sends, in order."""
    (transformation,) = metric_filter["metric_transformation"]
    what, found = transformation["value"], []
    for line in lines:
        if matches(metric_filter["pattern"], line):
            value = _at(what, line) if what.startswith("$") else float(what)
            if isinstance(value, int | float):  # one that is no number is not sent
                found.append(float(value))
    return found


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._tokens: list[tuple[str, str]] = []
        text = pattern.rstrip()
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise ValueError(f"{pattern}: {text[position:]!r} is not read here")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def whole(self) -> _Test:
        self._expect("{")
        test = self._either()
        self._expect("}")
        if self._tokens:
            raise ValueError(f"{self._pattern}: {self._tokens[0][1]!r} behind its end")
        return test

    def _either(self) -> _Test:
        tests = [self._both()]
        while self._next("||"):
            tests.append(self._both())
        return lambda line: any(test(line) for test in tests)

    def _both(self) -> _Test:
        tests = [self._one()]
        while self._next("&&"):
            tests.append(self._one())
        return lambda line: all(test(line) for test in tests)

    def _one(self) -> _Test:
        if self._next("("):
            test = self._either()
            self._expect(")")
            return test
        path, (_, sign), (kind, wanted) = self._take("path"), self._take_any(), self._take_any()
        if sign in _ORDER and kind == "number":
            return lambda line: _is_number(_at(path, line)) and _ORDER[sign](_at(path, line), float(wanted))
        if sign not in ("=", "!=") or kind == "path" or (kind == "word" and wanted != "*"):
            raise ValueError(f"{self._pattern}: {path} {sign} {wanted} is not read here")
        return lambda line: _at(path, line) is not None and _equal(kind, wanted, _at(path, line)) == (sign == "=")

    def _next(self, word: str) -> bool:
        if self._tokens and self._tokens[0] == ("word", word):
            self._tokens.pop(0)
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._next(word):
            raise ValueError(f"{self._pattern}: expected {word!r}")

    def _take(self, kind: str) -> str:
        found, text = self._take_any()
        if found != kind:
            raise ValueError(f"{self._pattern}: expected a {kind}, found {text!r}")
        return text

    def _take_any(self) -> tuple[str, str]:
        if not self._tokens:
            raise ValueError(f"{self._pattern}: it ends in the middle")
        return self._tokens.pop(0)


def _at(path: str, line: Line) -> Any:
    found: Any = line
    for name in path.removeprefix("$.").split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(kind: str, wanted: str, value: Any) -> bool:
    if kind == "word":
        return True
    if kind == "number":
        return _is_number(value) and value == float(wanted)
    return isinstance(value, str) and fnmatch.fnmatchcase(value, wanted[1:-1].replace("[", "[[]").replace("?", "[?]"))
