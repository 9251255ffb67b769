"""moto's server in a process of its own: S3, DynamoDB, Secrets Manager and SSM over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csv2kafka.cli import guarded

START_SECONDS = 30.0
# Answers once moto is up, then serves until it is killed: the port is the system's choice.
_SERVER = """
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
server._thread.join()
"""


@contextmanager
def moto_server(directory: Path) -> Iterator[str]:
    """Its URL. What it logs goes to ``moto.log`` in the directory."""
    import signal

    with (directory / "moto.log").open("wb") as log:
        process = guarded.start(
            [sys.executable, "-c", _SERVER], directory=directory, output=subprocess.PIPE, errors=log.fileno()
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield f"http://127.0.0.1:{port}"
        finally:
            guarded.end(process, signal.SIGKILL, 5.0)
