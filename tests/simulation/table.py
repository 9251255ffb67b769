"""A DynamoDB table for the real ``DynamoDBStore``, behind a network that loses, delays and repeats.

A request that got no answer in time is sent once more, as botocore does; then it is a doubt. What was sent takes
effect when it arrives, whether or not anybody still waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from attrs import define, field

from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.checkpoints.dynamodb_item import unpacked
from csv2kafka.errors import Doubt
from csv2kafka.model import Checkpoint, checkpoint_from_json
from tests.simulation.schedule import StoreAim

T = TypeVar("T")

LATENCY = 0.0007
READ_SECONDS = 3.0
TRIES = 2

Item = Mapping[str, Mapping[str, Any]]


@define(eq=False, kw_only=True)
class Table:
    """What the service holds. ``aims``: faults by the number of the request (of all tables together).
    ``saved`` is told of each checkpoint that is written, ``told`` of each request that has a fault."""

    number: int
    aims: Callable[[], StoreAim | None]
    saved: Callable[[str], None]
    told: Callable[[str, str], None]
    noted: Callable[[str], None] = lambda _: None
    items: dict[str, dict[str, Mapping[str, Any]]] = field(factory=dict)
    away_until: float = 0.0
    context: contextvars.Context = field(factory=contextvars.copy_context)
    owners: list[str] = field(factory=list)  # who has taken a lease, in order

    def __attrs_post_init__(self) -> None:
        self.items[":store"] = {"id": {"S": f"store-{self.number}"}}

    def checkpoint(self, job: str) -> Checkpoint | None:
        blob = unpacked(self.items.get(job, {}).get("checkpoint"))
        return None if blob is None else checkpoint_from_json(blob, job=job, where="table")

    def update(
        self, key: str, condition: str, changes: Item, remove: Collection[str], given: Item
    ) -> tuple[bool, Item]:
        item = self.items.setdefault(key, {})
        if not all(_holds(part.split(), item, {**changes, **given}) for part in condition.split(" AND ")):
            return False, dict(item)
        if "owner" in changes and "owner" in item:
            self.noted("a silent lease is taken over")
        item.update(changes)
        for name in remove:
            item.pop(name, None)
        if "owner" in changes:
            self.owners.append(changes["owner"]["S"])
        if "checkpoint" in changes:
            self.saved(str((unpacked(changes["checkpoint"]) or b"").decode()))
        return True, dict(item)


def _holds(part: list[str], item: Item, given: Item) -> bool:
    """One comparison of a condition expression: ``#name = :value``, ``#name < :value``, ``attribute_not_exists``."""
    if len(part) == 1:
        return part[0].removeprefix("attribute_not_exists(#").removesuffix(")") not in item
    name, operator, value = part[0].removeprefix("#"), part[1], given[part[2].removeprefix(":")]
    if name not in item:
        return False
    if operator == "=":
        return item[name] == value
    return int(item[name]["N"]) < int(value["N"])


@define(eq=False)
class Requests:
    """One process's requests to the table: what ``DynamoDBStore`` has as its ``_requests``."""

    table: Table
    name: str
    dead: bool = False

    async def update(
        self,
        key: str,
        *,
        doing: str,
        condition: str,
        set: Item | None = None,
        remove: Collection[str] = (),
        given: Item | None = None,
    ) -> tuple[bool, Item]:
        changes, known = dict(set or {}), dict(given or {})
        return await self._ask(doing, lambda: self.table.update(key, condition, changes, tuple(remove), known))

    async def get(self, key: str, names: Collection[str]) -> Item:
        def look() -> Item:
            item = self.table.items.get(key, {})
            return {name: item[name] for name in names if name in item}

        return await self._ask("reading", look)

    async def close(self) -> None:
        """Nothing is held open."""

    def __str__(self) -> str:
        return f"table {self.table.number}"

    async def _ask(self, doing: str, apply: Callable[[], T]) -> T:
        for _ in range(TRIES):
            if self.dead:
                break
            try:
                return await self._once(doing, apply)
            except TimeoutError:
                continue
        raise Doubt(f"{self}: {doing}: no answer")

    async def _once(self, doing: str, apply: Callable[[], T]) -> T:
        loop, table = asyncio.get_running_loop(), self.table
        fault = table.aims() or StoreAim(nth=0)
        answer: asyncio.Future[T] = loop.create_future()

        def arrive() -> None:
            if loop.time() < table.away_until:
                table.told(self.name, f"{doing}: the store is away")
                return
            result = apply()
            if fault.answer_lost:
                table.told(self.name, f"{doing}: done, answer lost")
            else:
                loop.call_later(LATENCY, _settle, answer, result)

        if fault.lost:
            table.told(self.name, f"{doing}: lost")
        else:
            if fault.delay:
                table.told(self.name, f"{doing}: late by {fault.delay:g} s")
            loop.call_later(LATENCY + fault.delay, arrive, context=table.context)
        late = loop.call_later(READ_SECONDS, _too_late, answer)
        try:
            return await answer
        finally:
            late.cancel()


def _too_late(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _settle(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def store_of(table: Table, name: str) -> tuple[DynamoDBStore, Requests]:
    """A process's own store over the table."""
    loop = asyncio.get_running_loop()
    store = DynamoDBStore("jobs", now=lambda: datetime.fromtimestamp(loop.time(), UTC))
    requests = store._requests = Requests(table, name)  # type: ignore[assignment]
    return store, requests
