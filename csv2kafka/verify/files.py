"""A file of lines, read back: held against the source, and hashed as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

from csv2kafka.config import RunConfig
from csv2kafka.config.option import options
from csv2kafka.errors import ConfigError
from csv2kafka.kernel import digest
from csv2kafka.model import Records
from csv2kafka.proof import FileSide
from csv2kafka.reading import Encoded
from csv2kafka.registry import output_file
from csv2kafka.sinks.file import LinesPacker
from csv2kafka.verify.expected import SHOWN_BYTES, Expected, shown

BLOCK_BYTES = 4 << 20


def output_of(config: RunConfig) -> Path | None:
    """The file to read back; None if it is a topic. ConfigError for a destination of a plug-in."""
    path = output_file(config)
    if path is None and config.output is not None:
        raise ConfigError(
            f"{options(RunConfig)['output'].label}: this destination cannot be verified, found {config.output!r}",
            hint="verify reads a topic or a file back; for others see what their package offers",
        )
    return path


async def compare_file(
    chunks: AsyncIterator[Encoded[None]], expected: Expected, path: Path
) -> tuple[str | None, FileSide]:
    """The first difference between the source and the file, in words, None if they are equal; and what was read."""
    packer, whole, size = LinesPacker(), hashlib.sha256(), 0
    loop = asyncio.get_running_loop()
    try:
        file = await loop.run_in_executor(None, lambda: path.open("rb"))
    except OSError as error:
        raise ConfigError(f"--output {path}: {error.strerror}", hint="run the job first") from error

    def held_against(records: Records) -> tuple[bytes, bool, int]:
        """The lines found, whether they are those of the rows, and the rows' hash."""
        (payload,) = packer.pack(records).payloads
        found = file.read(len(payload.body))
        if found != payload.body or not expected.hashed:
            return found, found == payload.body, 0
        whole.update(found)
        return found, True, digest(records)

    def side() -> FileSide:
        return FileSide(path=os.path.abspath(path), size=size, sha256=whole.hexdigest())  # noqa: PTH100

    with file:
        async for item in chunks:
            records = item.records
            found, equal, value = await loop.run_in_executor(None, held_against, records)
            size += len(found)
            if not equal:
                row = _first_other(records, found)
                expected.rows += row
                return _line_differs(expected, item, row, found, size - len(found)), side()
            expected.rows += len(records)
            expected.content = expected.content.extend(value, len(records))
        more = await loop.run_in_executor(None, file.read, SHOWN_BYTES)
    return f"all rows are there, but the file goes on: {shown(more)}" if more else None, side()


async def blocks_of(file: BinaryIO) -> AsyncGenerator[bytes, None]:
    """The file's bytes, read ahead of whoever works on them."""
    loop = asyncio.get_running_loop()
    coming = loop.run_in_executor(None, file.read, BLOCK_BYTES)
    try:
        while block := await coming:
            coming = loop.run_in_executor(None, file.read, BLOCK_BYTES)
            yield block
    finally:
        await asyncio.gather(coming, return_exceptions=True)


async def hash_file(file: BinaryIO, tell: Callable[[int], None]) -> tuple[int, str]:
    """Its size and the SHA-256 of all of it. ``tell``: of the bytes read so far."""
    whole, size = hashlib.sha256(), 0
    loop = asyncio.get_running_loop()
    async with aclosing(blocks_of(file)) as blocks:
        async for block in blocks:
            await loop.run_in_executor(None, whole.update, block)
            size += len(block)
            tell(size)
    return size, whole.hexdigest()


def _line_differs(expected: Expected, item: Encoded[None], row: int, found: bytes, offset: int) -> str:
    start = (item.records.value_ends[row - 1] if row else 0) + row  # each value has a line end
    wanted = next(value for _, value in item.records.rows(row, row + 1))
    line = found[start:].split(b"\n", 1)[0]
    return (
        f"{expected.place(item, row)}: differs at byte {offset + start} of the file\n"
        f"  expected {shown(wanted)}\n  {f'found    {shown(line)}' if line else 'the file ends there'}"
    )


def _first_other(records: Records, found: bytes) -> int:
    """The first row whose line is not there."""
    start = 0
    for row, (_, value) in enumerate(records.rows()):
        line = value + b"\n"
        if found[start : start + len(line)] != line:
            return row
        start += len(line)
    return len(records)
