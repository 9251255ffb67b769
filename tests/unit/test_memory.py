"""Peak memory is this program's own, whoever started it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from csv2kafka import memory

ASK = "from csv2kafka.memory import peak_bytes; print(peak_bytes())"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere getrusage tells")
def test_a_large_parent_does_not_count() -> None:
    ballast = b"x" * (300 << 20)
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, check=True, close_fds=False)
    assert memory.peak_bytes() > len(ballast)
    assert 1 << 20 < int(asked.stdout) < 100 << 20


def test_where_the_kernel_does_not_tell_getrusage_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", memory._STATUS / "nowhere")
    assert memory.peak_bytes() > 1 << 20
