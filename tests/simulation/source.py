"""The world's source: a CSV of a schedule's rows, read in small blocks, which can fail, or become another version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from attrs import define

from csv2kafka.errors import Doubt, SourceChanged
from csv2kafka.model import SourceObject
from tests.simulation.schedule import Schedule

if TYPE_CHECKING:
    from tests.simulation.world import World

BLOCK_BYTES = 40
BAD_ROW = b"%d,bad,%d\n"


def csv_of(schedule: Schedule, version: int = 0) -> dict[str, bytes]:
    """The source's objects. Another version has other rows."""
    lines = []
    for row in range(schedule.rows + 1):
        lines += [BAD_ROW % (row, row)] * schedule.bad.count(row)
        if row < schedule.rows:
            lines.append(b"%d,name %d\n" % (row + 1000 * version, row))
    cut = len(lines) // schedule.objects
    parts = [lines] if schedule.objects == 1 else [lines[:cut], lines[cut:]]
    return {f"part-{number}.csv": b"id,name\n" + b"".join(part) for number, part in enumerate(parts)}


def rows_of(schedule: Schedule) -> list[bytes]:
    return [b'{"id":"%d","name":"name %d"}' % (row, row) for row in range(schedule.rows)]


def bad_of(schedule: Schedule) -> list[bytes]:
    return [(BAD_ROW % (row, row)).rstrip() for row in schedule.bad]


@define(eq=False)
class SimulatedSource:
    """The world's objects, as they are when they are read."""

    world: World
    uri: str = "simulated:"

    async def objects(self) -> AsyncIterator[SourceObject]:
        for uri, content in list(self.world.objects.items()):
            yield SourceObject(uri=uri, size=len(content), version=f"v{self.world.version}")

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        world = self.world
        while offset < len(world.objects[obj.uri]):
            world.reads += 1
            pauses = world.schedule.pauses
            await asyncio.sleep(pauses[world.reads % len(pauses)])
            if world.reads in world.schedule.failing:
                world.fault("source: a read failed")
                raise Doubt(f"{obj.uri}: reading failed")
            if not world.schedule.blind:
                self._check(obj)
            block = world.objects[obj.uri][offset : offset + BLOCK_BYTES]
            offset += len(block)
            yield block

    async def confirm(self, obj: SourceObject) -> None:
        await asyncio.sleep(0)
        self._check(obj)

    def _check(self, obj: SourceObject) -> None:
        if obj.version != f"v{self.world.version}":
            raise SourceChanged(f"{obj.uri}: expected {obj.version}, found v{self.world.version}")
