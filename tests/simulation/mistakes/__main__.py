"""The command that plays the mistakes: is each found, and after how many schedules?"""

from __future__ import annotations

import argparse
import sys

from tests.simulation.mistakes import MISTAKES, search


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit code 1 if a mistake is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mistakes", description="Is each mistake found?")
    parser.add_argument("--only", action="append", choices=[each.name for each in MISTAKES])
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--within", type=int, help="schedules, instead of each one's budget")
    parser.add_argument("--trace", action="store_true", help="show how it comes about")
    given = parser.parse_args(arguments)
    survived = 0
    for mistake in MISTAKES:
        if given.only and mistake.name not in given.only:
            continue
        found = search(mistake, given.within, given.start)
        how = f"{mistake.name:<34} {found.seconds:6.1f} s, {found.played} played"
        if found.outcome is None:
            survived += 1
            print(f"NOT FOUND in {found.drawn:>5}  {how}", flush=True)
            continue
        told = found.outcome.violations[0].partition("\n")[0]
        print(f"found by     {found.drawn:>5}  {how}: {told[:150]}", flush=True)
        if given.trace:
            print(found.outcome, flush=True)
    print(f"{survived} not found")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
