"""``--metrics``: where a run's metrics go. docs/metrics.md names them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from csv2kafka.cli import log
from csv2kafka.cli.report_file import taken_by
from csv2kafka.cli.result_file import refuse_taken
from csv2kafka.config import RunConfig, options
from csv2kafka.errors import ConfigError
from csv2kafka.model import Event

HINT = "give another file"


class Metrics(Protocol):
    """Told of events and of the passing of time once a second; closed when the run has ended."""

    def __call__(self, event: Event) -> None: ...

    def tick(self) -> None: ...

    def close(self) -> None: ...


def measuring(config: RunConfig, config_file: Path | None = None) -> Metrics:
    """What ``--metrics`` asks for. Raises ConfigError if the file or port cannot be had."""
    if config.metrics is None:
        return _Unmeasured()
    scheme, _, rest = config.metrics.partition(":")
    label = options(RunConfig)["metrics"].label
    try:
        return _prometheus(config.metrics) if scheme == "prometheus" else _emf(config, config_file, rest)
    except ConfigError as error:
        raise ConfigError(f"{label}: {error.message.removeprefix('metrics: ')}", hint=error.hint) from error


def _emf(config: RunConfig, config_file: Path | None, file: str) -> Metrics:
    from csv2kafka.metrics import EmfMetrics

    if not file:
        return EmfMetrics()
    taken = [*taken_by(config, config_file), *([(config.report, "the file of --report")] if config.report else [])]
    refuse_taken(Path(file), taken, f"expected a file of its own, found {file!r}", HINT)
    return EmfMetrics(file)


def _prometheus(url: str) -> Metrics:
    from csv2kafka.metrics import PrometheusMetrics

    asked = urlsplit(url)
    try:
        port = asked.port
    except ValueError:
        port = None
    if port is None:
        raise ConfigError(f"expected a port from 0 to 65535, found {url!r}")
    metrics = PrometheusMetrics(asked.hostname or "", port)
    if port == 0:
        log.warning(f"metrics are at {metrics.address}")
    return metrics


class _Unmeasured:
    def __call__(self, event: Event) -> None:
        pass

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass
