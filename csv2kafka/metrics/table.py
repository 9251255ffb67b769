"""Every metric, declared once: name, kind, unit, help and where its value is. Both exporters and docs/metrics.md are
made from it.

``python -m csv2kafka.metrics.table`` writes the table of docs/metrics.md; a test keeps that page equal to it.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable

from attrs import frozen

from csv2kafka.metrics.measures import Distribution, Measures

PREFIX = "csv2kafka"


class Kind(enum.Enum):
    """COUNTER only grows; EMF has what came since the line before, which CloudWatch sums. GAUGE is a value as it is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    DISTRIBUTION = "histogram"


class Unit(enum.Enum):
    """By CloudWatch's names."""

    COUNT = "Count"
    BYTES = "Bytes"
    SECONDS = "Seconds"
    NONE = "None"


@frozen(kw_only=True)
class Metric:
    """One metric. ``name`` ends with its unit where that is not a count; the exporters' own names follow from it.

    ``read`` gives its value; None while there is none.
    """

    name: str
    kind: Kind
    unit: Unit
    help: str
    read: Callable[[Measures], float | Distribution | None]

    @property
    def prometheus(self) -> str:
        """``csv2kafka_bad_rows_total``."""
        return f"{PREFIX}_{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"

    @property
    def emf(self) -> str:
        """``BadRows``."""
        return "".join(word.capitalize() for word in self.name.split("_"))


METRICS = (
    Metric(
        name="rows",
        kind=Kind.COUNTER,
        unit=Unit.COUNT,
        help="Rows committed by this run.",
        read=lambda measures: measures.rows,
    ),
    Metric(
        name="job_rows",
        kind=Kind.GAUGE,
        unit=Unit.COUNT,
        help="Rows committed of the whole job, earlier runs included.",
        read=lambda measures: measures.job_rows,
    ),
    Metric(
        name="bad_rows",
        kind=Kind.COUNTER,
        unit=Unit.COUNT,
        help="Refused rows passed by this run's commits, under --on-bad-row skip or dead-letter.",
        read=lambda measures: measures.bad_rows,
    ),
    Metric(
        name="decoded_bytes",
        kind=Kind.COUNTER,
        unit=Unit.BYTES,
        help="Bytes of decoded text committed by this run.",
        read=lambda measures: measures.decoded_bytes,
    ),
    Metric(
        name="source_bytes",
        kind=Kind.COUNTER,
        unit=Unit.BYTES,
        help="The source's own bytes (compressed, if it is) committed by this run.",
        read=lambda measures: measures.source_bytes,
    ),
    Metric(
        name="lag_bytes",
        kind=Kind.GAUGE,
        unit=Unit.BYTES,
        help="The source's own bytes from the last commit to its end. Absent while its size is not known.",
        read=lambda measures: measures.lag_bytes,
    ),
    Metric(
        name="commits",
        kind=Kind.COUNTER,
        unit=Unit.COUNT,
        help="Commits of this run, those whose answer was lost included.",
        read=lambda measures: measures.commits,
    ),
    Metric(
        name="commit_seconds",
        kind=Kind.DISTRIBUTION,
        unit=Unit.SECONDS,
        help="How long each commit took.",
        read=lambda measures: measures.commit_seconds,
    ),
    Metric(
        name="retries",
        kind=Kind.COUNTER,
        unit=Unit.COUNT,
        help="Pauses after which something was tried again: a broker, a store or a source did not answer.",
        read=lambda measures: measures.retries,
    ),
    Metric(
        name="sessions",
        kind=Kind.COUNTER,
        unit=Unit.COUNT,
        help="How often the destination was opened: once, and again after each doubt.",
        read=lambda measures: measures.sessions,
    ),
    Metric(
        name="store_failures",
        kind=Kind.COUNTER,
        unit=Unit.COUNT,
        help="How often the checkpoint store did not answer and the run went on without it.",
        read=lambda measures: measures.store_failures,
    ),
    Metric(
        name="lease_age_seconds",
        kind=Kind.GAUGE,
        unit=Unit.SECONDS,
        help="Since the lease was last renewed. Absent until it was, and in stores without leases.",
        read=lambda measures: measures.lease_age,
    ),
    Metric(
        name="complete",
        kind=Kind.GAUGE,
        unit=Unit.NONE,
        help="1 when every row is there, else 0.",
        read=lambda measures: int(measures.complete),
    ),
)


def page_table() -> str:
    """All metrics as docs/metrics.md has them."""
    rows = ["| Prometheus | EMF | kind | unit | meaning |", "|---|---|---|---|---|"]
    rows += [f"| `{m.prometheus}` | `{m.emf}` | {m.kind.value} | {m.unit.value} | {m.help} |" for m in METRICS]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page_table())
