"""Everything that one run of the benchmark found out, and the bars it is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from benchmarks.content import Difference
from benchmarks.figures import Bar, Run, Spread, Summary, ratio
from benchmarks.machine import Machine

DEFAULT = "csv2kafka"
MEGABYTE = 1e6
LEAST_INTERVAL, USUAL_INTERVAL = 0.2, 1.0


@frozen(kw_only=True)
class Crash:
    """``standing``: records in the partition when it was killed, those never committed included. ``rerun_seconds``:
    how long the second run took. ``difference`` None: it could not be found out, ``problem`` says why."""

    peer: str
    records: int
    standing: int = 0
    rerun_seconds: float = 0.0
    difference: Difference | None = None
    problem: str | None = None


@frozen(kw_only=True)
class Startup:
    """Seconds, and rows/s; None with what was the matter in ``problems``. ``verify_rate`` counts the whole process,
    ``verify_own_rate`` by the time that it says itself. ``native_rate``: frame, encode and pack without compression,
    on one thread."""

    version_seconds: Spread | None
    first_batch_seconds: Spread | None
    verify_rate: Spread | None
    verify_own_rate: Spread | None
    native_rate: Spread | None
    problems: tuple[str, ...]


@frozen(kw_only=True)
class Section:
    """``axis``: what varies, with its unit. ``points``: label, value and figures."""

    name: str
    axis: str
    logarithmic: bool
    points: Sequence[tuple[str, float, Summary]]


@frozen(kw_only=True)
class PeerFacts:
    """What the tables say of a peer. ``left_out``: why it was not measured, None if it was."""

    title: str
    settings: str
    sends: str
    kind: str
    left_out: str | None
    summary: Summary | None
    crash: Crash | None


@frozen(kw_only=True)
class Results:
    """What is written as JSON. ``peers``: by name, in the order of the tables."""

    at: str
    command: str
    machine: Machine
    rows: int
    bytes: int
    rounds: int
    peers: Mapping[str, PeerFacts]
    runs: Sequence[Run]
    bars: Sequence[Bar]
    startup: Startup | None
    scaling: Sequence[Section]


def bars(
    runs: Sequence[Run],
    summaries: Mapping[str, Summary],
    startup: Startup | None,
    scaling: Sequence[Section],
) -> list[Bar]:
    """All bars, measured or not."""
    ours = summaries.get(DEFAULT)

    def times(one: str, other: str, bound: float, aim: float | None = None, *, reported: bool = False) -> Bar:
        how = ", both by their own time" if reported else ""
        measured = ratio(runs, one, other, reported=reported)
        return Bar(what=f"{one} ÷ {other}{how}", unit="×", bound=bound, aim=aim, measured=measured)

    def of_startup(what: str, unit: str, bound: float, value: Spread | None, *, most: bool = False) -> Bar:
        return Bar(what=what, unit=unit, bound=bound, sense="at most" if most else "at least", measured=value)

    return [
        times(DEFAULT, "duckdb-kcat", 3, 4),
        times(DEFAULT, "replay", 0.5, 0.65),
        times(DEFAULT, "replay", 0.5, 0.65, reported=True),
        Bar(
            what=f"{DEFAULT} ÷ what the CPU allows",
            unit="×",
            bound=0.85,
            measured=ours.of_limit if ours else None,
            why="an aim",
        ),
        times("csv2kafka-raw", "kcat-lines", 3),
        times(DEFAULT, "connect", 10),
        times(DEFAULT, "dict-reader", 10),
        times("csv2kafka-python", "dict-reader", 1.5),
        Bar(
            what=f"peak memory of {DEFAULT}",
            unit="MB",
            bound=150,
            sense="at most",
            measured=_scaled(ours.peak_bytes, 1 / MEGABYTE) if ours else None,
        ),
        of_startup(
            "csv2kafka --version",
            "ms",
            150,
            _scaled(startup.version_seconds, 1000) if startup else None,
            most=True,
        ),
        of_startup("first batch in Kafka", "s", 1, startup.first_batch_seconds if startup else None, most=True),
        of_startup("csv2kafka verify", "M rows/s", 1, _scaled(startup.verify_own_rate, 1e-6) if startup else None),
        of_startup(
            "the native stage alone, one thread",
            "M rows/s",
            8,
            _scaled(startup.native_rate, 1e-6) if startup else None,
        ),
        *_scaling_bars(scaling),
    ]


def _scaling_bars(scaling: Sequence[Section]) -> list[Bar]:
    sections = {section.name: section for section in scaling}
    made = []
    if (section := sections.get("intervals")) is not None:
        rates = {value: figures.rate for _, value, figures in section.points}
        short, usual = rates.get(LEAST_INTERVAL), rates.get(USUAL_INTERVAL)
        measured = Spread.of([short.median / usual.median]) if short and usual else None
        made.append(Bar(what="--checkpoint-interval 0.2 ÷ the default's", unit="×", bound=0.8, measured=measured))
    for name in ("rows", "width"):
        if (section := sections.get(name)) is not None:
            peaks = [each.most / MEGABYTE for _, _, figures in section.points if (each := figures.peak_bytes)]
            measured = Spread.of([max(peaks)]) if peaks else None
            what = f"most memory of all in scaling by {name}"
            made.append(Bar(what=what, unit="MB", bound=150, sense="at most", measured=measured))
    return made


def _scaled(spread: Spread | None, factor: float) -> Spread | None:
    if spread is None:
        return None
    return Spread(
        median=spread.median * factor, least=spread.least * factor, most=spread.most * factor, rounds=spread.rounds
    )
