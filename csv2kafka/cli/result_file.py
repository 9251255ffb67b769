"""A file that a command writes when it has ended: whole or not at all, and never over something else."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from csv2kafka.errors import ConfigError

DESCRIPTORS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


class ResultFile:
    """A file, or a device, for JSON whose first field is ``begins``; ``what`` it is, for errors, ``label`` the option.

    ``taken``: paths that are something else, with what each is; a directory or glob stands for its files. Raises
    ConfigError when made, so that nothing else is overwritten, and no long work ends with nowhere to put its result.
    """

    def __init__(
        self, target: str, taken: Iterable[tuple[str | Path, str]], *, label: str, what: str, begins: str, hint: str
    ) -> None:
        self._path = Path(target)
        found = f"{label}: expected a file of its own, found {target!r}"
        refuse_taken(self._path, taken, found, hint)
        if _is_device(self._path):
            return
        if self._path.is_dir() or not os.access(self._path.absolute().parent, os.W_OK):
            raise ConfigError(f"{found}, which cannot be written", hint=hint)
        if not _is_free(self._path, begins):
            raise ConfigError(f"{found}, which is there already, and no {what} of csv2kafka", hint=hint)

    def write(self, content: bytes) -> None:
        """Replace the file as a whole. Raises OSError if that cannot be done."""
        if _is_device(self._path):
            self._path.write_bytes(content)
        else:
            _replace(self._path, content)


def refuse_taken(path: Path, taken: Iterable[tuple[str | Path, str]], found: str, hint: str) -> None:
    """ConfigError if the file is one of those; ``found`` begins its message."""
    for other, what in taken:
        if _is_one_of(path, other):
            raise ConfigError(f"{found}, which is {what}", hint=hint)


def _is_one_of(path: Path, other: str | Path) -> bool:
    """The same file; or one that a directory or a glob takes, now or in the next run."""
    if Path(other).is_dir():
        return _same(path.absolute().parent, Path(other)) and not path.name.startswith((".", "_"))
    if _same(path, Path(other)):
        return True
    if not glob.has_magic(str(other)):
        return False
    pattern = str(Path(other).parent.resolve() / Path(other).name)
    resolved = str(path.parent.resolve() / path.name)
    return fnmatch(resolved, pattern) or fnmatch(resolved, pattern.replace("**/", ""))


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there yet
        return path.resolve() == other.resolve()


def _is_device(path: Path) -> bool:
    """Written to as it is, never replaced. ``/dev/stdout`` may lead to a file, and is opened like a device."""
    if str(path).startswith(DESCRIPTORS):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_free(path: Path, begins: str) -> bool:
    """Nothing is lost if it is replaced: it is not there, or empty, or an earlier one (which begins so)."""
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return not head or re.match(rb'\s*\{\s*"%b"\s*:' % begins.encode(), head) is not None


def _replace(path: Path, content: bytes) -> None:
    import tempfile

    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # as any new file; mkstemp's is for its owner alone
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
