"""What a run ends with, as programs read it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from attrs import evolve

from csv2kafka.model import Checkpoint, Counts, DeadLetter, Manifest, SinkState
from csv2kafka.model.report import Report, VerifyReport, last_offset

REPORT = Report(
    checkpoint=Checkpoint(
        job="orders",
        run_id="r",
        counts=Counts(rows=100, bad_rows=1, bytes=5000),
        sink=SinkState(offsets={"data": 112}, first_offset=10),
        complete=True,
        at=datetime(2024, 1, 1, tzinfo=UTC),
    ),
    manifest=Manifest(objects=(("a.csv", 5000, "v1"),)),
    destination="kafka topic orders partition 0",
    resumed_from_row=40,
    rows_this_run=60,
    seconds=1.5,
    bad_rows=(DeadLetter(value=b"\xff", source="a.csv", row=7, line=8, byte=90, reason="too few fields"),),
)


def test_the_report_is_json_without_the_rows_own_bytes() -> None:
    found = json.loads(REPORT.to_json())
    assert found == REPORT.as_dict()
    assert found["first_bad_rows"] == [{"source": "a.csv", "row": 7, "line": 8, "byte": 90, "reason": "too few fields"}]
    assert found["sources"] == [{"uri": "a.csv", "size": 5000, "version": "v1"}]
    assert (found["rows"], found["rows_this_run"], found["rows_per_second"]) == (100, 60, 40)
    assert (found["first_offset"], found["last_offset"]) == (10, 111)
    assert found["completed_at"] == "2024-01-01T00:00:00+00:00"


def test_a_job_without_rows_has_no_last_offset() -> None:
    empty = evolve(REPORT.checkpoint, counts=Counts(), complete=False)
    assert last_offset(empty) is None
    found = evolve(REPORT, checkpoint=empty, seconds=0.0).as_dict()
    assert (found["last_offset"], found["completed_at"], found["rows_per_second"]) == (None, None, 0)


def test_a_verification_says_whether_they_are_equal() -> None:
    report = VerifyReport(rows=1, bad_rows=0, besides=0, behind=2, first_offset=3, last_offset=3, seconds=0.1)
    assert json.loads(report.to_json())["equal"] is True
    assert json.loads(evolve(report, difference="row 1: …").to_json())["equal"] is False
