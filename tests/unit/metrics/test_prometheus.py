"""What Prometheus scrapes: by its own parser, over HTTP, from a port that is given back."""

from __future__ import annotations

import http.client
import math
import socket
import time
from collections.abc import Iterator
from urllib.request import urlopen

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from csv2kafka.errors import ConfigError
from csv2kafka.metrics import PrometheusMetrics
from csv2kafka.metrics.table import METRICS
from csv2kafka.model import LeaseRenewed, Waiting
from tests.unit.metrics.events import Clock, committed, opened, point, started

HOST = "127.0.0.1"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> Iterator[PrometheusMetrics]:
    made = PrometheusMetrics(HOST, 0, clock=clock)
    yield made
    made.close()


def scrape(metrics: PrometheusMetrics) -> str:
    with urlopen(metrics.address, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text: bytes = answer.read()
    return text.decode()


def samples(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("job_name") == "orders"
            found[sample.name + "".join(f"{{{k}={v}}}" for k, v in labels.items())] = sample.value
    return found


def test_what_is_scraped(metrics: PrometheusMetrics, clock: Clock) -> None:
    metrics(started())
    metrics(opened(point(rows=100, commits=4)))
    metrics(LeaseRenewed(epoch=1))
    metrics(committed(point(rows=130, bad=2, size=390, commits=5), seconds=0.02, source_bytes=390))
    metrics(committed(point(rows=130, bad=2, size=390, commits=6), seconds=60.0, source_bytes=400))
    metrics(Waiting(reason="no answer", seconds=1.0, attempt=1))
    clock.at += 2.5
    found = samples(scrape(metrics))
    buckets = {name: value for name, value in found.items() if name.startswith("csv2kafka_commit_seconds_bucket")}
    assert {name: value for name, value in found.items() if name not in buckets} == {
        "csv2kafka_rows_total": 30,
        "csv2kafka_job_rows": 130,
        "csv2kafka_bad_rows_total": 2,
        "csv2kafka_decoded_bytes_total": 390,
        "csv2kafka_source_bytes_total": 400,
        "csv2kafka_lag_bytes": 600,
        "csv2kafka_commits_total": 2,
        "csv2kafka_commit_seconds_count": 2,
        "csv2kafka_commit_seconds_sum": 60.02,
        "csv2kafka_retries_total": 1,
        "csv2kafka_sessions_total": 1,
        "csv2kafka_store_failures_total": 0,
        "csv2kafka_lease_age_seconds": 2.5,
        "csv2kafka_complete": 0,
    }
    bounds = {float(name.split("=")[1].rstrip("}")): value for name, value in buckets.items()}
    assert sorted(bounds)[-1] == math.inf
    assert (bounds[0.01], bounds[0.025], bounds[30.0], bounds[math.inf]) == (0, 1, 1, 2)


def test_types_and_help_are_the_tables(metrics: PrometheusMetrics) -> None:
    for event in (started(), opened(point()), LeaseRenewed(epoch=1)):
        metrics(event)
    families = list(text_string_to_metric_families(scrape(metrics)))
    # The parser calls a counter's family by its name without _total, as OpenMetrics does.
    assert [(f.name, f.type, f.documentation) for f in families] == [
        (metric.prometheus.removesuffix("_total"), metric.kind.value, metric.help) for metric in METRICS
    ]


def test_nothing_before_the_job_is_known(metrics: PrometheusMetrics) -> None:
    assert samples(scrape(metrics)) == {}


def test_two_runs_in_one_process_do_not_meet(metrics: PrometheusMetrics) -> None:
    """Nor do they meet what else the process tells Prometheus."""
    other = PrometheusMetrics(HOST, 0)
    metrics(started())
    assert scrape(other) == ""
    assert b"csv2kafka" not in prometheus_client.generate_latest()
    other.close()


def test_a_port_that_is_taken(metrics: PrometheusMetrics) -> None:
    port = int(metrics.address.split(":")[2].split("/")[0])
    with pytest.raises(
        ConfigError, match=f"expected a free port of this machine, found {HOST}:{port}: Address already"
    ):
        PrometheusMetrics(HOST, port)


def test_a_host_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"found no-such-host\.invalid:0"):
        PrometheusMetrics("no-such-host.invalid", 0)


def test_the_port_is_free_again_after_the_end(metrics: PrometheusMetrics) -> None:
    first = PrometheusMetrics(HOST, 0)
    port = int(first.address.split(":")[2].split("/")[0])
    first.close()
    first.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=5)
    PrometheusMetrics(HOST, port).close()


def test_all_interfaces_without_a_host() -> None:
    metrics = PrometheusMetrics(port=0)
    try:
        assert metrics.address.startswith("http://0.0.0.0:")
        with socket.create_connection((HOST, int(metrics.address.split(":")[2].split("/")[0])), timeout=5):
            pass
    finally:
        metrics.close()


def test_ipv6() -> None:
    try:
        metrics = PrometheusMetrics("::1", 0)
    except ConfigError:
        pytest.skip("no IPv6 here")
    try:
        assert metrics.address.startswith("http://[::1]:")
        assert scrape(metrics) == ""
    finally:
        metrics.close()


def test_who_asks_nothing_holds_up_nobody(metrics: PrometheusMetrics, capfd: pytest.CaptureFixture[str]) -> None:
    """Nor does one that goes away amid its question leave a traceback."""
    port = int(metrics.address.split(":")[2].split("/")[0])
    metrics(started())
    with socket.create_connection((HOST, port), timeout=5) as silent:
        silent.sendall(b"GET /met")
        assert "csv2kafka_complete" in scrape(metrics)
    reset = socket.create_connection((HOST, port), timeout=5)
    reset.sendall(b"GET /metrics HTTP/1.0\r\n")
    reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    reset.close()
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    connection.request("POST", "/metrics")
    assert connection.getresponse().status == 501
    connection.close()
    time.sleep(0.05)  # for a traceback to be written
    assert capfd.readouterr().err == ""
