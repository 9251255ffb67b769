"""A source whose objects are bytes in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import xxhash

from csv2kafka.errors import SourceChanged
from csv2kafka.model import SourceObject
from csv2kafka.testing.faults import Faults


class FakeSource:
    """``objects``: URI to content, in reading order. ``faults``: at ``objects``, ``read`` (each block), ``confirm``.

    ``bytes_read`` counts what was read of each object; ``change`` gives one another content.
    """

    def __init__(
        self, objects: Mapping[str, bytes], *, uri: str = "fake:", block_bytes: int = 1 << 20, replayable: bool = True
    ) -> None:
        self.faults = Faults()
        self.bytes_read = dict.fromkeys(objects, 0)
        self._uri = uri
        self._contents = dict(objects)
        self._block_bytes = block_bytes
        self._replayable = replayable

    @property
    def uri(self) -> str:
        return self._uri

    def change(self, uri: str, content: bytes) -> None:
        self._contents[uri] = content

    async def objects(self) -> AsyncIterator[SourceObject]:
        async with self.faults.around("objects"):
            found = list(self._contents)
        for uri in found:
            yield self._pinned(uri)

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        self._check(obj)
        size = len(self._contents[obj.uri])
        while offset < size:
            async with self.faults.around("read"):
                await asyncio.sleep(0)
                self._check(obj)
                block = self._contents[obj.uri][offset : offset + self._block_bytes]
            self.bytes_read[obj.uri] += len(block)
            offset += len(block)
            yield block

    async def confirm(self, obj: SourceObject) -> None:
        async with self.faults.around("confirm"):
            self._check(obj)

    def _pinned(self, uri: str) -> SourceObject:
        content = self._contents[uri]
        version = f"size={len(content)},fingerprint={xxhash.xxh3_128_hexdigest(content)}"
        size = len(content) if self._replayable else None
        return SourceObject(uri=uri, size=size, version=version, replayable=self._replayable)

    def _check(self, obj: SourceObject) -> None:
        found = self._pinned(obj.uri).version
        if found != obj.version:
            raise SourceChanged(f"{obj.uri}: expected {obj.version}, found {found}")
