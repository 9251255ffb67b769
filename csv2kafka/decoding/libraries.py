"""bzip2, xz and zstd: a library does each member, from its magic to its check sum."""

from __future__ import annotations

import bz2
import lzma
import sys
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

from csv2kafka.decoding.compression import CODECS, Point
from csv2kafka.decoding.members import Damaged, Expander

FED_BYTES = 64 << 10  # given to a library at once: what it may keep
STEP_BYTES = 128 << 10  # asked of a library at once: of what stands in front of damage so much may be lost
XZ_MEMORY_BYTES = 256 << 20  # xz -9 asks for 65 MiB


class _Decompressor(Protocol):
    """As the standard library's have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _WithLibrary(Expander):
    _library: _Decompressor
    _error: type[Exception]

    @abstractmethod
    def _make(self) -> _Decompressor: ...

    def _enter(self) -> None:
        self._library = self._make()

    def _inside(self, limit: int) -> bytes:
        made = b""
        while not made and self._within:
            fed = b""
            if self._library.needs_input:
                fed = self._data[self._used : self._used + FED_BYTES]
                if not fed:
                    return b""
            try:
                made = self._library.decompress(fed, min(limit, STEP_BYTES))
            except (self._error, EOFError, ValueError) as error:
                raise Damaged(
                    f"the {self.codec.unit} that begins at byte {self._began_at} is damaged: {error}",
                    self.offset,
                ) from error
            self._used += len(fed)
            if self._library.eof:
                self._used -= len(self._library.unused_data)
                self._within = False
        return made


class Bzip2(_WithLibrary):
    codec = next(codec for codec in CODECS if codec.name == "bzip2")
    _error = OSError

    def _make(self) -> _Decompressor:
        return bz2.BZ2Decompressor()


class Xz(_WithLibrary):
    codec = next(codec for codec in CODECS if codec.name == "xz")
    _error = lzma.LZMAError

    def _make(self) -> _Decompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


class Zstd(_WithLibrary):
    codec = next(codec for codec in CODECS if codec.name == "zstd")

    def __init__(self, point: Point, extra: Mapping[str, Any]) -> None:
        super().__init__(point, extra)
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        self._error = zstd.ZstdError
        self._type = zstd.ZstdDecompressor

    def _make(self) -> _Decompressor:
        return self._type()
