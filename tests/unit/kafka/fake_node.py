"""A node that speaks Kafka's framing and says what a test wants, so that a client can be tried without Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Mapping
from typing import Self

from csv2kafka.kafka.wire import REQUESTS

API_VERSIONS = 18
VERSIONS = {request.API_KEY: (request.API_VERSION, request.API_VERSION) for request in REQUESTS}
_NAMES = {request.API_KEY: request.NAME for request in REQUESTS}

Says = Callable[[bytes], bytes | None]  # a request's body → its answer's, without header; None: nothing, ever


class FakeNode:
    """``says``: by request name. ``requests``: (connection, name, body) of all that came, in order."""

    def __init__(
        self, says: Mapping[str, Says] | None = None, *, versions: Mapping[int, tuple[int, int]] = VERSIONS
    ) -> None:
        self.says = dict(says or {})
        self.requests: list[tuple[int, str, bytes]] = []
        self.connections = 0
        self.port = 0
        self._versions = versions
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def hang_up(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def count(self, name: str) -> int:
        return sum(one == name for _, one, _ in self.requests)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.ensure_future(self._serve(self.connections, reader, writer))
        self._tasks.add(task)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                frame = await reader.readexactly(size)
                key, _, correlation_id, client = struct.unpack_from(">hhih", frame)
                flexible = _NAMES.get(key) == "Metadata"
                body = frame[10 + client + flexible :]
                answer = self._answer(number, key, body)
                if answer is not None:
                    answer = struct.pack(">i", correlation_id) + (b"\0" if flexible else b"") + answer
                    writer.write(struct.pack(">i", len(answer)) + answer)

    def _answer(self, number: int, key: int, body: bytes) -> bytes | None:
        if key == API_VERSIONS:
            ranges = [*self._versions.items(), (API_VERSIONS, (0, 2))]
            listed = b"".join(struct.pack(">hhh", one, low, high) for one, (low, high) in ranges)
            return struct.pack(">hi", 0, len(ranges)) + listed + struct.pack(">i", 0)
        name = _NAMES[key]
        self.requests.append((number, name, body))
        return self.says[name](body)
