"""Child processes that never outlive this one, however it ends: Kafka's, Maven's, and the demo's runs."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

# Runs "$@" in place of the shell, so that its process id is the shell's. A watcher reads our end of a pipe: a
# line means that the program was seen to end; the pipe's end means that we are gone, even by SIGKILL. (Linux's
# PR_SET_PDEATHSIG will not do: it is about the thread that started the child, not about the process.)
_GUARD = 'exec 3<&0; (read -r line <&3 || kill -KILL $$) >/dev/null 2>&1 & exec 3<&-; exec "$@" </dev/null'


def start(
    command: Sequence[str],
    *,
    directory: Path,
    output: IO[bytes] | int,
    errors: IO[bytes] | int = subprocess.STDOUT,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Run it in a session of its own, so that Ctrl-C reaches only us. It has no input. End it with ``end``."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "sh", *command],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float) -> None:
    """Send the signal if it still runs, and wait; SIGKILL after ``seconds``. Then nothing of it is left."""
    process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(b"\n")
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
