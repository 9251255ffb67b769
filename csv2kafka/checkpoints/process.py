"""Which process this is, said so that another one can tell whether it is still there.

A process is only ever declared gone by one that sees the same processes: the same boot of the same kernel and
the same process namespace (two containers that share a volume have one kernel and different processes, and
often one host name). Where that can't be told, nobody is declared gone, and the lease's time to live decides.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from attrs import frozen

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@frozen(kw_only=True)
class Process:
    """``space``: whose process numbers these are, empty where it can't be told. ``started``: the start time as
    the system counts it (a number is soon given to another process), empty where it can't be told."""

    space: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        return cls(space=_space(), pid=os.getpid(), started=_state_and_start(os.getpid())[1])

    def is_gone(self) -> bool:
        """True only if it is certain that this process has ended."""
        if not self.space or self.space != _space():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's; /proc may hide it
        state, started = _state_and_start(self.pid)
        return state in ("Z", "X") or bool(started and self.started and started != self.started)


def _space() -> str:
    """The boot's id and the process namespace (Linux); elsewhere the host's name, where it has one kernel."""
    try:
        return f"{BOOT_ID.read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"darwin/{os.uname().nodename}" if sys.platform == "darwin" else ""


def _state_and_start(pid: int) -> tuple[str, str]:
    """State letter and start time of a process, from /proc; empty texts where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return fields[0], fields[19]
