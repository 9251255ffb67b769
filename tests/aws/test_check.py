"""``csv2kafka check`` of a job in AWS: objects in S3, checkpoints in DynamoDB and S3, and the time that AWS tells."""

from __future__ import annotations

import gzip
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.config import RunConfig
from csv2kafka.model.findings import Finding
from csv2kafka.pipeline import Pipeline
from csv2kafka.preflight import Preflight
from csv2kafka.preflight.clock import clock_finding
from csv2kafka.preflight.store import look_at_store
from tests.aws.conftest import Aws
from tests.aws.http_faults import S3Faults

ROWS = b"id,name\n" + b"".join(b"%d,name\n" % row for row in range(1000))


def config(source: str, store: str, directory: Path, **more: Any) -> RunConfig:
    return RunConfig(sources=(source,), output=str(directory / "out.jsonl"), checkpoints=store, job="orders", **more)


async def found(config: RunConfig) -> dict[str, Finding]:
    return {finding.name: finding async for finding in Preflight(config).findings()}


def failing(findings: dict[str, Finding]) -> list[str]:
    return [finding.name for finding in findings.values() if finding.status == "fail"]


@pytest.fixture
def source(aws: Aws, bucket: str) -> str:
    aws.client("s3").put_object(Bucket=bucket, Key="in/a.csv", Body=ROWS)
    return f"s3://{bucket}/in/"


@pytest.fixture
async def table(aws: Aws) -> str:
    name = f"jobs-{uuid.uuid4().hex[:8]}"
    aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "job", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "job", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


async def test_a_new_job_leaves_nothing_in_its_table(aws: Aws, source: str, table: str, tmp_path: Path) -> None:
    given = config(source, f"dynamodb://{table}", tmp_path)
    findings = await found(given)
    assert failing(findings) == []
    assert "is new" in findings["checkpoint store"].message
    assert "about 1,000 rows" in findings["estimate"].message
    assert findings["clock"].status == "pass"
    assert aws.client("dynamodb").scan(TableName=table)["Items"] == []
    await Pipeline.from_config(given).run()
    before = aws.client("dynamodb").scan(TableName=table)["Items"]
    again = await found(given)
    assert "complete: 1,000 rows" in again["job"].message
    assert again["lease"].message == "free"
    assert aws.client("dynamodb").scan(TableName=table)["Items"] == before


async def test_a_new_job_leaves_nothing_in_its_bucket(aws: Aws, source: str, bucket: str, tmp_path: Path) -> None:
    findings = await found(config(source, f"s3://{bucket}/jobs", tmp_path))
    assert failing(findings) == []
    assert "is new" in findings["checkpoint store"].message
    objects = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [one["Key"] for one in objects] == ["in/a.csv"]


async def test_a_missing_object_and_a_missing_table(aws: Aws, bucket: str, tmp_path: Path) -> None:
    findings = await found(config(f"s3://{bucket}/none.csv", "dynamodb://no-such-table", tmp_path))
    assert failing(findings) == ["source", "checkpoint store"]
    assert findings["source"].exit_code == 2
    assert "csv2kafka init" in findings["checkpoint store"].hint


async def test_a_held_lease_names_its_holder(aws: Aws, source: str, table: str, tmp_path: Path) -> None:
    given = config(source, f"dynamodb://{table}", tmp_path)
    await Pipeline.from_config(given).run()
    store = DynamoDBStore.from_url(f"dynamodb://{table}")
    async with store.lease("orders", "run 1 (elsewhere)") as lease:
        assert lease is not None
        look = await look_at_store(given, "orders", lease_seconds=0.1)
        await lease.renew()
    await store.close()
    assert "run 1 (elsewhere)" in look.findings[1].message
    assert look.findings[1].status == "warn"  # silent for that long


async def test_rows_of_a_compressed_object_are_estimated(aws: Aws, bucket: str, tmp_path: Path) -> None:
    rows = 400_000
    content = b"id,name\n" + b"".join(b"%d,name %d\n" % (row, row * 7919 % 1000) for row in range(rows))
    aws.client("s3").put_object(Bucket=bucket, Key="a.csv.gz", Body=gzip.compress(content, 1))
    look = Preflight(config(f"s3://{bucket}/a.csv.gz", f"sqlite:///{tmp_path}/jobs.db", tmp_path))
    assert failing({finding.name: finding async for finding in look.findings()}) == []
    assert look.forecast.rows == pytest.approx(rows, rel=0.15)


async def test_what_after_would_do_is_not_tried(aws: Aws, source: str, bucket: str, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/jobs.db"
    assert (await found(config(source, store, tmp_path, after="delete")))["--after"].status == "not checked"
    assert len(aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]) == 1


@pytest.mark.parametrize(("skew", "says"), [(-90, "90 s behind"), (400, "AWS refuses such requests")])
async def test_a_clock_that_is_wrong(aws: Aws, source: str, tmp_path: Path, skew: float, says: str) -> None:
    given = config(source, f"sqlite:///{tmp_path}/jobs.db", tmp_path)
    finding = await clock_finding(given, now=lambda: time.time() + skew)
    assert finding.status == "warn"
    assert says.partition(" ")[2] in finding.message


async def test_a_service_that_is_away_tells_no_time(
    aws: Aws, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    finding = await clock_finding(config(source, f"sqlite:///{tmp_path}/jobs.db", tmp_path))
    assert finding.status == "not checked"


@pytest.mark.parametrize("date", ["yesterday", "", "Mon, 99999999999999999999 Oct 2026 07:00:00 GMT"])
async def test_a_date_that_is_none_tells_no_time(
    aws: Aws, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    async with S3Faults(aws.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.answer("403 Forbidden", b"", lambda _: True, Date=date)
        finding = await clock_finding(config(source, f"sqlite:///{tmp_path}/jobs.db", tmp_path))
    assert finding.status == "not checked"
    assert "did not tell the time" in finding.message
