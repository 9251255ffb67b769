"""Which node a connection leads to, when leaders and coordinators move, are away, or do not know that they are old."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field

from tests.simulation.broker import Leaders, Silence
from tests.simulation.cluster import Cluster
from tests.simulation.partition import error

if TYPE_CHECKING:
    from tests.simulation.world import World


@define(eq=False)
class MovingLeaders(Leaders):
    """A node is told by how many led before it. ``moves``: of each partition and of the coordinator, how often another
    took its place. ``old_logs``: of a partition, a node that was cut off: until when, and what it has."""

    world: World
    moves: Counter[object] = field(factory=Counter)
    old_logs: dict[object, tuple[int, float, Cluster]] = field(factory=dict)  # node, until when, what it has
    loading_until: float = 0.0
    away_until: float = 0.0
    cluster_away_until: float = 0.0

    def connect(self, connection: object, *, refresh: bool = False) -> object:
        old = self.old_logs.get(connection)
        if old is not None and not refresh and self.world.now() < old[1] and self.world.draw.random() < 0.5:
            self.world.cover("old leader found")
            return old[0]
        return self.moves[connection]

    def reached(self, connection: object, node: object, operation: str, cluster: Cluster) -> Cluster:
        now = self.world.now()
        if now < self.cluster_away_until:
            raise Silence
        if connection == "coordinator":
            if now < self.away_until:
                if operation == "init_producer":  # the look-up says that there is none
                    raise error("InitProducerId", 15)
                raise Silence
            if node != self.moves[connection]:
                raise error("InitProducerId" if operation == "init_producer" else operation, 16)
            if now < self.loading_until:
                raise error(operation, 14)
        elif node != self.moves[connection]:
            old = self.old_logs.get(connection)
            if old is None or old[0] != node or now >= old[1]:
                raise error(operation, 6)
            if operation == "produce":
                raise Silence  # nobody replicates it
            self.world.cover("old leader answers")
            return old[2]
        return cluster
