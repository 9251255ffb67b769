"""The file sink's files: lock, cut, write, sync. Plain blocking calls, made in worker threads, one at a time.

What proves that a file is the checkpoint's: its inode, and a hash of the last 64 KiB before the committed length,
because inodes are soon given to other files. Not the device number, though it is recorded: on NFS, btrfs and
LVM it is another after a reboot.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import xxhash
from attrs import evolve

from csv2kafka.errors import ConfigError, StateContradiction, TakenOver, Unreachable
from csv2kafka.model import Checkpoint, SinkState, Target
from csv2kafka.protocols import Job

TAIL_BYTES = 1 << 16
RESTART = "put the right file back, or begin anew with --restart (what the file holds is lost then)"


class Output:
    """``path`` and ``path.bad``. Their lengths are counted here, so that somebody else's writing is seen."""

    def __init__(self, path: Path) -> None:
        self._paths = {Target.DATA: path, Target.DEAD_LETTER: Path(f"{path}.bad")}
        self._files: dict[Target, int] = {}
        self._lengths: dict[Target, int] = {}
        self._unsynced: set[Target] = set()
        self._made = False  # by taking the lock
        self._to_be_cut = False

    def lock(self, job: Job, stored: Checkpoint | None) -> None:
        """Nobody else can write from here on."""
        path = self._paths[Target.DATA]
        with _explained(path):
            self._check_paths(_committed(None if job.restart else stored))
            self._made = not path.exists()
            self._files[Target.DATA] = _locked(path)

    def leave_as_it_was(self) -> None:
        """In place of ``open``."""
        if self._made:
            self._paths[Target.DATA].unlink(missing_ok=True)

    def open(self, job: Job, stored: Checkpoint | None) -> Checkpoint:
        """Check, cut. Gives the checkpoint that counts; nothing is changed where it raises.

        What ``restart`` gives up is cut off by the first ``write`` or ``commit``: by then the checkpoint is saved, and
        a run killed before it leaves the old checkpoint with the old content.
        """
        path = self._paths[Target.DATA]
        with _explained(path):
            known = None if job.restart else stored
            committed = _committed(known)
            if not job.restart:
                try:
                    self._check_content(known, committed)
                except BaseException:
                    self.leave_as_it_was()
                    raise
            self._lengths, self._to_be_cut = dict(committed), True
            if not job.restart:
                self._cut()
        state = self._state()
        if known is not None:
            return evolve(known, sink=state)
        generation = job.start.generation if stored is None else max(job.start.generation, stored.generation + 1)
        return evolve(job.start, generation=generation, sink=state)

    def look(self, job: Job, stored: Checkpoint | None) -> None:
        """Raises what ``open`` would, as far as that is seen without opening."""
        path = self._paths[Target.DATA]
        with _explained(path):
            known = None if job.restart else stored
            committed = _committed(known)
            self._check_paths(committed)
            if not job.restart:
                self._check_sizes(known, committed)
            written = path if path.exists() else path.parent
            if not written.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(written))
            if not os.access(written, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(written))

    def write(self, target: Target, body: bytes | bytearray) -> None:
        """Append, to the system's cache."""
        path = self._paths[target]
        with _explained(path):
            self._cut()
            if target not in self._files:
                self._files[target] = _opened(path)
                _sync_directory(path.parent)
            self._unsynced.add(target)
            rest, offset = memoryview(body), self._lengths[target]
            while rest:
                written = os.pwrite(self._files[target], rest, offset)
                rest, offset = rest[written:], offset + written
            self._lengths[target] = offset

    def commit(self) -> SinkState:
        """All that was written is on the disk. StateContradiction if somebody else has put his hands on the files."""
        with _explained(self._paths[Target.DATA]):
            self._cut()
        for target, file in self._files.items():
            path = self._paths[target]
            with _explained(path):
                size = os.fstat(file).st_size
                if size != self._lengths[target] or not _stands_at(path, file):
                    raise StateContradiction(
                        f"{path}: {self._lengths[target]} bytes are written, but it has {size}"
                        if size != self._lengths[target]
                        else f"{path}: another file has been put in its place, or it was deleted",
                        hint="nothing else may write, move or delete it while a run has it; "
                        "run the same command again if that was undone, or with --restart",
                    )
                if target in self._unsynced:
                    _sync(file)
            self._unsynced.discard(target)
        return self._state()

    def close(self) -> None:
        """Give files and lock back."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _check_paths(self, committed: dict[Target, int]) -> None:
        """What can be seen without opening: no such directory, not a file, gone."""
        for target, path in self._paths.items():
            try:
                status = path.stat()
            except FileNotFoundError:
                if committed[target]:
                    raise StateContradiction(
                        f"{path}: it is gone, and the checkpoint says that {committed[target]} bytes of it are done",
                        hint=RESTART,
                    ) from None
                continue
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(
                    f"--output: {path} is not a regular file, so nothing can be cut off after a crash",
                    hint="give a file; for a pipe, read the file once the run has ended",
                )

    def _check_sizes(self, known: Checkpoint | None, committed: dict[Target, int]) -> None:
        sizes = {target: path.stat().st_size if path.exists() else 0 for target, path in self._paths.items()}
        for target, length in committed.items():
            if known is None and sizes[target]:
                raise ConfigError(
                    f"--output: {self._paths[target]} has {sizes[target]} bytes already, and no checkpoint of this job "
                    "says what they are",
                    hint="give another file, or --restart to overwrite it",
                )
            if sizes[target] < length:
                raise StateContradiction(
                    f"{self._paths[target]}: it has {sizes[target]} bytes, and the checkpoint says {length} are done",
                    hint=RESTART,
                )

    def _check_content(self, known: Checkpoint | None, committed: dict[Target, int]) -> None:
        self._check_sizes(known, committed)
        if known is None:
            return
        path = self._paths[Target.DATA]
        size = os.fstat(self._files[Target.DATA]).st_size
        expected, found = known.sink.destination_id, _identity(os.fstat(self._files[Target.DATA]))
        if size and _inode(expected) != _inode(found):
            raise StateContradiction(
                f"{path}: it is another file than the checkpoint's: expected {expected}, found {found} (a copy is "
                "another file, too)",
                hint=RESTART,
            )
        if any(committed.values()) and self._fingerprint(committed) != known.sink.fingerprint:
            raise StateContradiction(
                f"{path}: its committed {committed[Target.DATA]} bytes do not end as this job wrote them: "
                "something else has written to it",
                hint=RESTART,
            )

    def _cut(self) -> None:
        """What stands behind the committed lengths is off; once."""
        if not self._to_be_cut:
            return
        bad = self._paths[Target.DEAD_LETTER]
        if bad.exists():
            self._files[Target.DEAD_LETTER] = _opened(bad)
        for target, file in self._files.items():
            os.ftruncate(file, self._lengths[target])
            _sync(file)
        _sync_directory(bad.parent)
        self._to_be_cut = False

    def _state(self) -> SinkState:
        return SinkState(
            offsets={target.value: length for target, length in self._lengths.items()},
            first_offset=0,
            destination_id=_identity(os.fstat(self._files[Target.DATA])),
            fingerprint=self._fingerprint(self._lengths),
        )

    def _fingerprint(self, lengths: dict[Target, int]) -> str:
        """A hash of the last 64 KiB before each length; empty where nothing is written."""
        if not any(lengths.values()):
            return ""
        digest = xxhash.xxh3_128()
        for target, path in self._paths.items():
            if length := lengths[target]:
                start = max(0, length - TAIL_BYTES)
                with path.open("rb") as file:
                    digest.update(os.pread(file.fileno(), length - start, start))
        return digest.hexdigest()


def _committed(checkpoint: Checkpoint | None) -> dict[Target, int]:
    offsets = {} if checkpoint is None else checkpoint.sink.offsets
    return {target: offsets.get(target.value, 0) for target in (Target.DATA, Target.DEAD_LETTER)}


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _locked(path: Path) -> int:
    """The open file, with the lock on what stands at ``path`` now."""
    for _ in range(10):
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.fstat(file))
            os.close(file)
            raise TakenOver(
                f"{path}: another run writes to it ({holder})",
                hint="wait for it, or end it: its lock ends with its process",
            ) from None
        if _stands_at(path, file):
            return file
        os.close(file)  # moved away between opening and locking
    raise StateContradiction(
        f"{path}: something keeps putting other files in its place",
        hint="nothing else may write, move or delete it while a run has it",
    )


def _holder(status: os.stat_result) -> str:
    """Who has the lock, as Linux tells it; elsewhere nobody does."""
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == wanted:
                return f"process {fields[4]}"
    return "process unknown"


def _stands_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _identity(status: os.stat_result) -> str:
    return f"device={status.st_dev},inode={status.st_ino}"


def _inode(identity: str) -> str:
    return identity.partition(",inode=")[2]


def _sync(file: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone leaves it in the drive's cache
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fsync(file)


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the system refuses, as an error of this package. A full disk stops the run: it takes a person, and
    the same command goes on where it stopped."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Unreachable(
                f"{path}: {reason}", hint="make room and run the same command again: it goes on at the last commit"
            ) from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ConfigError(f"--output: {path}: no such directory", hint="make it first") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR):
            raise ConfigError(f"--output: {path}: {reason}") from error
        raise Unreachable(f"{path}: {reason}", hint="see to its disk, and run the same command again") from error
