"""Signs that a file is not read as it was meant."""

from __future__ import annotations

from collections.abc import Sequence

DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'", ",": ","}  # and how each is given on a command line


def wrong_delimiter(header: Sequence[str]) -> str | None:
    """A sentence, if the only column's name looks like several columns' names; else None.

    It cannot hold the delimiter in use unless it was quoted.
    """
    if len(header) != 1:
        return None
    for delimiter, given in DELIMITERS.items():
        if delimiter in header[0]:
            return f"there is only one column, {header[0]!r}: is --delimiter {given} meant?"
    return None
