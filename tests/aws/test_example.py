"""examples/s3_to_msk.py, run as its reader would, into a Kafka without login."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.aws.conftest import Aws
from tests.aws.http_proxy import HttpProxy, gets
from tests.aws.job import make_table
from tests.pipelines import csv_text, values
from tests.reading import read_partition

EXAMPLE = Path(__file__).parents[2] / "examples" / "s3_to_msk.py"
SECONDS = 60.0
ROWS = 300


@pytest.fixture
def table(aws: Aws, tmp_path: Path) -> str:
    return make_table(aws, tmp_path)


@pytest.fixture
def source(aws: Aws, bucket: str) -> str:
    aws.client("s3").put_object(Bucket=bucket, Key="orders.csv", Body=csv_text(ROWS))
    return f"s3://{bucket}/orders.csv"


@contextmanager
def started(aws: Aws, servers: str, *arguments: str, more: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        **aws.environment,
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        **more,
    }
    command = [sys.executable, str(EXAMPLE), *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_loads_it_once(aws: Aws, bootstrap_servers: str, topic: str, source: str, table: str) -> None:
    for _ in range(2):
        with started(aws, bootstrap_servers, source, topic, "--table", table, more={}) as run:
            output, _ = run.communicate(timeout=SECONDS)
        assert run.returncode == 0, output
        assert output.startswith(f"{ROWS} rows in kafka topic {topic} partition 0, content ")
        assert [row.value for row in read_partition(bootstrap_servers, topic)] == values(ROWS)


async def test_stops_when_told_to(aws: Aws, bootstrap_servers: str, topic: str, source: str, table: str) -> None:
    async with HttpProxy(aws.url) as s3:
        never = s3.stall(gets("orders.csv"), at=0)
        more = {"AWS_ENDPOINT_URL_S3": s3.url}
        with started(aws, bootstrap_servers, source, topic, "--table", table, more=more) as run:
            async with asyncio.timeout(SECONDS):
                while not never.struck:
                    await asyncio.sleep(0.02)
            run.send_signal(signal.SIGTERM)
            output, _ = await asyncio.to_thread(run.communicate, timeout=SECONDS)
    assert run.returncode == 75, output
    assert "stopped: 0 rows are committed" in output


def test_names_what_is_wrong(aws: Aws, bootstrap_servers: str, topic: str, table: str, bucket: str) -> None:
    arguments = (f"s3://{bucket}/missing.csv", topic, "--table", table)
    with started(aws, bootstrap_servers, *arguments, more={}) as run:
        output, _ = run.communicate(timeout=SECONDS)
    assert run.returncode == 2, output
    assert "missing.csv" in output
