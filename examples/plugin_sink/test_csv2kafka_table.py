"""The table sink passes the suite that every sink of csv2kafka passes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from csv2kafka_table import TableSink, from_url

from csv2kafka.errors import ConfigError
from csv2kafka.testing import SinkConformance, example_job
from csv2kafka.testing.values import Row


class TestTableSink(SinkConformance):
    restart_empties = True

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "rows.sqlite"

    def make(self) -> TableSink:
        return TableSink(self.path)

    async def read(self) -> list[Row]:
        return self.select("SELECT key, value FROM data ORDER BY n")

    async def dead_letters(self) -> list[bytes] | None:
        return [value for _, value in self.select("SELECT key, value FROM refused ORDER BY n")]

    def select(self, query: str) -> list[Row]:
        if not self.path.exists():
            return []
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(query).fetchall()


def test_the_url(tmp_path: Path) -> None:
    assert from_url(f"table://{tmp_path}/x.sqlite", None).destination == f"table {tmp_path}/x.sqlite"
    with pytest.raises(ConfigError, match="expected table://PATH"):
        from_url("table://", None)


async def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n" * 1000)
    with pytest.raises(ConfigError, match="not a database"):
        async with TableSink(path).open(example_job(), None, None):
            pass
    assert path.read_text() == "a,b\n" * 1000
