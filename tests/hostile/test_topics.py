"""A share of the campaign over topics that hold what no job wrote."""

from __future__ import annotations

from pathlib import Path

from tests.hostile import topics
from tests.hostile.campaign import campaign


def test_verify_never_says_equal_of_what_is_not(tmp_path: Path) -> None:
    tally = campaign("topics", lambda seed: topics.try_one(seed, tmp_path), count=150, first=1)
    assert tally.ends["StateContradiction, StateContradiction"] > 20
    assert tally.ends["different, different"] > 5
    assert tally.ends["equal, equal"] > 0
