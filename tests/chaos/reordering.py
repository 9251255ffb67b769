"""A proxy in which two answers on one connection change places."""

from __future__ import annotations

import asyncio

from attrs import define

from tests.faults.proxy import FaultProxy, _Pending, _Tunnel


class Reordering(FaultProxy):
    """``swaps``: still to be done."""

    swaps: int = 0

    def swap_next(self) -> None:
        """The next two answers of a connection that has two on the way."""
        self.swaps += 1

    async def stand_in_for(self, host: str, port: int) -> tuple[str, int]:
        if (host, port) in self._servers:
            return await super().stand_in_for(host, port)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._connections += 1
            tunnel = _Swapping(proxy=self, number=self._connections, client=(reader, writer), broker=(host, port))
            task = self._tunnels[tunnel] = asyncio.ensure_future(tunnel.run())
            task.add_done_callback(lambda _: self._tunnels.pop(tunnel, None))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers[host, port] = (server, server.sockets[0].getsockname()[1])
        return await super().stand_in_for(host, port)


@define(eq=False)
class _Swapping(_Tunnel):
    _held: tuple[_Pending, bytes] | None = None

    async def _pass_on(self, pending: _Pending, frame: bytes) -> None:
        assert isinstance(self.proxy, Reordering)
        if self._held is not None:
            held, self._held = self._held, None
            self.proxy.swaps -= 1
            await super()._pass_on(pending, frame)
            await super()._pass_on(*held)
        elif self.proxy.swaps > 0 and self._pending:
            self._held = (pending, frame)
        else:
            await super()._pass_on(pending, frame)
