"""Each fault once, briefly; ``make chaos`` is the same for longer. Every row is compared by the campaign itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.table import FAULTS
from tests.chaos.trial import NO_BROKER

ROOT = Path(__file__).parents[2]
BRIEF = [name for name, fault in FAULTS.items() if not fault.long]
GROUPS = {
    "the job": [name for name in BRIEF if FAULTS[name].lane in ("kills", "broker")],
    "a broker and its disk": [name for name in BRIEF if FAULTS[name].lane == "own"],
    "three brokers": [name for name in BRIEF if FAULTS[name].lane == "cluster"],
}


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", GROUPS)
def test_no_row_is_lost_doubled_or_disordered(group: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*campaign(tmp_path), "--once", "--only", ",".join(GROUPS[group])],
        cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=850,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    assert NO_BROKER not in done.stdout
    assert " 0 lost, 0 doubled, 0 disordered" in done.stdout
    assert not list(tmp_path.glob("csv2kafka-chaos-*")), "something was left behind"


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_interrupted_it_ends_and_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*campaign(tmp_path), "--once", "--only", "kill-exactly-once,slow"],
        cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("csv2kafka-chaos-*/*/*-run-*.log")):
            assert time.monotonic() < deadline, "no run was started"
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, output
    assert "| **all** |" in output, output
    assert not list(tmp_path.glob("csv2kafka-chaos-*"))
    assert not [line for line in processes() if str(tmp_path) in line]


def campaign(directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.chaos", "--seed", "1", "--keep", str(directory / "found")]


def environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(directory)}


def processes() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return found
