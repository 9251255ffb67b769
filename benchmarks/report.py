"""The results as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import attrs

from benchmarks.figures import Bar, Spread
from benchmarks.results import MEGABYTE, Crash, PeerFacts, Results, Section

NOTHING = "–"
Row = Sequence[str]


def as_json(results: Results) -> str:
    return json.dumps(attrs.asdict(results), indent=1, ensure_ascii=False) + "\n"


def as_markdown(results: Results, charts: Sequence[str]) -> str:
    """``charts``: file names of the pictures beside it."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    cpus = f"{len(machine.cpus)} of its {machine.all_cpus} CPUs for peers and broker together"
    parts = [
        "# Results",
        f"`{results.command}`, {results.at}. {machine.cpu}, {cpus}, {machine.memory_bytes / 2**30:.0f} GiB; "
        f"{machine.system}; Python {machine.python}. {versions}.",
        f"{results.rows:,} rows, {results.bytes / MEGABYTE:.0f} MB of CSV; medians of {results.rounds} rounds, in "
        "brackets the least and the most. docs/benchmarks.md says what is measured, and how.",
        "## The bars",
        _bars(results.bars),
        "## Speed and memory",
        _peers(results),
    ]
    if any(facts.crash is not None for facts in results.peers.values()):
        parts += ["## Killed, and run again", _crashes(results.peers)]
    parts += ["## How each was run", _settings(results.peers)]
    if results.startup is not None and results.startup.problems:
        parts += ["Not measured: " + "; ".join(results.startup.problems)]
    for section in results.scaling:
        parts += [f"## By {section.axis}", _scaling(section)]
    parts += [f"![{name}]({name})" for name in charts]
    return "\n\n".join(parts) + "\n"


def _bars(bars: Iterable[Bar]) -> str:
    rows = []
    for bar in bars:
        asked = f"{bar.sense} {bar.bound:g} {bar.unit}"
        if bar.measured is None:
            rows.append([bar.what, asked, "not measured", NOTHING])
            continue
        outcome = "passed" if bar.passed else "**missed**"
        if bar.aim is not None:
            outcome += f"; the aim of {bar.aim:g} {'too' if bar.reaches(bar.aim) else 'not'}"
        if bar.why:
            outcome += f" ({bar.why})"
        rows.append([bar.what, asked, f"{_spread(bar.measured, 2)} {bar.unit}", outcome])
    return _table(["what", "asked", "measured", ""], rows)


def _peers(results: Results) -> str:
    header = [
        "what",
        "rows/s",
        "MB/s",
        "rows/s, by its own time",
        "peak memory, MB",
        "CPU s",
        "broker's CPU s",
        "of what the CPU allows",
        "order kept",
    ]
    rows = []
    for facts in results.peers.values():
        if facts.left_out is not None:
            rows.append([facts.title, f"left out: {facts.left_out}", *[NOTHING] * 7])
            continue
        figures = facts.summary
        assert figures is not None
        if figures.rate is None:
            rows.append([facts.title, f"not valid: {'; '.join(figures.problems)}", *[NOTHING] * 7])
            continue
        ceiling = facts.kind == "ceiling"
        title = facts.title if figures.rows == results.rows else f"{facts.title} (the first {figures.rows:,} rows)"
        rows.append(
            [
                title,
                _spread(figures.rate, 0) + _invalid(figures.rate.rounds, results.rounds, figures.problems),
                _spread(figures.megabytes, 0),
                NOTHING if ceiling else _spread(figures.reported_rate, 0),
                NOTHING if ceiling else _median(figures.peak_bytes, 0, 1 / MEGABYTE),
                _median(figures.cpu_seconds, 2),
                _median(figures.broker_cpu_seconds, 2),
                _median(figures.of_limit, 2),
                NOTHING if facts.sends.startswith("as many lines") else "yes",
            ]
        )
    return _table(header, rows)


def _invalid(valid: int, rounds: int, problems: Sequence[str]) -> str:
    return "" if valid == rounds else f"; {rounds - valid} of {rounds} rounds not valid: {'; '.join(problems)}"


def _crashes(peers: Mapping[str, PeerFacts]) -> str:
    rows = [[facts.title, *_crash(facts.crash)] for facts in peers.values() if facts.crash is not None]
    header = ["what", "records", "there when killed", "lost", "doubled", "each once, in order", "second run, s"]
    return _table(header, rows)


def _crash(crash: Crash) -> Row:
    found = crash.difference
    if found is None:
        return [f"{crash.records:,}", f"{crash.standing:,}", f"not known: {crash.problem}", *[NOTHING] * 3]
    return [
        f"{crash.records:,}",
        f"{crash.standing:,}",
        f"{found.lost:,}",
        f"{found.doubled:,}",
        "yes" if found.in_order else "no",
        f"{crash.rerun_seconds:.1f}",
    ]


def _settings(peers: Mapping[str, PeerFacts]) -> str:
    rows = [[f"`{name}`: {facts.title}", facts.settings, facts.sends] for name, facts in peers.items()]
    return _table(["what", "settings", "what its partition is compared with"], rows)


def _scaling(section: Section) -> str:
    rows = []
    for label, _, figures in section.points:
        if figures.rate is None:
            rows.append([label, f"not valid: {'; '.join(figures.problems)}", *[NOTHING] * 5])
            continue
        rows.append(
            [
                label,
                _spread(figures.rate, 0) + _invalid_only(figures.problems),
                _median(figures.seconds, 2),
                _spread(figures.megabytes, 0),
                _median(figures.peak_bytes, 0, 1 / MEGABYTE),
                _median(figures.cpu_seconds, 2),
                _median(figures.broker_cpu_seconds, 2),
            ]
        )
    return _table([section.axis, "rows/s", "seconds", "MB/s", "peak memory, MB", "CPU s", "broker's CPU s"], rows)


def _invalid_only(problems: Sequence[str]) -> str:
    return f"; some rounds not valid: {'; '.join(problems)}" if problems else ""


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return NOTHING
    median, least, most = (f"{value:,.{digits}f}" for value in (spread.median, spread.least, spread.most))
    return median if spread.rounds == 1 else f"{median} ({least}–{most})"


def _median(spread: Spread | None, digits: int, factor: float = 1.0) -> str:
    return NOTHING if spread is None else f"{spread.median * factor:,.{digits}f}"


def _table(header: Row, rows: Iterable[Row]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
