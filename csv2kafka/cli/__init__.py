"""The ``csv2kafka`` command. ``app`` has the group and the way out, each command is a module of its own.

Only here are signals handled, logging set up, the environment read and exit codes given.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STOPPED = 75  # errors.Stopped.exit_code


def main() -> NoReturn:
    """What the installed ``csv2kafka`` calls."""
    _speak_utf8()
    _open_what_is_closed()
    # Before anything else is imported, which takes a while: until a command handles signals itself, nothing is held.
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and a shell's background jobs have it
            signal.signal(number, _stop)
    from csv2kafka.cli.app import execute, leave

    leave(execute(sys.argv[1:]))


def _speak_utf8() -> None:
    """In a locale of another encoding, begin again in Python's UTF-8 mode (PEP 540): there a file's name would be
    another text, and so its job another job, which sends the rows again."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1" and sys.executable:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (itself)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("_", "-") != "utf-8":
            stream.reconfigure(encoding="utf-8", errors=stream.errors)


def _open_what_is_closed() -> None:
    """Whatever is opened first takes the lowest number that is free: with standard error closed (``2>&-``), messages
    would be written into a database, or into the output. As GNU's tools do: reading 0 and writing 1 fail as before,
    and what goes to 2 is lost, as was asked for."""
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stderr is None:  # Python's word for closed
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")


@contextmanager
def importing() -> Iterator[None]:
    """For a block that mostly imports: that leaves much behind and no garbage, so none is looked for, then or later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _stop(number: int, _: FrameType | None) -> None:
    """Ends at once: an exception would come out of whatever is being imported, and could be swallowed there."""
    os.write(2, f"stopped ({signal.Signals(number).name}); run the same command again\n".encode())
    os._exit(STOPPED)
