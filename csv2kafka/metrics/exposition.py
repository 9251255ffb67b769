"""Prometheus' side of the metrics: families made from the table at each scrape, and the server that gives them."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from itertools import accumulate
from socketserver import TCPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import MetricsHandler
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from csv2kafka.metrics.measures import Distribution, Measures
from csv2kafka.metrics.table import METRICS, Kind, Metric

LABEL = "job_name"  # ``job`` is what Prometheus itself calls the group of a target
REQUEST_SECONDS = 5.0  # for a client that connects and asks nothing
POLL_SECONDS = 0.1  # what closing waits at most

_log = logging.getLogger(__name__)


class Families(Collector):
    """The metrics as they are now. Read in other threads while events come in: each value is right by itself."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Family]:
        if not self._measures.job:
            return
        for metric in METRICS:
            value = metric.read(self._measures)
            if value is not None:
                yield _family(metric, value, [self._measures.job])


def _family(metric: Metric, value: float | Distribution, labels: list[str]) -> Family:
    if isinstance(value, Distribution):
        histogram = HistogramMetricFamily(metric.prometheus, metric.help, labels=[LABEL])
        bounds = [*(f"{bound:g}" for bound in value.bounds), "+Inf"]
        histogram.add_metric(labels, list(zip(bounds, accumulate(value.counts), strict=True)), value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.prometheus, metric.help, labels=[LABEL])
    family.add_metric(labels, value)
    return family


class Server:
    """Gives the metrics over HTTP. OSError if the port cannot be had."""

    def __init__(self, measures: Measures, host: str, port: int) -> None:
        registry = CollectorRegistry()  # not the client library's global one: several runs may share a process
        registry.register(Families(measures))
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
        self._http = _Http(family, place, _Handler.factory(registry))
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(POLL_SECONDS,), name="csv2kafka-metrics", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        host, port = self._http.server_address[:2]
        name = str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/metrics"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(MetricsHandler):
    timeout = REQUEST_SECONDS


class _Http(ThreadingHTTPServer):
    def __init__(self, family: int, place: Any, handler: Any) -> None:
        self.address_family = family
        super().__init__(place, handler)

    def server_bind(self) -> None:
        """Without asking a name server, as HTTPServer's own does, who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away; socketserver's own writes a traceback to standard error."""
        _log.debug("a scrape from %s failed", client_address, exc_info=True)
