"""A test that needs a Kafka where none can be started: skipped with the reason, but in CI it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BROKER_TEST = "tests/broker/test_fixtures.py"


@pytest.mark.parametrize(("ci", "code", "word"), [(None, 0, "1 skipped"), ("true", 1, "1 error")])
def test_a_broker_test(ci: str | None, code: int, word: str, tmp_path: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "JAVA_HOME", "CSV2KAFKA_TEST_BOOTSTRAP") and not name.startswith("PYTEST_")
    }
    environment |= {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)} | ({} if ci is None else {"CI": ci})
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rsE",
            "-p",
            "no:cacheprovider",
            f"--basetemp={tmp_path / 'tests'}",
            BROKER_TEST,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout
    assert word in done.stdout
    assert "passed" not in done.stdout
    assert "no working java" in done.stdout
