"""docs/guarantees.md: each test that it names is there, and each row of its tables names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\((\.\./tests/[^)#]+)#(\w+)\)")


@pytest.mark.parametrize(("file", "name"), sorted(set(LINK.findall(PAGE))))
def test_what_it_names_is_there(file: str, name: str) -> None:
    text = (ROOT / "docs" / file).resolve().read_text(encoding="utf-8")
    assert re.search(rf"^ *(async def|def|class) {name}\b", text, re.MULTILINE), f"{file} has no {name}"


def test_each_trap_names_a_test() -> None:
    rows = [line for line in PAGE.partition("## The traps")[2].partition("\n## ")[0].splitlines() if line[:1] == "|"]
    traps = [row for row in rows if not row.startswith(("| what happens", "|---"))]
    assert len(traps) > 25
    assert [row for row in traps if not LINK.search(row)] == []
