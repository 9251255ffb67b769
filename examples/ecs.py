"""In ECS (deploy/ecs), with a transform of one's own: the task definition's variables, and `change` for each row.

    FROM 123456789012.dkr.ecr.eu-west-1.amazonaws.com/csv2kafka-ecs:1.0      # what ./job up has pushed
    COPY ecs.py /app/
    ENTRYPOINT ["python", "/app/ecs.py"]                                     # exec form: SIGTERM comes here

Elsewhere, with the same variables (CSV2KAFKA_SOURCES, _TOPIC, _BOOTSTRAP_SERVERS, _CHECKPOINTS):

    python examples/ecs.py

ECS sends SIGTERM before it stops a task, on Fargate Spot two minutes before. What is on the way is committed then, and
the exit code is 75: deploy/ecs starts the task again, and it goes on there.
"""

from __future__ import annotations

import json
from array import array
from contextlib import closing
from typing import Any

from attrs import evolve, frozen

from csv2kafka import Pipeline
from csv2kafka.metrics import EmfMetrics
from csv2kafka.model import Chunk, Records
from csv2kafka.process import configuration, main, until_stopped
from csv2kafka.protocols import Encoder

VERSION = "1"  # raise it when `change` changes: a job that was begun with another one is not gone on with


def change(row: dict[str, str]) -> dict[str, Any]:
    """Yours. The same for the same row, always: a job that goes on must fit what is there already."""
    return {**row, "origin": "exports"}


@frozen
class Changed:
    """What the configuration's encoder makes of each row, changed. Pure; called in several threads at once."""

    given: Encoder

    @property
    def settings(self) -> dict[str, str]:
        return {**self.given.settings, "change": VERSION}

    def encode(self, chunk: Chunk) -> Records:
        records = self.given.encode(chunk)
        values, ends = bytearray(), array("I")
        for _, value in records.rows():
            values += json.dumps(change(json.loads(value)), ensure_ascii=False, separators=(",", ":")).encode()
            ends.append(len(values))
        return evolve(records, values=bytes(values), value_ends=ends, keys=records.keys, key_ends=records.key_ends)


async def start() -> int:
    """Metrics go to standard error, from where CloudWatch and the alarms of deploy/ read them."""
    config = await configuration()
    with closing(EmfMetrics()) as metrics:
        return await until_stopped(Pipeline.from_config(config, transform=Changed, on_event=metrics), watch="ecs")


if __name__ == "__main__":
    raise SystemExit(main(start))
