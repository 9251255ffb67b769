"""Metrics of a run into Kafka: what they sum up to is what the report says."""

from __future__ import annotations

import json
from pathlib import Path

from tests.broker.command import Job
from tests.faults.installed import write_csv
from tests.unit.metrics.emf_schema import assert_emf

ROWS = 5000


def test_the_sums_are_the_reports(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    source, told, report = tmp_path / "rows.csv", tmp_path / "metrics.jsonl", tmp_path / "report.json"
    write_csv(source, ROWS)
    job = Job(source=source, servers=bootstrap_servers, topic=topic, directory=tmp_path)
    job.run("--metrics", f"emf:{told}", "--report", str(report), "--checkpoint-rows", "700")
    facts = json.loads(report.read_text())
    lines = [assert_emf(line) for line in told.read_text().splitlines()]
    sums = {
        name: sum(line[name] for line in lines)
        for name in ("Rows", "BadRows", "DecodedBytes", "SourceBytes", "Commits", "Sessions")
    }
    assert sums == {
        "Rows": ROWS,
        "BadRows": 0,
        "DecodedBytes": facts["bytes"],
        "SourceBytes": source.stat().st_size,
        "Commits": facts["transactions"],
        "Sessions": facts["sessions"],
    }
    assert (lines[-1]["JobRows"], lines[-1]["LagBytes"], lines[-1]["Complete"]) == (ROWS, 0, 1)
