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
# A conditional write is one deed, as in AWS: moto's threads look at the condition and write, and others come between.
_SERVER = """
import functools
import threading
from moto.dynamodb.models import DynamoDBBackend
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

one_at_a_time = threading.RLock()

def locked(method):
    @functools.wraps(method)
    def call(*args, **kwargs):
        with one_at_a_time:
            return method(*args, **kwargs)
    return call

for kind, names in (
    (DynamoDBBackend, ("put_item", "update_item", "delete_item")),
    (S3Response, ("put_object", "_key_response_delete", "_key_response_post")),
):
    for name in names:
        setattr(kind, name, locked(getattr(kind, name)))
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
