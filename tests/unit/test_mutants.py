"""The mutants that are said to be no mistakes are there, once each."""

from __future__ import annotations

import pytest

from tests.mutants import TESTS, Survivor, mutants, survivors

EVERY = [mutant for module in TESTS for mutant in mutants(module)]


@pytest.mark.parametrize("survivor", survivors(), ids=lambda each: f"{each.function}: {each.after}")
def test_a_survivor_that_is_explained_is_one_change(survivor: Survivor) -> None:
    assert len([mutant for mutant in EVERY if survivor.is_of(mutant)]) == 1
    assert survivor.reason.endswith(".")
