"""On one EC2 Spot instance (deploy/ec2), several files one after another, each into a topic of its own.

    pip install csv2kafka-*.whl
    python ec2.py s3://example-exports/orders.csv=orders s3://example-exports/customers.csv=customers

with the variables that deploy/ec2 gives the instance (CSV2KAFKA_BOOTSTRAP_SERVERS, _CHECKPOINTS), but without _JOB, as
each file is a job of its own. Here:

    python examples/ec2.py s3://example-exports/orders.csv=orders

The notice that the instance is taken back stands in its metadata, two minutes before. It is looked for every 5 s; what
is on the way is committed then, and the exit code is 75. The same command on the next instance passes over the files
that are done, and goes on in the one that is not.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from functools import partial

from csv2kafka import Pipeline
from csv2kafka.metrics import EmfMetrics
from csv2kafka.process import configuration, main, until_stopped


async def start(pairs: list[str]) -> int:
    """The exit code of the first that does not end with 0, as nothing is begun behind it."""
    for pair in pairs:
        source, _, topic = pair.rpartition("=")
        config = await configuration(sources=[source], topic=topic)
        with closing(EmfMetrics()) as metrics:
            code = await until_stopped(Pipeline.from_config(config, on_event=metrics), watch="ec2")
        if code:
            return code
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="s3://BUCKET/KEY=TOPIC")
    raise SystemExit(main(partial(start, parser.parse_args().pairs)))
