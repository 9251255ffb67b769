"""The campaign finds mistakes that are planted in the package. All of them: ``python -m tests.simulation.mistakes``."""

from __future__ import annotations

import pytest

from csv2kafka import holding
from csv2kafka.kafka import writer
from tests.simulation.campaign import play
from tests.simulation.mistakes import MISTAKES, SOON, Mistake, search
from tests.simulation.planting import Edit, NoSuchPlace, function_of, planted

FOUND_SOON = [mistake for mistake in MISTAKES if mistake.within <= SOON]


@pytest.mark.parametrize("mistake", FOUND_SOON, ids=lambda mistake: mistake.name)
def test_the_campaign_finds(mistake: Mistake) -> None:
    found = search(mistake)
    assert found.outcome is not None, f"{mistake.what}: not found in {found.drawn} schedules, {found.played} played"
    without = play(found.outcome.schedule)
    assert not without.violations, f"no mistake, and yet:\n{without}"


def test_there_are_enough_and_each_can_be_planted() -> None:
    assert len(FOUND_SOON) >= 15
    assert len({mistake.name for mistake in MISTAKES}) == len(MISTAKES)
    for mistake in MISTAKES:
        with planted(*mistake.edits):
            pass


def test_what_is_planted_is_there_for_everybody_and_only_for_a_while() -> None:
    module = "csv2kafka.kafka.session"
    mutable = function_of(module, "mutable")
    with planted(Edit(module, "mutable", "bytearray(body)", 'bytearray(b"else")')):
        assert mutable(b"x") == b"else"
    assert mutable(b"x") == b"x"
    assert function_of("csv2kafka.holding", "Holding.close") is holding.Holding.close
    assert function_of("csv2kafka.kafka.writer", "Writer._no_doubt") is writer.Writer._no_doubt.__wrapped__  # type: ignore[attr-defined]


def test_a_mistake_whose_place_is_gone_is_told() -> None:
    with (
        pytest.raises(NoSuchPlace, match="0 times"),
        planted(Edit("csv2kafka.holding", "Holding.close", "no such", "")),
    ):
        pass
