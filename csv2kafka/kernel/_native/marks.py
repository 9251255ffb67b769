"""A dialect as Rust takes it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from csv2kafka.model import Dialect

if TYPE_CHECKING:
    from csv2kafka.kernel._rust import Marks


@lru_cache(maxsize=64)
def marks_of(dialect: Dialect) -> Marks:
    """Delimiter, quote, escape and comment as bytes."""
    return ord(dialect.delimiter), _byte(dialect.quote), _byte(dialect.escape), _byte(dialect.comment)


def _byte(character: str | None) -> int | None:
    return None if character is None else ord(character)
