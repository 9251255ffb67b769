"""``csv2kafka init``: makes a checkpoint store, or sees that it is there and can be used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import click

from csv2kafka import registry
from csv2kafka.cli.echo import echo
from csv2kafka.cli.options import configured, loaded
from csv2kafka.cli.results import results
from csv2kafka.cli.signals import run_until_signalled
from csv2kafka.config import ConnectConfig
from csv2kafka.protocols import CheckpointStore


@configured("init", ConnectConfig, only=lambda option: option.name == "debug")
@click.argument("url", required=False)
def command(url: str | None, **flags: Any) -> int:
    """Make the checkpoint store of URL (without one: the store that the environment or the file names), or see that
    it is there and can be used. Safe to run again, and by two at once.

    dynamodb://TABLE: the table, on demand, with its TTL on expires_at. s3://BUCKET/PREFIX: the store's id, in a
    bucket that is there. sqlite:///PATH: the file. kafka:// needs nothing.
    """
    config = loaded(ConnectConfig, {**flags, "checkpoints": url})
    told = run_until_signalled(lambda: made(config))
    with results():
        for line in told:
            echo(line)
    return 0


async def made(config: ConnectConfig) -> list[str]:
    """Make the store; what was found or made, a line each."""
    if config.checkpoints.startswith("kafka:"):
        return ["kafka://: nothing to make, the first run makes the checkpoint topic"]
    store = registry.build_store(config)
    try:
        # A store that has to be made before a run can use it has ``create``.
        create: Callable[[], Awaitable[list[str]]] | None = getattr(store, "create", None)
        return await (create() if create is not None else _used(store, config))
    finally:
        await store.close()


async def _used(store: CheckpointStore, config: ConnectConfig) -> list[str]:
    """For one that the first use makes."""
    file = registry.store_file(config)
    found = "can be used" if file is None else "is there" if file.exists() else "made"
    await store.load("csv2kafka")
    return [f"{file or config.checkpoints}: {found}", f"store id {store.id}"]
