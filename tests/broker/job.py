"""The run in miniature (tests/simulation/job.py) on a real broker."""

from __future__ import annotations

import time
from typing import Any

from attrs import frozen

from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import BrokerFactory
from tests.simulation.job import Run

CHECKPOINT_TOPIC = "checkpoints-of-tests"


@frozen
class _Brokers:
    """Stands where a simulated network would: each session gets a client of its own."""

    bootstrap_servers: str
    request_timeout_ms: int

    def factory(self, name: str) -> BrokerFactory:
        return broker_factory(
            {
                "bootstrap_servers": self.bootstrap_servers,
                "client_id": name,
                "request_timeout_ms": self.request_timeout_ms,
            }
        )


def run_on(
    bootstrap_servers: str,
    topic: str,
    *,
    checkpoint_topic: str = CHECKPOINT_TOPIC,
    options: dict[str, object] | None = None,
    request_timeout_ms: int = 30_000,
    **settings: Any,
) -> Run:
    """A run of a job named as the topic."""
    return Run(
        network=_Brokers(bootstrap_servers, request_timeout_ms),  # type: ignore[arg-type]
        topic=topic,
        job=topic,
        checkpoint_topic=checkpoint_topic,
        clock=time.time,
        options={"request_timeout_ms": request_timeout_ms, **(options or {})},
        **settings,
    )
