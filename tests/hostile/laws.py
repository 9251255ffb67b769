"""What holds for every run of the command, whatever it is given."""

from __future__ import annotations

import unicodedata

from tests.hostile.forked import Ended

CODES = frozenset({0, 2, 65, 69, 70, 75, 76})  # docs/errors.md, but for 1: that is a bug, or a full disk
PEAK_BYTES = 400 << 20
BUG = "this is a bug in csv2kafka"


def obeyed(text: str) -> set[str]:
    """Characters in it that a terminal would obey instead of showing them."""
    found = {c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")} - set("\n\t")
    return found | (set(text) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))


def hold(ended: Ended, *, codes: frozenset[int] = CODES, peak_bytes: int = PEAK_BYTES, shown: bool = True) -> None:
    """AssertionError with all there is to know if it does not. ``shown``: standard output is for people, too."""
    told = f"{ended.arguments}\nended with {ended.code} after {ended.seconds:.1f} s, {ended.peak_bytes >> 20} MiB"
    told += f"\n{ended.text[-3000:]}"
    assert ended.code != -9, f"it hung: {told}"
    assert ended.code in codes, told
    assert "Traceback" not in ended.text, told
    assert BUG not in ended.text, told
    assert ended.peak_bytes <= peak_bytes, told
    assert not obeyed(ended.text), f"{obeyed(ended.text)!r}: {told}"
    if shown:
        out = ended.out.decode(errors="surrogateescape")
        assert not obeyed(out), f"{obeyed(out)!r} on standard output: {told}"
    assert ended.code == 0 or ended.text.strip() or ended.out, f"not a word: {told}"
