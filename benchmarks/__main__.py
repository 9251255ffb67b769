"""csv2kafka beside what a user could take instead, on one broker: ``python -m benchmarks`` (or ``make bench``).

docs/benchmarks.md says what is measured, and how.
"""

from __future__ import annotations

import argparse
import gc
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve

from benchmarks import charts, crash, data, machine, race, report, scaling, startup
from benchmarks.broker import Kafka
from benchmarks.data import Table
from benchmarks.figures import Run, summary
from benchmarks.peers.peer import Peer
from benchmarks.peers.table import PEERS
from benchmarks.race import Field
from benchmarks.results import DEFAULT, Crash, PeerFacts, Results, bars
from csv2kafka.cli.local_kafka import fetch_jars, missing_tools

STARTUP = "startup"
SLOW_PART = 4  # slow peers are killed with this part of the rows

WARM_UP_RUNS = 5  # by then the broker's Java has compiled what it will


def main() -> None:
    options = _options()
    if missing := missing_tools():
        sys.exit(f"the benchmark needs {', '.join(missing)}")
    fetch_jars(_say)
    cpus = options.cpus or machine.choose_cpus(options.cores)
    directory = Path(tempfile.mkdtemp(prefix="csv2kafka-bench-", dir=options.work))
    try:
        with Kafka(directory / "kafka", cpus) as kafka:
            field = Field(kafka=kafka, cpus=cpus, directory=directory)
            results = _measure(field, options)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    _write(results, options.output)


def _measure(field: Field, options: argparse.Namespace) -> Results:
    chosen = [peer for peer in PEERS if not options.only or peer.name in options.only]
    left_out = {peer.name: reason for peer in chosen if (reason := peer.missing())}
    for name, reason in left_out.items():
        _say(f"left out: {name}: {reason}")
    racing = [peer for peer in chosen if peer.name not in left_out]
    default = next(peer for peer in PEERS if peer.name == DEFAULT)
    table = data.write_usual(field.directory / "usual.csv", options.rows)
    gc.freeze()  # what the checks make in millions is not to be searched again and again
    _say(f"{table.rows:,} rows, {table.bytes / 1e6:.0f} MB; CPUs {', '.join(map(str, field.cpus))}")
    for _ in range(WARM_UP_RUNS):
        _say(f"warm-up: {race.told(race.run(field, default, table, -1))}")
    runs = _race(field, racing, table, options.rounds)
    crashes = _crashes(field, racing, table) if options.crash else {}
    begun = None
    if not options.only or STARTUP in options.only:
        _say("start-up, verify, kernel")
        begun = startup.measure(field, default, table, options.rounds)
    sections = [
        scaling.measure(name, field, default, options.rows, options.rounds, _say) for name in options.scaling or ()
    ]
    summaries = {peer.name: summary([run for run in runs if run.peer == peer.name], len(field.cpus)) for peer in racing}
    return Results(
        at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        command=shlex.join(["python", "-m", "benchmarks", *_without_places(sys.argv[1:])]),
        machine=machine.describe(field.cpus),
        rows=table.rows,
        bytes=table.bytes,
        rounds=options.rounds,
        peers={
            peer.name: PeerFacts(
                title=peer.title,
                settings=peer.settings,
                sends=peer.sends.value,
                kind=peer.kind,
                left_out=left_out.get(peer.name),
                summary=summaries.get(peer.name),
                crash=crashes.get(peer.name),
            )
            for peer in chosen
        },
        runs=runs,
        bars=bars(runs, summaries, begun, sections),
        startup=begun,
        scaling=sections,
    )


def _without_places(arguments: Sequence[str]) -> list[str]:
    """What was asked for but where files are put, which is one machine's matter."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ("--output", "--work"):
        parser.add_argument(option)
    return parser.parse_known_args(arguments)[1]


def _race(field: Field, peers: Sequence[Peer], table: Table, rounds: int) -> list[Run]:
    """Round after round, each beginning with another peer."""
    runs = []
    for number in range(rounds):
        first = number * len(peers) // max(1, rounds)
        for peer in (*peers[first:], *peers[:first]):
            made = race.run(field, peer, _table_for(field, peer, table), number)
            _say(f"round {number + 1}: {peer.name}: {race.told(made)}")
            runs.append(made)
    return runs


def _crashes(field: Field, peers: Sequence[Peer], table: Table) -> dict[str, Crash]:
    made = {}
    for peer in peers:
        if not peer.killed:
            continue
        file = _part(field, table, table.rows // SLOW_PART) if peer.slow else table
        made[peer.name] = crash.crash(field, peer, file)
        _say(f"killed and run again: {peer.name}: {made[peer.name].difference or made[peer.name].problem}")
    return made


def _table_for(field: Field, peer: Peer, table: Table) -> Table:
    return table if peer.most_rows is None or peer.most_rows >= table.rows else _part(field, table, peer.most_rows)


def _part(field: Field, table: Table, rows: int) -> Table:
    """The same table's first rows, in a file of their own."""
    path = field.directory / f"first-{rows}.csv"
    if path.exists():
        return evolve(table, path=path, rows=rows, bytes=path.stat().st_size)
    return data.write_usual(path, rows)


def _write(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = charts.draw(results, folder)
    (folder / "results.json").write_text(report.as_json(results))
    text = report.as_markdown(results, names)
    (folder / "results.md").write_text(text)
    print(f"\n{text}\nwritten to {folder}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*(peer.name for peer in PEERS), STARTUP]
    parser.add_argument("--rows", type=int, default=2_000_000, help="of the usual file (2,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--only", type=_names(names), help=f"some of {', '.join(names)}")
    parser.add_argument("--cores", type=int, default=2, help="CPUs for the peers and the broker together (2)")
    parser.add_argument("--cpus", type=_cpus, help="which they are, instead (0,1)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", metavar="DIR")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where files and the broker's data stand meanwhile")
    parser.add_argument("--no-crash", dest="crash", action="store_false", help="kill nobody")
    parser.add_argument(
        "--scaling",
        type=_names([*scaling.SECTIONS]),
        nargs="?",
        const=[*scaling.SECTIONS],
        help=f"also the default command by {', '.join(scaling.SECTIONS)} (all of these if none is named)",
    )
    return parser.parse_args()


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A list with commas, of known names."""

    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, found {', '.join(unknown)}")
        return given

    return names


def _cpus(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


_began = time.monotonic()


def _say(text: str) -> None:
    print(f"{time.monotonic() - _began:6.0f} s  {text}", flush=True)


if __name__ == "__main__":
    main()
