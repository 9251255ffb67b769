"""Files on this machine: a file, a directory, a glob, or several of them, one after another in the order given.

Each file is pinned by size, modification time and a fingerprint (a hash of its first and last MiB). The text of
these is its version, which is also compared between runs. Within a run, a ``stat`` that says what it said when
the fingerprint was taken (the change time included, which no program can set) proves the file unchanged; where
it says anything else the fingerprint is taken again. So a file that was moved away and back, or restored with
its modification time, is still the same; one that was touched is not.
"""

from __future__ import annotations

import asyncio
import errno
import glob
import os
import stat
from collections.abc import AsyncIterator, Callable
from io import FileIO
from pathlib import Path
from typing import ParamSpec, TypeVar

import xxhash
from attrs import frozen

from csv2kafka.errors import ConfigError, Doubt, SourceChanged, StateContradiction
from csv2kafka.model import SourceObject
from csv2kafka.sources.globs import matches

FINGERPRINT_BYTES = 1 << 20
BLOCK_BYTES = 2 << 20

P = ParamSpec("P")
T = TypeVar("T")


@frozen(kw_only=True)
class _Pin:
    """A version, and what ``stat`` said when it was made."""

    version: str
    status: tuple[int, ...]


class LocalSource:
    """The files that ``patterns`` name: paths, directories or globs (``**`` for any depth).

    A directory gives its regular files whatever their names, those in subdirectories excepted, and those whose
    names begin with ``.`` or ``_`` (``_SUCCESS``), as Athena, Glue and Spark read one. A glob gives the regular
    files it matches. Both in natural order: ``part-2.csv`` before ``part-10.csv``. A path that exists is taken
    as it stands, even with ``*`` or ``[`` in it.
    """

    def __init__(self, *patterns: str | os.PathLike[str]) -> None:
        self._patterns = tuple(os.fspath(pattern) for pattern in patterns)
        self._pins: dict[str, _Pin] = {}

    @property
    def uri(self) -> str:
        """What was asked for, absolute; several separated by spaces."""
        return " ".join(os.path.abspath(pattern) for pattern in self._patterns)  # noqa: PTH100

    def names(self, uri: str) -> bool:
        """Whether the file, which may be gone, is one of those that were asked for."""
        return any(
            uri == asked or uri.startswith(os.path.join(asked, "")) or matches(asked, uri)  # noqa: PTH118
            for asked in map(os.path.abspath, self._patterns)
        )

    async def objects(self) -> AsyncIterator[SourceObject]:
        """The files in reading order, their absolute paths as ``uri``. ConfigError names all that is wrong."""
        for obj in await asyncio.to_thread(self._find):
            yield obj

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        """Blocks of 2 MiB from ``offset`` to the size that was pinned. Nothing before ``offset`` is read but the
        fingerprint's first MiB.

        Raises SourceChanged instead of any block that was read after a change, or at the end; Doubt when the disk
        does not answer.
        """
        if obj.size is None or offset > obj.size:
            raise StateContradiction(
                f"{obj.uri}: asked to go on at byte {offset}, but it has {obj.size}",
                hint="the checkpoint is not of this file: --restart begins at row 0",
            )
        file = await asyncio.to_thread(_guarded, obj, _open, obj.uri)
        try:
            while offset < obj.size:
                block = await asyncio.to_thread(_guarded, obj, self._block, obj, file.fileno(), offset)
                yield block
                offset += len(block)
            await asyncio.to_thread(_guarded, obj, self._check_again, obj, file.fileno())
        finally:
            file.close()

    async def confirm(self, obj: SourceObject) -> None:
        """SourceChanged if what stands at the path is no longer that version. One ``stat`` where nothing changed."""
        await asyncio.to_thread(_guarded, obj, self._confirm, obj)

    def _find(self) -> list[SourceObject]:
        problems: list[str] = [] if self._patterns else ["SOURCE: no file is named"]
        found: dict[str, str] = {}
        for pattern in self._patterns:
            paths, problem = _expand(pattern)
            if problem:
                problems.append(f"SOURCE {pattern!r}: {problem}")
            for path in paths:
                if path in found:
                    problems.append(f"SOURCE {pattern!r}: {path} is in {found[path]!r} already, and would come twice")
                found[path] = pattern
        objects = []
        for path in found:
            try:
                objects.append(self._pin(path))
            except (OSError, UnicodeEncodeError) as error:
                problems.append(f"SOURCE {path!r}: {_reason(error)}")
        if problems:
            raise ConfigError(*problems)
        return objects

    def _pin(self, path: str) -> SourceObject:
        path.encode()  # a checkpoint is JSON in UTF-8, so a name must be text
        with _open(path) as file:
            status = os.fstat(file.fileno())
            version = _version(file.fileno(), status)
        self._pins[path] = _Pin(version=version, status=_shape(status))
        return SourceObject(uri=path, size=status.st_size, version=version)

    def _block(self, obj: SourceObject, fd: int, offset: int) -> bytes:
        assert obj.size is not None
        block = os.pread(fd, min(BLOCK_BYTES, obj.size - offset), offset)
        self._check(obj, fd)  # after reading: what was read before a change is never handed on as unchanged
        if not block:
            raise SourceChanged(
                f"{obj.uri}: it ended at byte {offset}, where {obj.size} bytes were expected",
                hint="put the whole file back (with its modification time), or begin anew with --restart",
            )
        return block

    def _confirm(self, obj: SourceObject) -> None:
        pin = self._pins.get(obj.uri)
        if pin and pin.version == obj.version and pin.status == _shape(Path(obj.uri).stat()):
            return
        with _open(obj.uri) as file:
            self._check(obj, file.fileno())

    def _check(self, obj: SourceObject, fd: int) -> None:
        """SourceChanged unless the open file is ``obj``'s version: by ``stat``, if that proves it."""
        pin = self._pins.get(obj.uri)
        if pin and pin.version == obj.version and pin.status == _shape(os.fstat(fd)):
            return
        self._check_again(obj, fd)

    def _check_again(self, obj: SourceObject, fd: int) -> None:
        """The same, by the fingerprint in any case: a clock that ticks coarsely hides a quick change from stat."""
        status = os.fstat(fd)
        found = _version(fd, status)
        if found != obj.version:
            raise SourceChanged(
                f"{obj.uri}: it is no longer the version this job began with\n"
                f"  expected {obj.version}\n  found    {found}",
                hint="put that version back (with its modification time), or begin anew with --restart, "
                "or as another job with --job",
            )
        self._pins[obj.uri] = _Pin(version=found, status=_shape(status))


def _open(path: str) -> FileIO:
    return Path(path).open("rb", buffering=0)


def _version(fd: int, status: os.stat_result) -> str:
    """``size=…,mtime=<ns>,fingerprint=<hash of the first and last MiB>`` of an open file."""
    size = status.st_size
    digest = xxhash.xxh3_128(_read_fully(fd, 0, min(size, FINGERPRINT_BYTES)))
    last = max(FINGERPRINT_BYTES, size - FINGERPRINT_BYTES)
    digest.update(_read_fully(fd, last, size - last))
    return f"size={size},mtime={status.st_mtime_ns},fingerprint={digest.hexdigest()}"


def _read_fully(fd: int, offset: int, count: int) -> bytes:
    pieces = []
    while count > 0 and (piece := os.pread(fd, count, offset)):
        pieces.append(piece)
        offset, count = offset + len(piece), count - len(piece)
    return b"".join(pieces)


def _shape(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _expand(pattern: str) -> tuple[list[str], str]:
    """Absolute paths of the files a pattern names, in order; and what is wrong, or an empty text."""
    path = Path(pattern)
    try:
        status = path.stat()
    except ValueError:
        return [], "a path has no zero byte in it"
    except OSError as error:
        if glob.has_magic(pattern):
            return _matches(pattern)
        return [], _reason(error)
    if stat.S_ISDIR(status.st_mode):
        return _inside(path)
    if not stat.S_ISREG(status.st_mode):
        return [], "not a regular file, so it cannot be read again after a crash (a pipe: give it to `-`)"
    return [os.path.abspath(pattern)], ""  # noqa: PTH100 (`..` is to be resolved, links are not)


def _matches(pattern: str) -> tuple[list[str], str]:
    # glob.glob, not Path.glob: the latter takes hidden files for `*`, unlike any shell
    found = [os.path.abspath(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()]  # noqa: PTH100, PTH207
    return _in_order(found), "" if found else "no file matches"


def _inside(directory: Path) -> tuple[list[str], str]:
    try:
        entries = [entry for entry in directory.iterdir() if not entry.name.startswith((".", "_"))]
        found = [os.path.abspath(entry) for entry in entries if entry.is_file()]  # noqa: PTH100
    except OSError as error:
        return [], _reason(error)
    if found:
        return _in_order(found), ""
    below = sum(entry.is_dir() for entry in entries)
    hint = f" ({below} subdirectories are not looked into: {directory}/**/*.csv would)" if below else ""
    return [], "a directory without files in it" + hint


def _in_order(paths: list[str]) -> list[str]:
    from natsort import natsorted, ns  # late, because most runs are of files by name

    return natsorted(sorted(set(paths)), alg=ns.PATH)  # sorted first: part-1 and part-01 are equal to natsort


def _reason(error: OSError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "its name is not text in UTF-8: rename it"
    reasons = {errno.ENOENT: "no such file or directory", errno.EACCES: "no permission to read it"}
    return reasons.get(error.errno or 0, (error.strerror or str(error)).lower())


def _guarded(obj: SourceObject, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call's result; what the system refuses becomes an error of this package."""
    try:
        return call(*args, **kwargs)
    except FileNotFoundError as error:
        raise SourceChanged(
            f"{obj.uri}: it is gone; this job began with {obj.version}",
            hint="put it back and run the same command again",
        ) from error
    except PermissionError as error:
        raise ConfigError(
            f"SOURCE {obj.uri!r}: no permission to read it any more",
            hint="give the permission back and run the same command again",
        ) from error
    except OSError as error:
        raise Doubt(f"{obj.uri}: {_reason(error)}", hint="see whether its disk or network mount answers") from error
