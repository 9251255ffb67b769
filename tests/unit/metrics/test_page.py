"""docs/metrics.md has the table that is made from the code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from csv2kafka.metrics.table import METRICS, page_table

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_the_table_is_up_to_date() -> None:
    assert page_table() in PAGE, "put into docs/metrics.md what `python -m csv2kafka.metrics.table` writes"


def test_the_table_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(RuntimeWarning, match="found in sys.modules"):
        runpy.run_module("csv2kafka.metrics.table", run_name="__main__")
    assert capsys.readouterr().out == page_table()


def test_every_metric_that_the_page_names_is_there() -> None:
    known = {metric.prometheus for metric in METRICS} | {f"csv2kafka_commit_seconds_{of}" for of in ("bucket", "count")}
    assert set(re.findall(r"\bcsv2kafka_\w+", PAGE)) <= known


def test_names_are_used_once() -> None:
    assert len({metric.prometheus for metric in METRICS} | {metric.emf for metric in METRICS}) == 2 * len(METRICS)
