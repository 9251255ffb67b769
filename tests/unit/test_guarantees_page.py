"""docs/guarantees.md: each test that it names is there, and each sentence and each row of its tables names one."""

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


def test_each_sentence_names_a_test() -> None:
    """What is promised and asked; not how it is tried, which is about the tests themselves."""
    promised = PAGE.partition("## The traps")[0]
    asked = PAGE.partition("## What you must do")[2].partition("\nSources:")[0]
    prose = [line for line in f"{promised}\n{asked}".splitlines() if line[:1] != "#"]
    paragraphs = re.split(r"\n\s*\n|\n(?=- |\d\. )", "\n".join(prose))
    sentences = [each for paragraph in paragraphs for each in sentences_of(paragraph)]
    assert len(sentences) > 40
    assert [each for each in sentences if not LINK.search(each)] == []


def sentences_of(paragraph: str) -> list[str]:
    """Without what is no sentence: a heading of a list or of an item."""
    text = re.sub(r"^(- |\d\. )(\*\*[^*]*\*\* ?)?", "", " ".join(paragraph.split()))
    return [each for each in re.split(r"(?<=[.!?])\s+(?=[A-Z`*])", text) if each and not each.endswith(":")]
