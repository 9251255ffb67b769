"""Metrics for Prometheus: a port that it scrapes while the run lasts."""

from __future__ import annotations

import time
from collections.abc import Callable

from csv2kafka.errors import ConfigError
from csv2kafka.metrics.measures import Measures
from csv2kafka.model import Event

PORT = 9400


class PrometheusMetrics:
    """Answers scrapes at ``address`` from threads of its own, until it is closed.

    host: empty for all interfaces. port: 0 for a free one. clock gives seconds.
    Raises ConfigError if that port cannot be had.
    """

    def __init__(self, host: str = "", port: int = PORT, *, clock: Callable[[], float] = time.monotonic) -> None:
        from csv2kafka.metrics.exposition import Server  # late: it brings HTTP and the client's library with it

        self._measures = Measures(clock=clock)
        try:
            self._server = Server(self._measures, host, port)
        except OSError as error:
            raise ConfigError(
                f"metrics: expected a free port of this machine, found {host}:{port}: {error.strerror}",
                hint="give another port, or 0 for any that is free",
            ) from error

    @property
    def address(self) -> str:
        """The URL to scrape."""
        return self._server.address

    def __call__(self, event: Event) -> None:
        self._measures.add(event)

    def tick(self) -> None:
        """Nothing: a scrape is when values are read."""

    def close(self) -> None:
        """No more scrapes are answered; returns within a moment."""
        self._server.close()
