"""The installed command into a file, killed at random moments: each row once, in order."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.faults.installed import KERNEL, Installed, Killing, expected_values, write_csv

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 400_000
KILLS = 10  # that hit the run amid rows
BAD_EVERY = 1000


def test_killed_ten_times_the_file_is_the_csv(tmp_path: Path) -> None:
    """SIGKILL: some while starting, most while rows are under way. Bad rows stand in FILE.bad, each once, too."""
    source, output, draw = tmp_path / "rows.csv", tmp_path / "rows.jsonl", random.Random(3)
    good, bad = tmp_path / "good.csv", []
    write_csv(good, ROWS)
    content = good.read_bytes().split(b",z\r\n")  # where a row ends, and nothing else does
    assert len(content) == ROWS + 1
    for row in range(BAD_EVERY, ROWS, BAD_EVERY):
        bad.append(f"bad {row}")
        content[row] = bad[-1].encode() + b"\r\n" + content[row]
    source.write_bytes(b",z\r\n".join(content))
    arguments = ["run", str(source), "-o", str(output), "--on-bad-row", "dead-letter"]
    arguments += ["--progress", "json", "--checkpoint-rows", "1500"]
    killing, lives = Killing(draw), 0
    while killing.hits[KERNEL] < KILLS:
        lives += 1
        run = Installed(arguments, tmp_path).start()
        if lives % 5 == 0:
            killing.while_starting(run, (0.1, 0.5))
        else:
            killing.amid_rows(run, 0.05)
    assert killing.rows < ROWS
    last = Installed(arguments, tmp_path).start()
    assert last.end() == 0, last.output[-3000:]
    assert output.read_bytes() == b"".join(value + b"\n" for value in expected_values(good))
    refused = [json.loads(line) for line in Path(f"{output}.bad").read_text().splitlines()]
    assert [line["value"] for line in refused] == bad
