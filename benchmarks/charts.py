"""The results as pictures (SVG)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.figures import Spread, Summary
from benchmarks.results import MEGABYTE, PeerFacts, Results, Section

COLOURS = {"ours": "#1f6f4a", "other": "#8a94a3", "ceiling": "#d8b25c"}
MEMORY_BAR = 150
BAR_INCHES = 0.42


def draw(results: Results, folder: Path) -> list[str]:
    """Write them into the folder; gives the names of the files."""
    plt.rcParams["svg.hashsalt"] = "csv2kafka"  # the same file from the same figures
    plt.rcParams["svg.fonttype"] = "none"
    measured = [facts for facts in results.peers.values() if facts.summary and facts.summary.rate]
    names = []
    if measured:
        rows = f"{results.rows:,} rows"
        names.append(_bars(folder / "speed.svg", f"rows a second ({rows})", measured, lambda figures: figures.rate))
        running = [facts for facts in measured if facts.kind != "ceiling"]
        names.append(
            _bars(folder / "memory.svg", f"peak memory, MB ({rows})", running, lambda figures: figures.peak_bytes, 1e-6)
        )
    names += [_lines(folder / f"scaling-{section.name}.svg", section) for section in results.scaling]
    return names


def _bars(
    path: Path,
    title: str,
    peers: Sequence[PeerFacts],
    value: Callable[[Summary], Spread | None],
    factor: float = 1.0,
) -> str:
    figure, axes = plt.subplots(figsize=(9, 1.2 + BAR_INCHES * len(peers)))
    for at, facts in enumerate(reversed(peers)):
        spread = value(facts.summary) if facts.summary else None
        if spread is None:
            continue
        median, least, most = spread.median * factor, spread.least * factor, spread.most * factor
        axes.barh(at, median, color=COLOURS[facts.kind], xerr=[[median - least], [most - median]], capsize=3)
        axes.annotate(f" {median:,.0f}", (most, at), xytext=(4, 0), textcoords="offset points", va="center", size=9)
    axes.set_yticks(range(len(peers)), [facts.title for facts in reversed(peers)])
    axes.set_title(title, loc="left")
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    return _saved(figure, path)


def _lines(path: Path, section: Section) -> str:
    """Speed above, memory below."""
    points = [(label, value, figures) for label, value, figures in section.points if figures.rate]
    figure, (speed, memory) = plt.subplots(2, 1, sharex=True, figsize=(8, 6))
    places = [value for _, value, _ in points]
    style = "none" if section.name == "codecs" else "-"  # between two codecs there is nothing
    _line(speed, places, [figures.megabytes for _, _, figures in points], 1.0, style)
    _line(memory, places, [figures.peak_bytes for _, _, figures in points], 1 / MEGABYTE, style)
    memory.axhline(MEMORY_BAR, color="#b03a2e", linewidth=1, linestyle="--")
    speed.set_ylabel("MB of CSV a second")
    memory.set_ylabel("peak memory, MB")
    if section.logarithmic:
        speed.set_xscale("log")
    memory.set_xticks(places, [label for label, _, _ in points])
    memory.minorticks_off()
    memory.set_xlabel(section.axis)
    for axes in (speed, memory):
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    return _saved(figure, path)


def _line(axes: plt.Axes, places: Sequence[float], spreads: Sequence[Spread | None], factor: float, style: str) -> None:
    known = [(place, spread) for place, spread in zip(places, spreads, strict=True) if spread]
    medians = [spread.median * factor for _, spread in known]
    below = [(spread.median - spread.least) * factor for _, spread in known]
    above = [(spread.most - spread.median) * factor for _, spread in known]
    axes.errorbar(
        [place for place, _ in known],
        medians,
        yerr=[below, above],
        marker="o",
        capsize=3,
        linestyle=style,
        color=COLOURS["ours"],
    )


def _saved(figure: plt.Figure, path: Path) -> str:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return path.name
