"""All that is hostile, for some minutes: ``python -m tests.hostile --minutes 10 [--only csv,answers] [--seed 1]``.

Each part gets the same share of the time. It ends with 1 at the first thing that is not met as it should be, and says
what gives it again. ``tests/hostile/test_*.py`` run a share of each with the other tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.hostile import aws_answers, batches, checkpoints, configurations, csv_files, kafka_answers, topics
from tests.hostile.aws_server import aws_server
from tests.hostile.campaign import Part, campaign
from tests.hostile.forked import forked


def parts(stack: ExitStack) -> dict[str, Part]:
    """By name. Those that run the command share a process that forks it."""
    base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-")))
    command = stack.enter_context(forked(base))
    aws = stack.enter_context(aws_server())
    return {
        "aws": lambda seed: aws_answers.try_one(seed, aws, command, base),
        "answers": kafka_answers.try_one,
        "batches": batches.try_one,
        "streams": batches.try_stream,
        "json": checkpoints.try_json,
        "stores": checkpoints.try_stores,
        "states": checkpoints.try_states,
        "config": lambda seed: configurations.try_one(seed, base),
        "csv": lambda seed: csv_files.try_one(seed, command, base),
        "flags": lambda seed: configurations.try_flags(seed, command, base),
        "topics": lambda seed: topics.try_one(seed, base),
        "sqlite": lambda seed: checkpoints.try_sqlite(seed, command, base),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--only", help="parts, with commas between them")
    parser.add_argument("--seed", type=int, help="of the first; the next have the next (at random)")
    parser.add_argument("--count", type=int, help="how many of each, instead of minutes")
    asked = parser.parse_args()
    with ExitStack() as stack:
        known = parts(stack)
        names = asked.only.split(",") if asked.only else list(known)
        if unknown := set(names) - known.keys():
            parser.error(f"no part {', '.join(sorted(unknown))}; there is {', '.join(known)}")
        seconds = 0.0 if asked.count else asked.minutes * 60 / len(names)
        for name in names:
            try:
                told = campaign(name, known[name], seconds=seconds, count=asked.count or 0, first=asked.seed)
            except AssertionError as error:
                print(f"{name}: {error}", flush=True)
                return 1
            print(f"{name}: {told}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
