"""A file of lines: each row's value and a newline, exactly once, with the guarantees of the Kafka sink.

The checkpoint names the length that is committed. What a crash left behind it is cut off on open; file and
directory are on the disk before a checkpoint is given back. While a run has the output it holds a ``flock`` on
it, which ends with the process however that ends.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, frozen

from csv2kafka.errors import Csv2KafkaError, Doubt, StaleLease, TakenOver
from csv2kafka.model import Checkpoint, Completion, DeadLetter, Packed, Payload, Records, Target
from csv2kafka.model.findings import Finding, Forecast
from csv2kafka.protocols import LEASE_SECONDS, Job, Lease
from csv2kafka.sinks.output import Output

CLOSE_SECONDS = 5.0
LOCK_SECONDS = 2 * LEASE_SECONDS

T = TypeVar("T")


class FileSink:
    """Rows into the file at ``path``, refused rows into ``path`` + ``.bad`` (made with the first of them).

    Lines hold values only: keys have no place in them. A raw row with a newline in quotes stands as it is, over
    several lines. ``restart`` empties both files with its first row or commit, unlike Kafka, where old records stay.
    A file with something in it that no checkpoint knows is never touched without it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path).absolute()
        self._locked_since: float | None = None  # loop time since when another process has it

    @property
    def destination(self) -> str:
        return f"file {self._path}"

    @property
    def files(self) -> tuple[Path, Path]:
        """What is written: rows, refused rows. No source may be one of them."""
        return self._path, Path(f"{self._path}.bad")

    @property
    def settings(self) -> dict[str, str]:
        return {"output": str(self._path)}

    @asynccontextmanager
    async def open(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> AsyncIterator[_Session]:
        """Lock the file, hold it against the checkpoint, cut off what is not committed.

        Raises TakenOver if another run has the file; ConfigError if it cannot be one, or has foreign content;
        StateContradiction if it is not the file of the checkpoint, or shorter; Unreachable for a full disk.
        """
        if lease is not None:
            await lease.renew()
        session = _Session(Output(self._path))
        try:
            try:
                await session.begin(job, stored, lease)
            except StaleLease:
                raise
            except TakenOver as error:
                raise self._locked_by_another(error, lease) from error
            self._locked_since = None
            yield session
        finally:
            await session.close()

    async def preflight(self, job: Job, stored: Checkpoint | None, forecast: Forecast) -> AsyncIterator[Finding]:
        """See protocols.Sink. The lock is not tried: that would be taking it."""
        try:
            await asyncio.to_thread(Output(self._path).look, job, stored)
            free = (await asyncio.to_thread(shutil.disk_usage, self._path.parent)).free
        except Csv2KafkaError as error:
            yield Finding.failed("output", error)
            return
        size = forecast.value_bytes
        room = f"{self._path}: it can be written, {free:,} bytes are free there"
        if size is None:
            yield Finding.passed("output", room)
        elif size > free:
            yield Finding.warned("output", f"{room}, and the rows take about {size:,}", "make room, or give another")
        else:
            yield Finding.passed("output", f"{room}; the rows take about {size:,}")

    def _locked_by_another(self, error: TakenOver, lease: Lease | None) -> Csv2KafkaError:
        """A run that was stopped past its lease still has the lock; waking, it finds the lease lost and ends. So
        whoever has the lease now waits for it, for a while: if both left, nobody would go on."""
        now = asyncio.get_running_loop().time()
        self._locked_since = now if self._locked_since is None else self._locked_since
        if lease is None or now - self._locked_since > LOCK_SECONDS:
            return error
        return Doubt(error.message, hint=error.hint)


class _Session:
    """See protocols.SinkSession. Each blocking call runs in a thread, one at a time, and is never cut short."""

    resume_from: Checkpoint

    def __init__(self, output: Output) -> None:
        self.packer = LinesPacker()
        self._output = output
        self._running: asyncio.Future[Any] | None = None

    async def begin(self, job: Job, stored: Checkpoint | None, lease: Lease | None) -> None:
        """The lease is asked for again under the lock: a run that was stopped before it took it, and wakes when
        another has done the work and gone, would cut off what that one wrote."""
        await self._threaded(lambda: self._output.lock(job, stored))
        try:
            if lease is not None:
                await lease.renew()
        except BaseException:
            await self._threaded(self._output.leave_as_it_was)
            raise
        self.resume_from = await self._threaded(lambda: self._output.open(job, stored))

    async def standing(self) -> AsyncIterator[Records]:
        """Nothing: what was not committed has been cut off."""
        nothing: tuple[Records, ...] = ()
        for records in nothing:
            yield records

    async def write(self, payload: Payload) -> None:
        await self._threaded(lambda: self._output.write(payload.target, payload.body))

    async def commit(self, checkpoint: Checkpoint, completion: Completion | None = None) -> Checkpoint:
        """Both files are on the disk on return. A completion event has no place in a file and is not written."""
        return evolve(checkpoint, sink=await self._threaded(self._output.commit))

    async def close(self) -> None:
        """Give the file back. A call that still hangs after CLOSE_SECONDS (a dead mount) keeps it until it ends:
        closing it under that call would let it write into whatever gets its descriptor next."""
        running = self._running
        if running is not None and not running.done():
            await asyncio.wait({running}, timeout=CLOSE_SECONDS)
            if not running.done():
                running.add_done_callback(lambda _: self._output.close())
                return
        self._output.close()

    async def _threaded(self, call: Callable[[], T]) -> T:
        running = asyncio.ensure_future(asyncio.to_thread(call))
        self._running = running
        return await asyncio.shield(running)  # cancelled, it goes on, and close() waits for it


@frozen(kw_only=True)
class LinesPacker:
    """Values to lines. There is no size limit, so nothing is too large."""

    limit: None = None

    def pack(self, records: Records, first: int = 0, last: int | None = None) -> Packed:
        stop = len(records) if last is None else last
        if first >= stop:
            return Packed(payloads=())
        values, start = memoryview(records.values), records.value_ends[first - 1] if first else 0
        lines: list[memoryview | bytes] = []
        for end in records.value_ends[first:stop]:
            lines.append(values[start:end])
            start = end
        lines.append(b"")
        return Packed(payloads=(Payload(target=Target.DATA, body=b"\n".join(lines), first=first, last=stop),))

    def pack_dead_letters(self, rows: Sequence[DeadLetter]) -> tuple[Payload, ...]:
        """One JSON object per row: source, row, line, byte, reason, and value, or value_base64 if it is not UTF-8."""
        body = b"".join(_dead_letter_line(row) for row in rows)
        return (Payload(target=Target.DEAD_LETTER, body=body, first=0, last=len(rows)),) if rows else ()


def _dead_letter_line(row: DeadLetter) -> bytes:
    line: dict[str, str | int] = {
        "source": row.source,
        "row": row.row,
        "line": row.line,
        "byte": row.byte,
        "reason": row.reason,
    }
    try:
        line["value"] = row.value.decode()
    except UnicodeDecodeError:
        line["value_base64"] = base64.b64encode(row.value).decode()
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
