"""In AWS Batch (deploy/batch), as an array job of one's own: each child loads one object of a list in S3, into a
partition of its own.

    aws s3 cp 2026-11.list s3://example-exports/csv2kafka-jobs/     # one s3:// address a line, child 0's first
    aws batch submit-job --job-name orders --job-queue csv2kafka-batch --job-definition csv2kafka-batch-array \
        --share-identifier array --array-properties size=12 --container-overrides 'environment=[
        {name=MANIFEST,value=s3://example-exports/csv2kafka-jobs/2026-11.list},{name=CSV2KAFKA_TOPIC,value=orders}]'

with an image of one's own, as in ecs.py, whose entry point is this.
One child here, with the job definition's variables and that topic (CSV2KAFKA_TOPIC, _BOOTSTRAP_SERVERS, _CHECKPOINTS):

    MANIFEST=s3://example-exports/csv2kafka-jobs/2026-11.list AWS_BATCH_JOB_ARRAY_INDEX=0 python examples/batch.py

A list must not change while the array runs: its line is all that a child has of its own. Without code of one's own
`[[array]]` tables in a file for --config do the same (docs/aws.md).
"""

from __future__ import annotations

import os
from contextlib import closing

from csv2kafka import Pipeline
from csv2kafka.errors import ConfigError
from csv2kafka.metrics import EmfMetrics
from csv2kafka.process import configuration, main, until_stopped
from csv2kafka.sources import small_object


async def own_source() -> tuple[str, int]:
    """The address for this child, and its number."""
    manifest, index = os.environ.get("MANIFEST", ""), os.environ.get("AWS_BATCH_JOB_ARRAY_INDEX", "")
    if not manifest or not index.isdecimal():
        raise ConfigError(
            f"expected MANIFEST and AWS_BATCH_JOB_ARRAY_INDEX, found {manifest!r} and {index!r}",
            hint="Batch sets the latter for the children of an array job; MANIFEST is s3://BUCKET/KEY",
        )
    lines = (await small_object.fetch(manifest)).decode().split()
    if int(index) >= len(lines):
        raise ConfigError(
            f"{manifest}: expected a line for child {index}, which counts from 0, found {len(lines)} lines"
        )
    return lines[int(index)], int(index)


async def start() -> int:
    """The rules of the job definition try a child again that a reclaimed machine has ended (75, or a signal)."""
    source, index = await own_source()
    config = await configuration(sources=[source], partition=index)
    with closing(EmfMetrics()) as metrics:
        return await until_stopped(Pipeline.from_config(config, on_event=metrics), watch="spot")


if __name__ == "__main__":
    raise SystemExit(main(start))
