"""Faults against the installed command and real brokers, each followed by a comparison of every row.

python -m tests.chaos                                   five minutes of all of them
python -m tests.chaos --hours 8 --json result.json
python -m tests.chaos --only kill-exactly-once,cut --minutes 2
python -m tests.chaos --once                            a brief round: each fault once
python -m tests.chaos --only cut --trial 12345678       one trial again, by its seed
python -m tests.chaos --table result.json               the table of an earlier one
python -m tests.chaos --write-docs                      those in docs/ into docs/guarantees.md
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from csv2kafka.cli.local_kafka import fetch_jars, missing_tools
from tests.chaos import results
from tests.chaos.campaign import Campaign
from tests.chaos.places import be_patient, own_mounts
from tests.chaos.table import FAULTS
from tests.faults.installed import KERNEL


def main() -> int:
    """0: every row was there once and in order, and nothing else was wrong. 1: not so. 130: interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="how long (5)")
    parser.add_argument("--hours", type=float)
    parser.add_argument("--once", action="store_true", help="each fault once, and briefly")
    parser.add_argument("--only", help=f"some faults, with commas between them: {', '.join(FAULTS)}")
    parser.add_argument("--kills", type=int, default=0, help="no more jobs are killed after so many")
    parser.add_argument("--seed", type=int, help="of everything that is drawn (at random)")
    parser.add_argument("--trial", type=int, metavar="SEED", help="one trial of each of --only, with this seed")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--keep", type=Path, help="where logs go of what went wrong (a new folder)")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="only print the table of these figures")
    parser.add_argument(
        "--write-docs", action="store_true", help="put docs/chaos.json and docs/recovery.json into docs/guarantees.md"
    )
    arguments = parser.parse_args()
    if arguments.table:
        figures = results.load(*arguments.table)
        print(results.table(figures))
        if arguments.json:
            results.write(figures, arguments.json)
        return 0
    if arguments.write_docs:
        table, recovery = results.load(results.FIGURES), results.load(results.RECOVERY)
        results.write_docs({"chaos table": results.section(table), "recovery": results.recovery(recovery)})
        return 0
    if missing := missing_tools():
        print(f"no broker can be started: {', '.join(missing)} is missing")
        return 2
    only = arguments.only.split(",") if arguments.only else default_faults(brief=arguments.once)
    if unknown := [name for name in only if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}")
    minutes = None if arguments.once else (arguments.hours or 0) * 60 + (arguments.minutes or 0) or 5.0
    return run(arguments, only, minutes)


def default_faults(*, brief: bool) -> list[str]:
    return [name for name, fault in FAULTS.items() if not (brief and fault.long)]


def run(arguments: argparse.Namespace, only: list[str], minutes: float | None) -> int:
    fetch_jars(print)
    own_mounts()
    be_patient()
    signal.signal(signal.SIGTERM, _interrupted)
    campaign = Campaign(
        seed=random.randrange(10**6) if arguments.seed is None else arguments.seed,
        minutes=minutes,
        kills=arguments.kills,
        only=only,
        trial=arguments.trial,
        keep=arguments.keep or Path(tempfile.gettempdir(), f"csv2kafka-chaos-found-{int(time.time())}"),
    )
    print(f"seed {campaign.seed}", flush=True)
    began, interrupted = time.monotonic(), False
    try:
        campaign.run()
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.monotonic() - began
    made = results.Made(seed=campaign.seed, minutes=round(seconds / 60, 1), kernel=KERNEL, only=arguments.only or "")
    figures = results.summary(campaign.results, [made])
    if arguments.json:
        results.write(figures, arguments.json)
    print(results.table(figures))
    clean = all(each.clean for each in campaign.results)
    if not clean:
        print(f"logs of what went wrong are in {campaign.keep}")
    return 130 if interrupted else 0 if clean else 1


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
