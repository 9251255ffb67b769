"""The command, many times: a process that has imported everything forks one for each run, which costs some 20 ms.

What runs is what the installed script runs (``csv2kafka.cli.main``), with streams, environment, folder and signals of
its own. ``Forked.run`` gives its exit code, what it wrote, its peak of memory, and whether it had to be killed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

LONGEST_SECONDS = 60.0
PRELOADED = (
    *("csv2kafka.pipeline", "csv2kafka.registry", "csv2kafka.verify", "csv2kafka.preflight", "csv2kafka.sinks.file"),
    *("csv2kafka.cli.run", "csv2kafka.cli.preview", "csv2kafka.cli.check", "csv2kafka.cli.verify"),
    *("csv2kafka.cli.status", "csv2kafka.cli.failure", "csv2kafka.cli.progress.lines", "csv2kafka.sources.local"),
    *(
        "csv2kafka.checkpoints.sqlite",
        "csv2kafka.decoding.gzip",
        "csv2kafka.decoding.libraries",
        "csv2kafka.sinks.kafka",
    ),
    *("csv2kafka.aws.client", "csv2kafka.sources.s3", "csv2kafka.checkpoints.dynamodb", "csv2kafka.checkpoints.s3"),
    *("csv2kafka.kafka.client", "cattrs", "rich.console", "structlog", "natsort", "tomllib"),
)


@frozen(kw_only=True)
class Ended:
    """How a run ended. ``code`` -9: it was killed, as it took longer than it may."""

    arguments: Sequence[str]
    code: int
    out: bytes
    err: bytes
    peak_bytes: int
    seconds: float

    @property
    def text(self) -> str:
        return self.err.decode(errors="backslashreplace")


class Forked:
    """``directory``: the runs' folder and state."""

    def __init__(self, directory: Path, *, kernel: str = "") -> None:
        self.directory = directory
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CSV2KAFKA_")}
        environment |= {"XDG_STATE_HOME": str(directory / "state"), "PYTHONPATH": os.pathsep.join(sys.path)}
        environment |= {"CSV2KAFKA_KERNEL": kernel} if kernel else {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=environment,
            text=True,
        )

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float = LONGEST_SECONDS,
        descriptors: int = 0,
    ) -> Ended:
        """``descriptors``: how many the run may have open, if it is to have few."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {
            "arguments": [base64.b64encode(os.fsencode(one)).decode() for one in arguments],
            "environment": {name: base64.b64encode(os.fsencode(v)).decode() for name, v in (environment or {}).items()},
            "directory": str(self.directory),
            "seconds": seconds,
            "stdin": base64.b64encode(stdin).decode(),
            "descriptors": descriptors,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        out, err = ((self.directory / name).read_bytes() for name in (".out", ".err"))
        return Ended(arguments=arguments, out=out, err=err, **told)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(LONGEST_SECONDS)


@contextlib.contextmanager
def forked(directory: Path, *, kernel: str = "") -> Iterator[Forked]:
    """One that is closed at the end."""
    made = Forked(directory, kernel=kernel)
    try:
        yield made
    finally:
        made.close()


def serve() -> None:
    """Fork for each line until there are no more."""
    import gc
    import importlib

    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_one(json.loads(line))), flush=True)


def _one(asked: dict[str, Any]) -> dict[str, Any]:
    directory = Path(asked["directory"])
    (directory / ".in").write_bytes(base64.b64decode(asked["stdin"]))
    began = time.monotonic()
    child = os.fork()
    if not child:
        _become(asked, directory)
    pidfd = os.pidfd_open(child)
    over, _, _ = select.select([pidfd], [], [], asked["seconds"])
    os.close(pidfd)
    if not over:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "peak_bytes": usage.ru_maxrss * 1024,
        "seconds": time.monotonic() - began,
    }


def _become(asked: dict[str, Any], directory: Path) -> None:
    """The command, which never returns."""
    code = 99
    try:
        os.setsid()
        os.chdir(directory)
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY
        places = ((".in", os.O_RDONLY, 0), (".out", flags, 1), (".err", flags, 2))
        for name, mode, number in places:
            file = os.open(name, mode, 0o600)
            os.dup2(file, number)
            os.close(file)
        for name, value in asked["environment"].items():
            os.environb[os.fsencode(name)] = base64.b64decode(value)
        if asked["descriptors"]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (asked["descriptors"],) * 2)
        sys.argv = ["csv2kafka", *(os.fsdecode(base64.b64decode(one)) for one in asked["arguments"])]
        from csv2kafka.cli import main

        main()
    except BaseException as error:
        os.write(2, f"Traceback: it left main by {error!r}\n".encode(errors="replace"))
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()
