"""``csv2kafka demo``: the options of the demonstration, which itself is ``demo``."""

from __future__ import annotations

from typing import Any

import click

from csv2kafka.cli.demo import ROWS, demo
from csv2kafka.cli.options import configured, loaded
from csv2kafka.config import ConnectConfig

TAKEN = ("bootstrap_servers", "kafka", "debug")


@configured("demo", ConnectConfig, only=lambda said: said.name in TAKEN)
@click.option("--rows", type=click.IntRange(min=1), default=ROWS, metavar="ROWS", help=f"How many rows. [{ROWS:,}]")
def command(rows: int, **flags: Any) -> int:
    """See it survive a kill: a CSV, SIGKILL in the middle, the same command again, and the proof.

    Starts an Apache Kafka of its own (Java 17 and Maven), or uses the one given; without either it shows the same
    with a file. Nothing of it stays.
    """
    config = loaded(ConnectConfig, flags)
    return demo(rows=rows, bootstrap_servers=config.bootstrap_servers, kafka=config.kafka)
