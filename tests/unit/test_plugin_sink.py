"""The plug-in of examples/plugin_sink, installed: found by its entry point. Its own tests are beside it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin_sink"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As after ``pip install``: the module on the path, and its entry points beside it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "csv2kafka_table-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    path = os.pathsep.join([str(EXAMPLE), str(tmp_path / "site")])
    return {**os.environ, "PYTHONPATH": path, "XDG_STATE_HOME": str(tmp_path / "state")}


def run(environment: dict[str, str], *arguments: str | Path) -> None:
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_takes_its_scheme(environment: dict[str, str], tmp_path: Path) -> None:
    csv, table = tmp_path / "a.csv", tmp_path / "rows.sqlite"
    csv.write_text('id,name\n1,one\n2,"two, too"\n3,three,x\n')
    for _ in range(2):  # the second time it is complete already
        run(environment, "csv2kafka", "run", csv, "-o", f"table://{table}", "--on-bad-row", "dead-letter")
    with closing(sqlite3.connect(table)) as db:
        rows = db.execute("SELECT value FROM data ORDER BY n").fetchall()
        assert rows == [(b'{"id":"1","name":"one"}',), (b'{"id":"2","name":"two, too"}',)]
        assert db.execute("SELECT value FROM refused").fetchall() == [(b"3,three,x",)]
