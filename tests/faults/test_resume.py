"""Going on at 90 % of a large file reads nothing of the first 90 %, but for the fingerprint's first MiB."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csv2kafka.model import Committed, Event
from csv2kafka.pipeline import Pipeline
from csv2kafka.sinks.file import FileSink
from csv2kafka.sources.local import FINGERPRINT_BYTES, LocalSource
from csv2kafka.testing import MemoryStore
from tests.faults.installed import Installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 700_000
MEBIBYTE = 1 << 20


def row(number: int) -> bytes:
    return b"%d,name %d,%s\n" % (number, number, b"x" * 50)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """About 50 MB. The row at 90 % has a field too few."""
    path = tmp_path_factory.mktemp("large") / "rows.csv"
    bad = ROWS * 9 // 10
    with path.open("wb") as file:
        file.write(b"id,name,note\n")
        file.writelines(row(number) for number in range(bad))
        file.write(b"bad\n")
        file.writelines(row(number) for number in range(bad, ROWS))
    yield path
    path.unlink()


async def test_counted_by_every_read_of_the_file(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, reads = large.stat().st_size, list[tuple[int, int]]()
    store, output = MemoryStore(), tmp_path / "rows.jsonl"

    def pipeline() -> Pipeline:
        return Pipeline(
            LocalSource(large),
            FileSink(output),
            store,
            job="job",
            on_bad_row="skip",
            on_event=watch,
            checkpoint_rows=10_000,
        )

    def watch(event: Event) -> None:
        if isinstance(event, Committed) and event.checkpoint.counts.bytes >= 0.9 * size and not run.done():
            run.cancel()

    first = pipeline()
    run = asyncio.create_task(first.run())
    with pytest.raises(asyncio.CancelledError):
        await run
    done = first.report.checkpoint.position.resume.offset
    assert 0.9 * size <= done < 0.95 * size

    pread = os.pread

    def counting(file: int, count: int, offset: int) -> bytes:
        data = pread(file, count, offset)
        if Path(f"/proc/self/fd/{file}").resolve() == large.resolve():
            reads.append((offset, offset + len(data)))
        return data

    monkeypatch.setattr(os, "pread", counting)
    report = await pipeline().run()
    assert (report.checkpoint.counts.rows, report.checkpoint.counts.bad_rows) == (ROWS, 1)
    assert report.resumed_from_row > 0.85 * ROWS
    assert reads
    assert [span for span in reads if span[1] > FINGERPRINT_BYTES and span[0] < done] == []
    # What is left, and the fingerprint (two MiB) when the file is pinned and when it has been read.
    assert sum(end - begin for begin, end in reads) == size - done + 2 * 2 * FINGERPRINT_BYTES


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count what a process reads")
def test_counted_by_the_system(large: Path, tmp_path: Path) -> None:
    """The installed command, stopped by the bad row and started again under another policy."""
    small = tmp_path / "small.csv"
    small.write_bytes(b"id,name,note\n" + row(0))
    started = read_by(small, tmp_path / "small.jsonl", tmp_path)
    output = tmp_path / "rows.jsonl"
    read_by(large, output, tmp_path, code=65)
    assert output.read_bytes().count(b"\n") == ROWS * 9 // 10
    read = read_by(large, output, tmp_path, "--on-bad-row", "skip") - started
    assert output.read_bytes().count(b"\n") == ROWS
    assert read < 0.1 * large.stat().st_size + 6 * MEBIBYTE


def read_by(source: Path, output: Path, directory: Path, *more: str, code: int = 0) -> int:
    """Bytes that a run read, all in all: of its program's files, too."""
    arguments = ["run", str(source), "-o", str(output), "--progress", "none", *more]
    run = Installed(arguments, directory).start()
    os.waitid(os.P_PID, run.process.pid, os.WEXITED | os.WNOWAIT)
    counters = Path(f"/proc/{run.process.pid}/io").read_text().splitlines()
    assert run.end() == code, run.output
    return int(dict(line.split(": ") for line in counters)["rchar"])
