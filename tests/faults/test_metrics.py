"""The installed command's metrics: scraped while it runs, and, stopped amid its work, summing up to the report."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.faults.installed import LONGEST_SECONDS, Installed, write_csv
from tests.unit.metrics.emf_schema import assert_emf

ROWS = 60_000
FIRST_ROWS = 1000


def until_committed(run: Installed, rows: int) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while run.committed_rows() < rows:
        assert run.process.poll() is None, run.output[-3000:]
        assert time.monotonic() < deadline, run.output[-3000:]
        time.sleep(0.005)


def scraped(run: Installed) -> dict[str, float]:
    (address,) = re.findall(r"http://[^\"\s]+", run.output)
    with urlopen(address, timeout=10) as answer:
        text: bytes = answer.read()
    families = text_string_to_metric_families(text.decode())
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_the_sums_are_the_reports(tmp_path: Path) -> None:
    """Two runs of a job, one stopped, tell of each row, byte and commit once; a third does nothing."""
    source, told, report = tmp_path / "rows.csv", tmp_path / "metrics.jsonl", tmp_path / "report.json"
    write_csv(source, ROWS)
    with source.open("ab") as file:
        file.write(b"bad\r\n" * 7)
    arguments = ["run", str(source), "-o", str(tmp_path / "rows.jsonl"), "--on-bad-row", "skip", "--progress", "json"]
    arguments += ["--checkpoint-rows", "500", "--metrics", f"emf:{told}", "--report", str(report)]
    stopped = Installed(arguments, tmp_path).start()
    until_committed(stopped, FIRST_ROWS)
    stopped.signal(signal.SIGTERM)
    assert stopped.end() == 75, stopped.output[-3000:]
    for _ in range(2):
        again = Installed(arguments, tmp_path).start()
        assert again.end() == 0, again.output[-3000:]
    facts: dict[str, Any] = json.loads(report.read_text())
    lines = [assert_emf(line) for line in told.read_text().splitlines()]
    assert {line["Job"] for line in lines} == {facts["job"]}
    assert len({line["RunId"] for line in lines}) == 3

    def total(name: str) -> int:
        return sum(line[name] for line in lines)

    assert (total("Rows"), total("BadRows")) == (facts["rows"], facts["bad_rows"]) == (ROWS, 7)
    assert (total("DecodedBytes"), total("SourceBytes")) == (facts["bytes"], source.stat().st_size)
    assert total("Commits") == facts["transactions"]
    assert sum(len(line.get("CommitSeconds", [])) for line in lines) == facts["transactions"]
    assert total("Sessions") == 3
    assert (total("Retries"), total("StoreFailures")) == (0, 0)
    assert [lines[at][name] for at in (0, -1) for name in ("Complete", "LagBytes")][2:] == [1, 0]
    assert lines[0]["LagBytes"] > 0
    assert lines[-1]["JobRows"] == ROWS


def test_scraped_while_it_runs(tmp_path: Path) -> None:
    """Rows come as fast as they are fed: after the first of them it is known what a scrape has to say."""
    source = tmp_path / "rows.csv"
    write_csv(source, FIRST_ROWS)
    arguments = ["run", "-", "-o", str(tmp_path / "rows.jsonl"), "--job", "fed", "--progress", "json"]
    arguments += ["--metrics", "prometheus://127.0.0.1:0"]
    run = Installed(arguments, tmp_path).start(stdin=subprocess.PIPE)
    feed = run.process.stdin
    assert feed is not None
    with feed:
        feed.write(source.read_bytes())
        feed.flush()
        until_committed(run, FIRST_ROWS - 1)  # the last row may go on, for all that is known
        found = scraped(run)
    assert found["csv2kafka_rows_total"] == found["csv2kafka_job_rows"] >= FIRST_ROWS - 1
    assert found["csv2kafka_commit_seconds_count"] == found["csv2kafka_commits_total"] >= 1
    assert (found["csv2kafka_sessions_total"], found["csv2kafka_complete"]) == (1, 0)
    assert "csv2kafka_lag_bytes" not in found  # nobody knows how much comes
    assert run.end() == 0, run.output[-3000:]
