"""What Batch does after an attempt: its ``evaluateOnExit``, as the API's reference describes it.

Rules are read in order. A rule matches when all conditions that it has match; the first that does decides. Where none
does, the job is retried. A pattern is compared from the start, and may end with ``*`` for whatever follows. Of an
attempt that succeeded nothing is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

PATTERNS = {
    "on_exit_code": r"[0-9]*\*?",
    "on_reason": r"[A-Za-z0-9.:\s]*\*?",
    "on_status_reason": r"[A-Za-z0-9.:\s]*\*?",
}
MOST_RULES, MOST_ATTEMPTS = 5, 10


@frozen(kw_only=True)
class Attempt:
    """How one ended. ``exit_code``: None where the container's is not known. Reasons as Batch words them."""

    exit_code: int | None
    status_reason: str = "Essential container in task exited"
    reason: str = ""


def check(strategy: Mapping[str, Any]) -> None:
    """AssertionError for what the API refuses."""
    rules: Sequence[Mapping[str, Any]] = strategy["evaluate_on_exit"]
    assert 1 <= strategy["attempts"] <= MOST_ATTEMPTS
    assert len(rules) <= MOST_RULES, f"Batch takes {MOST_RULES} rules, found {len(rules)}"
    for rule in rules:
        assert rule["action"].upper() in {"RETRY", "EXIT"}, rule
        given = {name: rule[name] for name in PATTERNS if rule.get(name)}
        assert given, f"a rule without a condition: {rule}"
        for name, pattern in given.items():
            assert re.fullmatch(PATTERNS[name], pattern), f"{name}: Batch does not take {pattern!r}"


def is_retried(strategy: Mapping[str, Any], attempt: Attempt, *, number: int = 1) -> bool:
    """Whether another attempt follows the one of this number, from 1."""
    if attempt.exit_code == 0 or number >= strategy["attempts"]:
        return False
    found = {
        "on_exit_code": "" if attempt.exit_code is None else str(attempt.exit_code),
        "on_reason": attempt.reason,
        "on_status_reason": attempt.status_reason,
    }
    for rule in strategy["evaluate_on_exit"]:
        if all(_matches(rule[name], text) for name, text in found.items() if rule.get(name)):
            return bool(rule["action"].upper() == "RETRY")
    return True


def _matches(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
