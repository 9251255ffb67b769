"""What S3 and DynamoDB do on a bad day, between the installed command and moto: the job completes, with the same rows.

Each fault is laid once; that it came is asserted, and that the Kafka session was not lost over it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.aws.conftest import Aws
from tests.aws.http_proxy import HttpProxy, Rule, behind, does, every, gets
from tests.aws.job import AwsJob, make_table, write_rows
from tests.faults.installed import Installed

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(240)]

ROWS = 200_000  # 10 MB: ten ranges
RANGE_BYTES = 1 << 20
CUT = 300_000
READ_SECONDS = 3
KEY = "orders.csv"
READS = gets(KEY, least=CUT + 1)
Lay = Callable[[HttpProxy], list[Rule]]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("rows") / KEY
    write_rows(path, ROWS)
    yield path
    path.unlink()


@pytest.fixture
async def s3(aws: Aws) -> AsyncIterator[HttpProxy]:
    """What stands in front of S3."""
    async with HttpProxy(aws.url) as proxy:
        yield proxy


# One range after the other over a narrow line: so many seconds pass between the first rows and the last.
Narrow = Callable[[float], Awaitable[Mapping[str, str]]]


@pytest.fixture
async def narrow(aws: Aws, file: Path) -> AsyncIterator[Narrow]:
    """Makes the line; gives the variables to use it."""
    async with AsyncExitStack() as lines:

        async def make(seconds: float) -> Mapping[str, str]:
            line = HttpProxy(aws.url, bytes_per_second=file.stat().st_size / seconds)
            await lines.enter_async_context(line)
            return {"AWS_ENDPOINT_URL_S3": line.url, "CSV2KAFKA_S3_PARALLEL": "1"}

        yield make


@pytest.fixture
async def dynamodb(aws: Aws) -> AsyncIterator[HttpProxy]:
    """What stands in front of DynamoDB."""
    async with HttpProxy(aws.url) as proxy:
        yield proxy


@pytest.fixture
def job(aws: Aws, bucket: str, file: Path, bootstrap_servers: str, topic: str, tmp_path: Path) -> Iterator[AwsJob]:
    aws.client("s3").upload_file(str(file), bucket, KEY)
    job = AwsJob(
        aws=aws,
        source=f"s3://{bucket}/{KEY}",
        file=file,
        servers=bootstrap_servers,
        topic=topic,
        checkpoints=f"dynamodb://{make_table(aws, tmp_path)}",
        directory=tmp_path,
        variables={
            "CSV2KAFKA_CHECKPOINT_INTERVAL": "100ms",
            "CSV2KAFKA_S3_RANGE_BYTES": str(RANGE_BYTES),
            "CSV2KAFKA_S3_READ_TIMEOUT": str(READ_SECONDS),
        },
    )
    yield job
    job.kill_all()


async def completed(job: AwsJob, run: Installed) -> dict[str, Any]:
    """Waits for its end, with every row there; gives its report."""
    report = await asyncio.to_thread(job.ended, run)
    assert report["complete"]
    assert report["rows"] == ROWS
    await asyncio.to_thread(job.assert_holds_exactly)
    return report


async def until(done: Callable[[], bool], run: Installed, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert run.process.poll() is None, f"ended with {run.process.poll()}:\n{run.output[-3000:]}"
        assert time.monotonic() < deadline, f"waited {seconds} s:\n{run.output[-3000:]}"
        await asyncio.sleep(0.02)


S3_FAULTS: dict[str, Lay] = {
    "bodies that break off": lambda s3: [s3.cut_body(READS, at=CUT, times=4)],
    "bodies that break off at once": lambda s3: [s3.cut_body(READS, at=0, times=2)],
    "503 SlowDown": lambda s3: [s3.slow_down(every(2, READS), times=6)],
    "500 InternalError": lambda s3: [s3.internal_error(every(2, READS), times=6)],
    "503 to everything for a while": lambda s3: [s3.slow_down(READS, times=20)],
    "answers that come too late": lambda s3: [s3.delay(2 * READ_SECONDS, READS, times=3)],
    # Of four ranges at once. A connection that was cut before is tried once more by aiohttp itself.
    "connections cut before the answer": lambda s3: [s3.cut(READS, times=10), s3.cut(READS, after=True, times=10)],
    "a socket that stalls": lambda s3: [s3.stall(READS, at=CUT)],
    "one after the other": lambda s3: [
        s3.cut_body(every(2, READS), at=CUT, times=3),
        s3.slow_down(every(2, READS), times=3),
        s3.internal_error(every(2, READS), times=2),
        s3.cut(every(3, READS), times=2),
        s3.delay(1.0, READS, times=3),
    ],
}


@pytest.mark.parametrize("fault", S3_FAULTS)
async def test_s3(job: AwsJob, s3: HttpProxy, fault: str) -> None:
    rules = S3_FAULTS[fault](s3)
    run = await asyncio.to_thread(job.start, AWS_ENDPOINT_URL_S3=s3.url)
    report = await completed(job, run)
    assert all(rule.struck for rule in rules)
    assert report["sessions"] == 1


async def test_what_came_before_the_cut_is_not_read_again(job: AwsJob, s3: HttpProxy) -> None:
    s3.cut_body(READS, at=CUT)
    await completed(job, await asyncio.to_thread(job.start, AWS_ENDPOINT_URL_S3=s3.url))
    first = [int(each.headers["range"].removeprefix("bytes=").partition("-")[0]) for each in s3.requests if READS(each)]
    assert CUT in first
    assert first.count(0) == 1


FOR_A_WHILE = "all throttled for a while"  # longer than a request is tried
DYNAMODB_FAULTS: dict[str, Lay] = {
    "every other request throttled": lambda db: [db.throttle(every(2, lambda _: True), times=None)],
    FOR_A_WHILE: lambda db: [db.throttle(behind(10, lambda _: True), times=7)],
    "500": lambda db: [db.internal_error(every(3, lambda _: True), times=5)],
    "done, but not answered": lambda db: [db.cut(every(3, does("UpdateItem")), after=True, times=None)],
    "connections cut before": lambda db: [db.cut(every(3, lambda _: True), times=None)],
}


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
@pytest.mark.parametrize("fault", DYNAMODB_FAULTS)
async def test_dynamodb(job: AwsJob, narrow: Narrow, dynamodb: HttpProxy, fault: str, delivery: str) -> None:
    rules = DYNAMODB_FAULTS[fault](dynamodb)
    variables = {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url, "CSV2KAFKA_DELIVERY": delivery, **await narrow(4)}
    run = await asyncio.to_thread(lambda: job.start(**variables))
    report = await completed(job, run)
    assert all(rule.struck for rule in rules)
    if delivery == "exactly-once" or fault != FOR_A_WHILE:
        assert report["sessions"] == 1
    else:
        assert report["sessions"] > 1  # a commit waits for the store: its checkpoint is the one that counts


async def test_rows_go_on_while_dynamodb_is_away(job: AwsJob, narrow: Narrow, dynamodb: HttpProxy) -> None:
    """For less than another run would take to get the lease: Kafka's checkpoints count, and the session stays."""
    variables = {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url, **await narrow(20)}
    run = await asyncio.to_thread(lambda: job.start(**variables))
    await until(lambda: run.committed_rows() > 0, run)
    await dynamodb.go_away()
    before = run.committed_rows()
    await asyncio.sleep(8)
    meanwhile = run.committed_rows()
    await dynamodb.come_back()
    asked = len(dynamodb.requests)
    report = await completed(job, run)
    assert meanwhile > before + ROWS / 10
    assert report["sessions"] == 1
    assert len(dynamodb.requests) > asked
    assert report["rows_this_run"] == ROWS
    await asyncio.to_thread(job.verify)


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
async def test_dynamodb_away_for_longer_than_a_lease(
    job: AwsJob, narrow: Narrow, dynamodb: HttpProxy, delivery: str
) -> None:
    """No row is committed once another run may have the lease; back again, the run goes on by itself."""
    variables = {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url, "CSV2KAFKA_DELIVERY": delivery, **await narrow(25)}
    run = await asyncio.to_thread(lambda: job.start(**variables))
    await until(lambda: run.committed_rows() > 0, run)
    await dynamodb.go_away()
    await asyncio.sleep(17)
    held_up = run.committed_rows()
    await asyncio.sleep(4)
    assert run.committed_rows() == held_up < ROWS
    await dynamodb.come_back()
    report = await completed(job, run)
    assert report["sessions"] > 1
