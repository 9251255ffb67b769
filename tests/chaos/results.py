"""A campaign's results: one line for each fault, as a table for docs/guarantees.md and as JSON."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict, frozen

from tests.chaos.compare import Outcome
from tests.chaos.table import FAULTS
from tests.chaos.trial import Result

DOCUMENT = Path(__file__).parents[2] / "docs" / "guarantees.md"
FIGURES = Path(__file__).parents[2] / "docs" / "chaos.json"
RECOVERY = FIGURES.with_name("recovery.json")  # of a machine with nothing else to do
COMMAND = "make chaos"
MIB = 1 << 20


@frozen(kw_only=True)
class Made:
    """One campaign: what is said of how its figures came about. ``only``: faults with commas between; empty: all."""

    seed: int
    minutes: float
    kernel: str
    only: str = ""

    @property
    def command(self) -> str:
        """What makes it again."""
        only = f" --only {self.only}" if self.only else ""
        return f'{COMMAND} CHAOS="--minutes {self.minutes:g} --seed {self.seed}{only}"'


def summary(results: Sequence[Result], campaigns: Sequence[Made]) -> dict[str, Any]:
    """What the JSON file holds: figures for each fault, and each trial, so that campaigns can be added up."""
    total = sum((each.outcome for each in results), Outcome())
    return {
        "campaigns": [asdict(each) for each in campaigns],
        "trials": sum(not each.skipped for each in results),
        "times": sum(each.times for each in results),
        "kills": sum(each.kills for each in results),
        "starts": sum(len(each.codes) for each in results),
        "rows": total.rows,
        **_counts(total),
        "problems": sum(bool(each.problem) for each in results),
        "faults": {name: _of(of_fault) for name, of_fault in _by_fault(results).items()},
        "results": [asdict(each) for each in results],
    }


def added(files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several campaigns as one."""
    results = [cattrs.structure(each, Result) for figures in files for each in figures["results"]]
    return summary(results, [Made(**each) for figures in files for each in figures["campaigns"]])


def _by_fault(results: Iterable[Result]) -> Mapping[str, list[Result]]:
    found: dict[str, list[Result]] = {name: [] for name in FAULTS}
    for each in results:
        found[each.fault].append(each)
    return {name: each for name, each in found.items() if each}


def _counts(outcome: Outcome) -> dict[str, int]:
    return {
        "lost": outcome.lost,
        "doubled": outcome.doubled,
        "disordered": outcome.disordered,
        "foreign": outcome.foreign,
    }


def _of(results: Sequence[Result]) -> dict[str, Any]:
    done = [each for each in results if not each.skipped]
    total = sum((each.outcome for each in done), Outcome())
    go_on = sorted(seconds for each in done for seconds in each.go_on)
    again = sorted(count for each in done for count in each.read_again)
    codes = Counter(code for each in done for code in each.codes)
    return {
        "about": FAULTS[results[0].fault].about,
        "trials": len(done),
        "times": sum(each.times for each in done),
        "skipped": next((each.skipped for each in results if each.skipped), None),
        "kills": sum(each.kills for each in done),
        "rows": total.rows,
        **_counts(total),
        "problems": [f"seed {each.seed}: {each.problem}" for each in done if each.problem],
        "exit_codes": {str(code): count for code, count in sorted(codes.items())},
        "go_on": _spread(go_on) | {"since": FAULTS[results[0].fault].since} if go_on else None,
        "bytes_read_again": {"times": len(again), "median": int(statistics.median(again)), "most": again[-1]}
        if again
        else None,
    }


def _spread(values: Sequence[float]) -> dict[str, Any]:
    return {"times": len(values), "median": round(statistics.median(values), 2), "most": round(values[-1], 2)}


def table(figures: Mapping[str, Any]) -> str:
    """As Markdown."""
    lines = [
        "| fault | what happens | times | kills | lost | doubled | disordered | seconds to go on: median, most |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, each in figures["faults"].items():
        if not each["trials"]:
            lines.append(f"| {name} | {each['about']} | not here: {each['skipped']} | | | | | |")
            continue
        spread = each["go_on"]
        told = f"{spread['median']:.1f}, {spread['most']:.1f} from {spread['since']}" if spread else ""
        counts = " | ".join(f"{each[name]:,}" for name in ("times", "kills", "lost", "doubled", "disordered"))
        lines.append(f"| {name} | {each['about']} | {counts} | {told} |")
    counts = " | ".join(f"**{figures[name]:,}**" for name in ("times", "kills", "lost", "doubled", "disordered"))
    lines.append(f"| **all** | {figures['rows']:,} rows compared, {figures['starts']:,} processes | {counts} | |")
    return "\n".join(lines)


def section(figures: Mapping[str, Any]) -> str:
    """The table, how it was made, and the figures beside it."""
    full = figures["faults"].get("kill-at-full-speed", {}).get("bytes_read_again")
    minutes = sum(each["minutes"] for each in figures["campaigns"])
    seeds = " and ".join(str(each["seed"]) for each in figures["campaigns"])
    told = [
        f"Made by `{COMMAND}`, {minutes:.0f} minutes on a machine with two busy CPUs, seed {seeds}; the "
        "figures are in [chaos.json](chaos.json). *Times*: how often it was brought about, in jobs of their own, and "
        "several times within a job. *Kills*: of the job, by SIGKILL. Each job was run to its end afterwards, "
        "`csv2kafka verify` said equal, and another client's read_committed view was compared with the CSV. No "
        "seconds: nothing stood still by itself, no rows were left, or what goes on is started with other limits.",
        "",
        table(figures),
    ]
    if full:
        told += [
            "",
            f"After a kill at full speed {full['median'] / MIB:.0f} MiB of the source were read again (median of "
            f"{full['times']}; at most {full['most'] / MIB:.0f} MiB): what was read ahead and not committed.",
        ]
    return "\n".join(told)


def recovery(figures: Mapping[str, Any]) -> str:
    """How soon rows flow again on a machine that does nothing else."""
    killed, back = (figures["faults"][name]["go_on"] for name in ("kill-exactly-once", "broker-restarted"))
    (made,) = (Made(**each) for each in figures["campaigns"])
    return (
        f"With nothing else on the machine (`{made.command}`; [recovery.json](recovery.json)) it takes "
        f"{killed['median']:.1f} s (median; at most {killed['most']:.1f}, {killed['times']} kills) from a process's "
        "start to its first new commit; at-least-once waits one request time-out more. A broker that comes back is "
        f"written to again after {back['median']:.1f} s (at most {back['most']:.1f}, {back['times']} times)."
    )


def write_docs(sections: Mapping[str, str], document: Path = DOCUMENT) -> None:
    """Put each between its two markers."""
    text = document.read_text()
    for name, section in sections.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{section}{end}{rest.partition(end)[2]}"
    document.write_text(text)


def write(figures: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")


def load(*paths: Path) -> dict[str, Any]:
    """The figures of one campaign, or of several."""
    files: list[dict[str, Any]] = [json.loads(path.read_text()) for path in paths]
    return added(files)
