"""Metrics of a run, for CloudWatch and for Prometheus.

    events ──▶ Measures (what they add up to) ──▶ METRICS (each metric, declared once) ──▶ EmfMetrics
                                                                                      └──▶ PrometheusMetrics

Either is an ``on_event`` callback for ``Pipeline``; ``close()`` when the run has ended. docs/metrics.md has the names.
"""

from csv2kafka.metrics.emf import EmfMetrics
from csv2kafka.metrics.prometheus import PrometheusMetrics

__all__ = ["EmfMetrics", "PrometheusMetrics"]
