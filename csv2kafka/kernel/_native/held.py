"""Rows that Rust keeps, as the records of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define

from csv2kafka.kernel import _rust
from csv2kafka.kernel._native.columns import numbers
from csv2kafka.model import Records
from csv2kafka.model.flow import HeldRows

if TYPE_CHECKING:
    from csv2kafka.kernel._rust import Plain


@define(eq=False)
class NativeRows(HeldRows):
    """Values and keys are made once, when first asked for."""

    rows: _rust.Rows
    _values: bytes | None = None
    _keys: bytes | None = None

    @property
    def size(self) -> int:
        return self.rows.size

    def values(self) -> bytes:
        if self._values is None:
            self._values = self.rows.values()
        return self._values

    def keys(self) -> bytes | None:
        if self._keys is None:
            self._keys = self.rows.keys()
        return self._keys


def records_of(rows: _rust.Rows, **more: Any) -> Records:
    """Records of rows that Rust keeps. ``more``: what else they have."""
    key_ends = rows.key_ends()
    return Records(
        values=NativeRows(rows),
        value_ends=numbers(rows.value_ends()),
        key_ends=None if key_ends is None else numbers(key_ends),
        **more,
    )


def rows_of(records: Records) -> _rust.Rows | Plain:
    """Records as Rust takes them."""
    held = records.held
    if isinstance(held, NativeRows):
        return held.rows
    return records.values, records.value_ends, records.keys, records.key_ends
