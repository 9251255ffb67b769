"""A CSV in S3 into a topic of Amazon MSK, from a program of one's own; where the job stands is kept in DynamoDB.

    csv2kafka init dynamodb://csv2kafka                  # once: the table
    export AWS_REGION=eu-west-1 KAFKA_BOOTSTRAP_SERVERS=b-1.example.kafka.eu-west-1.amazonaws.com:9098
    python examples/s3_to_msk.py s3://exports/orders.csv orders

It logs in by IAM, as the role of the machine it runs on (docs/aws.md has the policies). For a Kafka without login set
KAFKA_SECURITY_PROTOCOL=PLAINTEXT. Run it again after a crash, on this machine or another: it goes on where it stopped.
SIGTERM, the notice of a machine that is about to go, stops it with everything committed and exit code 75.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from typing import Any

from csv2kafka import Csv2KafkaError, DynamoDBStore, KafkaSink, Pipeline, S3Source

STOPPED = 75


def kafka_options() -> dict[str, Any]:
    """How to reach the brokers, by aiokafka's names; AWS_MSK_IAM is csv2kafka's own."""
    options: dict[str, Any] = {"bootstrap_servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}
    protocol = os.environ.get("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    options["security_protocol"] = protocol
    if protocol.startswith("SASL"):
        options["sasl_mechanism"] = os.environ.get("KAFKA_SASL_MECHANISM", "AWS_MSK_IAM")
    return options


async def load(source: str, topic: str, table: str) -> int:
    """Gives an exit code, as the command's."""
    pipeline = Pipeline(
        source=S3Source(source),
        sink=KafkaSink(topic, **kafka_options()),
        checkpoints=DynamoDBStore(table),
    )
    task = asyncio.ensure_future(pipeline.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        report = await task
    except Csv2KafkaError as error:
        print(error)
        return error.exit_code
    except asyncio.CancelledError:
        print(f"stopped: {pipeline.report.checkpoint.counts.rows} rows are committed")
        return STOPPED
    counts = report.checkpoint.counts
    print(f"{counts.rows} rows in {report.destination}, content {report.checkpoint.content_hash}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="s3://BUCKET/KEY, s3://BUCKET/PREFIX/ or a glob of keys")
    parser.add_argument("topic")
    parser.add_argument("--table", default="csv2kafka", help="DynamoDB's, made by csv2kafka init")
    arguments = parser.parse_args()
    raise SystemExit(asyncio.run(load(arguments.source, arguments.topic, arguments.table)))
