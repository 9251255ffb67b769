"""What events add up to: of this run, committed, and never falling."""

from __future__ import annotations

import pytest

from csv2kafka.metrics.measures import Distribution, Measures
from csv2kafka.model import LeaseRenewed, StoreAway, Waiting
from tests.unit.metrics.events import Clock, committed, opened, point, progressed, started


@pytest.fixture
def measures() -> Measures:
    return Measures(clock=Clock())


def test_only_what_is_committed_counts(measures: Measures) -> None:
    measures.add(started())
    measures.add(opened(point()))
    measures.add(progressed(300))
    assert (measures.rows, measures.source_bytes, measures.lag_bytes) == (0, 0, 1000)
    measures.add(committed(point(rows=30, bad=2, size=290, commits=1), source_bytes=290))
    assert (measures.rows, measures.bad_rows, measures.decoded_bytes, measures.commits) == (30, 2, 290, 1)
    assert (measures.source_bytes, measures.lag_bytes) == (290, 710)


def test_a_resumed_run_counts_from_where_it_goes_on(measures: Measures) -> None:
    measures.add(started())
    measures.add(opened(point(rows=60, bad=1, size=500, commits=7), source_bytes=600))
    assert (measures.rows, measures.job_rows, measures.source_bytes, measures.lag_bytes) == (0, 60, 0, 400)
    measures.add(committed(point(rows=80, bad=1, size=800, commits=8), source_bytes=900))
    assert (measures.rows, measures.bad_rows, measures.decoded_bytes, measures.commits) == (20, 0, 300, 1)
    assert (measures.job_rows, measures.source_bytes, measures.lag_bytes) == (80, 300, 100)


def test_a_commit_whose_answer_was_lost_counts(measures: Measures) -> None:
    """The next session finds it, and no event has told of it."""
    measures.add(started())
    measures.add(opened(point()))
    measures.add(progressed(500))
    measures.add(Waiting(reason="no answer", seconds=0.1, attempt=1))
    measures.add(opened(point(rows=50, size=480, commits=1), number=2, source_bytes=480))
    assert (measures.rows, measures.commits, measures.source_bytes, measures.lag_bytes) == (50, 1, 480, 520)
    assert (measures.retries, measures.sessions, sum(measures.commit_seconds.counts)) == (1, 2, 0)


def test_rows_that_were_lost_and_are_sent_again_count_once(measures: Measures) -> None:
    measures.add(started())
    measures.add(opened(point()))
    measures.add(committed(point(rows=50, commits=1), source_bytes=500))
    measures.add(opened(point(), number=2, source_bytes=0))
    assert (measures.rows, measures.source_bytes) == (50, 500)
    measures.add(committed(point(rows=60, commits=2), source_bytes=600))
    assert (measures.rows, measures.source_bytes) == (60, 600)


def test_at_the_end_of_a_compressed_source_nothing_is_left(measures: Measures) -> None:
    """Its last resume point is before its end."""
    measures.add(started(total=1000))
    measures.add(opened(point()))
    measures.add(committed(point(rows=50, commits=1), source_bytes=900))
    assert (measures.lag_bytes, measures.complete) == (100, False)
    measures.add(committed(point(rows=50, commits=2, complete=True), source_bytes=900))
    assert (measures.source_bytes, measures.lag_bytes, measures.complete) == (1000, 0, True)


def test_a_job_that_was_complete_did_nothing(measures: Measures) -> None:
    measures.add(started(total=1000))
    measures.add(opened(point(rows=50, size=990, commits=2, complete=True), source_bytes=900))
    assert (measures.rows, measures.commits, measures.decoded_bytes, measures.source_bytes) == (0, 0, 0, 0)
    assert (measures.job_rows, measures.lag_bytes, measures.complete) == (50, 0, True)


def test_the_job_of_a_source_that_is_gone_has_its_name(measures: Measures) -> None:
    measures.add(opened(point(complete=True)))
    assert measures.job == "orders"


def test_the_lag_is_not_known_without_a_size_or_a_session() -> None:
    unknown, early = Measures(clock=Clock()), Measures(clock=Clock())
    unknown.add(started(total=None))
    unknown.add(opened(point()))
    early.add(started())
    assert (unknown.lag_bytes, early.lag_bytes, early.job_rows) == (None, None, None)


def test_the_age_of_the_lease() -> None:
    clock = Clock()
    measures = Measures(clock=clock)
    assert measures.lease_age is None
    measures.add(LeaseRenewed(epoch=3))
    clock.at += 4.5
    assert measures.lease_age == 4.5
    measures.add(LeaseRenewed(epoch=3))
    assert measures.lease_age == 0.0


def test_a_store_that_is_away(measures: Measures) -> None:
    measures.add(StoreAway(reason="throttled"))
    assert (measures.store_failures, measures.retries) == (1, 0)


def test_a_distribution_includes_its_bounds_and_keeps_the_latest() -> None:
    values = Distribution([0.1, 1.0])
    for value in (0.1, 0.10001, 1.0, 7.0):
        values.observe(value)
    assert (values.counts, values.sum, list(values.latest)) == ([1, 2, 1], 8.20001, [0.1, 0.10001, 1.0, 7.0])
    for value in range(200):
        values.observe(value)
    assert list(values.latest) == list(range(100, 200))
