"""Columns of numbers as they go to and come from Rust."""

from __future__ import annotations


def numbers(column: bytes) -> memoryview[int]:
    """Native uint32 in bytes, as ints."""
    return memoryview(column).cast("I")
