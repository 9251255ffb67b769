"""``csv2kafka init`` of what is in AWS, as the installed command does it."""

from __future__ import annotations

import subprocess
import sysconfig
import uuid
from pathlib import Path

from tests.aws.conftest import Aws

CSV2KAFKA = Path(sysconfig.get_path("scripts")) / "csv2kafka"


def started(aws: Aws, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [CSV2KAFKA, *arguments],
        env=dict(aws.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_table_by_two_at_once(aws: Aws) -> None:
    name = f"table-{uuid.uuid4().hex[:12]}"
    runs = [started(aws, "init", f"dynamodb://{name}?ttl=30d") for _ in range(2)]
    ends = [run.communicate(timeout=60) for run in runs]
    assert [(run.returncode, err) for run, (_, err) in zip(runs, ends, strict=True)] == [(0, "")] * 2
    (first, _), (second, _) = ends
    assert any(f"table {name}: made, on demand\n" in out for out in (first, second))
    assert first.splitlines()[-1] == second.splitlines()[-1]
    described = aws.client("dynamodb").describe_table(TableName=name)["Table"]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_a_corner_of_a_bucket(aws: Aws, bucket: str) -> None:
    run = started(aws, "init", f"s3://{bucket}/jobs")
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, "")
    assert out.startswith(f"s3://{bucket}/jobs: made, and can be written to\nstore id ")


def test_a_bucket_that_is_not_there(aws: Aws) -> None:
    run = started(aws, "init", "s3://no-such-bucket/jobs")
    _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "s3://no-such-bucket: there is no such bucket" in err


def test_jobs_of_a_store_that_was_just_made(aws: Aws, bucket: str) -> None:
    for url in (f"dynamodb://table-{uuid.uuid4().hex[:12]}", f"s3://{bucket}/jobs"):
        run = started(aws, "init", url)
        run.communicate(timeout=60)
        assert run.returncode == 0
        run = started(aws, "status", "--checkpoints", url)
        out, err = run.communicate(timeout=60)
        assert (run.returncode, out, err) == (0, "", f"no jobs in {url}\n")
