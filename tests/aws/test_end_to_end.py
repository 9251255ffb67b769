"""The mission's own case in small: rows in S3 into Kafka, checkpoints in DynamoDB, on a machine that keeps vanishing.

The command is told everything by environment variables, as it will be in AWS.
"""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from tests.aws.conftest import Aws
from tests.aws.job import AwsJob, expected_digest, make_table, write_rows
from tests.faults.installed import Killing

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(480)]

ROWS = 2_000_000
# A run that finds a dead one's lease watches it for 15 s: so many of its kills hit it there, and so many amid rows.
STARTING, AMID = 4, 6
FEW_ROWS = 4000  # a commit: 500 of them, so that all kills come amid the rows
MANY_ROWS = 200_000  # the same for the last run


@pytest.fixture(scope="module")
def millions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("millions") / "orders.csv"
    write_rows(path, ROWS)
    expected_digest(path)  # once, for all three
    yield path
    path.unlink()


def compressed(path: Path, ending: str, directory: Path) -> Path:
    """The file as ``gzip`` or ``zstd`` would write it: one member, one frame."""
    result = directory / f"{path.name}{ending}"
    with path.open("rb") as source, result.open("wb") as target:
        if ending == ".gz":
            with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1) as member:
                shutil.copyfileobj(source, member, 1 << 20)
        elif ending == ".zst":
            zstandard.ZstdCompressor(level=3).copy_stream(source, target)
        else:
            shutil.copyfileobj(source, target)
    return result


@pytest.fixture
def make_job(
    aws: Aws,
    bucket: str,
    millions: Path,
    bootstrap_servers: str,
    make_topic: Callable[[], str],
    tmp_path: Path,
) -> Iterator[Callable[[str], AwsJob]]:
    """A job over the rows as an object with this ending; all share one table."""
    table = make_table(aws, tmp_path)
    jobs: list[AwsJob] = []

    def make(ending: str) -> AwsJob:
        directory = tmp_path / f"job{ending}"
        directory.mkdir()
        file = compressed(millions, ending, directory)
        aws.client("s3").upload_file(str(file), bucket, file.name)
        file.unlink()
        job = AwsJob(
            aws=aws,
            source=f"s3://{bucket}/{file.name}",
            file=millions,
            servers=bootstrap_servers,
            topic=make_topic(),
            checkpoints=f"dynamodb://{table}",
            directory=directory,
            variables={"CSV2KAFKA_CHECKPOINT_ROWS": str(FEW_ROWS)},
        )
        jobs.append(job)
        return job

    yield make
    for job in jobs:
        job.kill_all()


def kill_and_complete(job: AwsJob) -> None:
    """Ten lives that end with SIGKILL, one that completes, and proof of what they did together."""
    draw = random.Random(job.source.rpartition(".")[2])
    kills = ["starting"] * STARTING + ["amid"] * AMID
    draw.shuffle(kills)
    killing = Killing(draw)
    for kill in kills:
        run = job.start()
        if kill == "amid":
            killing.amid_rows(run, 0.1)
        else:
            killing.while_starting(run, (0.3, 5.0))
    assert 0 < killing.rows < ROWS
    report = job.ended(job.start(CSV2KAFKA_CHECKPOINT_ROWS=str(MANY_ROWS)))
    assert report["complete"]
    assert report["rows"] == ROWS
    assert report["resumed_from_row"] >= killing.rows
    job.verify()
    job.assert_holds_exactly()
    assert job.run()["already_complete"]


def test_killed_ten_times(make_job: Callable[[str], AwsJob]) -> None:
    """The three at once: most of their time they wait for the leases of the dead."""
    jobs = [make_job(ending) for ending in ("", ".gz", ".zst")]
    with ThreadPoolExecutor(len(jobs)) as threads:
        for done in [threads.submit(kill_and_complete, job) for job in jobs]:
            done.result()
