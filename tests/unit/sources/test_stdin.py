"""Standard input: pipes that stall, trickle and flood, files and devices, once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from csv2kafka.errors import ConfigError, Unreachable
from csv2kafka.model import SourceObject
from csv2kafka.sources.stdin import BLOCK_BYTES, StdinSource


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Read end, write end. A test that closes the write end itself duplicates it."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


async def the_object(source: StdinSource) -> SourceObject:
    (obj,) = [obj async for obj in source.objects()]
    return obj


async def test_it_is_one_object_of_unknown_size_and_new_in_each_run(pipe: tuple[int, int]) -> None:
    source = StdinSource(fd=pipe[0])
    obj = await the_object(source)
    assert (obj.uri, obj.size, obj.replayable, source.uri) == ("-", None, False, "-")
    assert obj.version != (await the_object(StdinSource(fd=pipe[0]))).version


async def test_a_flood_comes_in_whole_blocks() -> None:
    content = os.urandom(1 << 20) * 5 + b"end"
    end, other = os.pipe()

    def flood() -> None:
        with os.fdopen(other, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=flood)
    writer.start()
    source = StdinSource(fd=end)
    blocks = [block async for block in source.read(await the_object(source), 0)]
    await asyncio.to_thread(writer.join)
    os.close(end)
    assert b"".join(blocks) == content
    assert max(map(len, blocks)) <= BLOCK_BYTES


async def test_a_trickle_is_given_on_without_waiting_for_more(pipe: tuple[int, int]) -> None:
    source = StdinSource(fd=pipe[0])
    reading = source.read(await the_object(source), 0)
    for line in (b"a,b\n", b"1,2\n"):
        os.write(pipe[1], line)
        assert await asyncio.wait_for(anext(reading), 30) == line
    await reading.aclose()  # type: ignore[attr-defined]


async def test_waiting_on_a_pipe_that_stalls_can_be_cancelled_and_leaves_nothing(pipe: tuple[int, int]) -> None:
    source = StdinSource(fd=pipe[0])
    reading = source.read(await the_object(source), 0)
    waiting = asyncio.ensure_future(anext(reading))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=30)
    assert waiting.cancelled()
    assert not asyncio.get_running_loop().remove_reader(pipe[0]), "the loop still watched it"
    assert os.get_blocking(pipe[0]), "the mode is shared with the other programs of a terminal"


async def test_it_cannot_be_read_again_nor_from_elsewhere(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"a\n")
    source = StdinSource(fd=pipe[0])
    obj = await the_object(source)
    with pytest.raises(Unreachable, match="cannot be read again"):
        await anext(source.read(obj, 2))
    reading = source.read(obj, 0)
    await anext(reading)
    await reading.aclose()  # type: ignore[attr-defined]
    with pytest.raises(Unreachable, match="cannot be read again"):
        await anext(source.read(obj, 0))


async def test_a_file_or_device_serves_too(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n" * BLOCK_BYTES)
    for name, expected in ((str(path), path.read_bytes()), ("/dev/null", b"")):
        with Path(name).open("rb") as file:
            source = StdinSource(fd=file.fileno())
            obj = await the_object(source)
            assert b"".join([block async for block in source.read(obj, 0)]) == expected


async def test_closed_or_a_directory(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ConfigError, match="is a directory"):
        await the_object(StdinSource(fd=directory))
    os.close(directory)
    with pytest.raises(ConfigError, match="is closed"):
        await the_object(StdinSource(fd=directory))


def test_a_process_whose_input_stalls_ends_when_it_is_told_to() -> None:
    program = """
import asyncio, signal
from csv2kafka.sources.stdin import StdinSource

async def main():
    task = asyncio.current_task()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    source = StdinSource()
    (obj,) = [obj async for obj in source.objects()]
    async for block in source.read(obj, 0):
        print(len(block), flush=True)

try:
    asyncio.run(main())
except asyncio.CancelledError:
    raise SystemExit(75)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b"a,b\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"4\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 75, "no thread keeps it from ending"
        finally:
            process.kill()
