"""Text that others chose (rows, names of files, columns, topics and keys, servers' errors) as a terminal may have it.

A terminal obeys some characters instead of showing them: it clears the screen, writes to the clipboard, turns text
around. Such are shown as Python's escapes: ``\\x1b``, ``\\u202e``. What the command says of its own (colour, line ends)
is put around the text afterwards. JSON has escapes of its own, so that programs get each character as it is.
"""

from __future__ import annotations

import re

# C0 but tab and line feed, DEL, C1; what turns text around or hides in it (Unicode's bidirectional controls, line and
# paragraph separators, annotations, tags); surrogates, as bytes in names that are not UTF-8 become.
_OBEYED = "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufff9-\\ufffb"
_NOT_INDENTED = re.compile("\n(?! )")
_NOT_SHOWN = re.compile(f"[{_OBEYED}\\ud800-\\udfff\\U000e0000-\\U000e007f]")


def printable(text: str) -> str:
    """The text with what a terminal would obey as escapes; tabs and line ends stay."""
    return _NOT_SHOWN.sub(_escape, text)


def lines_of_it(text: str) -> str:
    """The same for what stands on a line of ours: its further lines are indented, so that none passes for one."""
    return _NOT_INDENTED.sub("\n  ", printable(text))


def printable_json(text: str) -> str:
    """JSON that means the same, with such characters as escapes. They stand in its strings only."""
    return _NOT_SHOWN.sub(_json_escape, text)


def printable_value(value: bytes) -> str:
    """A row's value on one line, for a terminal: also its line ends, and bytes that are no UTF-8, are escapes."""
    return printable(value.decode(errors="backslashreplace")).replace("\n", "\\n")


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
