"""Cutting a column into the bytes of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import Buffer


def slices(buffer: Buffer, ends: Sequence[int], first: int, last: int) -> list[bytes]:
    """The bytes of rows ``first`` to ``last`` (excluded), each on its own."""
    data = buffer if isinstance(buffer, bytes) else bytes(memoryview(buffer))
    stops = list(ends[first:last])
    starts = [ends[first - 1] if first else 0, *stops]
    return [data[start:stop] for start, stop in zip(starts, stops, strict=False)]
