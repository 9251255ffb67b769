"""Medians, ratios and bars of the benchmark."""

from __future__ import annotations

import pytest
from attrs import evolve

from benchmarks.figures import Bar, Run, Spread, ratio, summary

RUN = Run(
    peer="ours",
    round=0,
    rows=1_000_000,
    bytes=100_000_000,
    seconds=2.0,
    own_seconds=1.0,
    cpu_seconds=1.5,
    broker_cpu_seconds=0.5,
    peak_bytes=100,
    problem=None,
)


def test_a_summary_has_the_median_and_the_spread_of_the_runs_that_count() -> None:
    runs = [evolve(RUN, seconds=seconds) for seconds in (1.0, 2.0, 4.0)]
    invalid = evolve(RUN, seconds=0.001, problem="3 records instead of 4")
    found = summary([*runs, invalid], cores=2)
    assert found.rate == Spread(median=500_000, least=250_000, most=1_000_000, rounds=3)
    assert found.megabytes == Spread(median=50, least=25, most=100, rounds=3)
    assert found.reported_rate == Spread(median=1_000_000, least=1_000_000, most=1_000_000, rounds=3)
    assert found.problems == ["3 records instead of 4"]


def test_no_figure_is_shown_where_no_run_counts() -> None:
    found = summary([evolve(RUN, problem="not in order")], cores=2)
    assert found.rate is None
    assert found.of_limit is None
    assert found.problems == ["not in order"]


def test_the_limit_is_what_both_cpus_could_do_with_our_seconds_and_the_brokers() -> None:
    assert RUN.limit(cores=2) == 1_000_000
    found = summary([RUN], cores=2)
    assert found.of_limit is not None
    assert found.of_limit.median == 0.5


def test_a_ratio_is_taken_within_each_round() -> None:
    """A machine that is slower in one round is slower for both."""
    ours = [evolve(RUN, round=0, seconds=1.0), evolve(RUN, round=1, seconds=4.0)]
    theirs = [evolve(RUN, peer="theirs", round=0, seconds=3.0), evolve(RUN, peer="theirs", round=1, seconds=12.0)]
    assert ratio(ours + theirs, "ours", "theirs") == Spread(median=3, least=3, most=3, rounds=2)


def test_a_ratio_leaves_out_rounds_in_which_one_does_not_count() -> None:
    ours = [evolve(RUN, round=0, seconds=1.0), evolve(RUN, round=1, seconds=1.0)]
    theirs = [
        evolve(RUN, peer="theirs", round=0, seconds=2.0),
        evolve(RUN, peer="theirs", round=1, seconds=0.1, problem="lost"),
    ]
    assert ratio(ours + theirs, "ours", "theirs") == Spread(median=2, least=2, most=2, rounds=1)
    assert ratio(ours, "ours", "theirs") is None


def test_a_ratio_by_their_own_time() -> None:
    theirs = evolve(RUN, peer="theirs", own_seconds=5.0)
    assert ratio([RUN, theirs], "ours", "theirs", reported=True) == Spread(median=5, least=5, most=5, rounds=1)
    assert ratio([RUN, evolve(theirs, own_seconds=None)], "ours", "theirs", reported=True) is None


@pytest.mark.parametrize(
    ("sense", "measured", "passed"),
    [("at least", 3.0, True), ("at least", 2.99, False), ("at most", 3.0, True), ("at most", 3.01, False)],
)
def test_a_bar_is_passed_by_the_median(sense: str, measured: float, passed: bool) -> None:
    spread = Spread(median=measured, least=0, most=100, rounds=3)
    bar = Bar(what="it", unit="×", bound=3, sense=sense, measured=spread)  # type: ignore[arg-type]
    assert bar.passed is passed


def test_a_bar_that_was_not_measured_is_neither_passed_nor_missed() -> None:
    assert Bar(what="it", unit="×", bound=3, measured=None).passed is None
