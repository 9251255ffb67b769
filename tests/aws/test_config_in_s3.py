"""``--config s3://BUCKET/KEY``: one file for machines that share no disk, read once, its errors told as ours."""

from __future__ import annotations

import asyncio
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from csv2kafka.cli.options import _config
from csv2kafka.errors import ConfigError, NotAuthorized, Unreachable
from csv2kafka.sources import small_object
from tests import blocking
from tests.aws.conftest import Aws
from tests.aws.imds import serving
from tests.faults.installed import Installed

CHILDREN = "".join(
    f'[[array]]\nsources = ["{{at}}/{name}.csv"]\noutput = "{{to}}/{name}.jsonl"\n' for name in ("a", "b", "c")
)


@pytest.fixture
def put(moto: Aws, bucket: str) -> str:
    moto.client("s3").put_object(Bucket=bucket, Key="jobs/c.toml", Body=b'topic = "orders"\n')
    return f"s3://{bucket}/jobs/c.toml"


@pytest.mark.usefixtures("aws")
async def test_an_object_is_read_whole(put: str) -> None:
    assert await small_object.fetch(put) == b'topic = "orders"\n'


@pytest.mark.usefixtures("aws")
def test_it_is_read_for_a_caller_with_and_without_a_loop(put: str) -> None:
    async def load() -> bytes:
        return small_object.read(put)

    assert small_object.read(put) == asyncio.run(load()) == b'topic = "orders"\n'
    blocking.take()  # that loop waits meanwhile, as read says


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("key", "told"), [("/no.toml", "no such object"), ("/", "expected a file or s3://"), ("", "expected a file or s3")]
)
async def test_what_is_not_there_is_told(put: str, bucket: str, key: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        await small_object.fetch(f"s3://{bucket}{key}")
    assert f"s3://{bucket}{key}" in str(caught.value)


async def test_a_large_object_is_no_configuration(aws: Aws, bucket: str) -> None:
    body = b"#" * (small_object.MOST_BYTES + 1)
    aws.client("s3").put_object(Bucket=bucket, Key="rows.csv", Body=body)
    with pytest.raises(ConfigError, match=r"expected at most 8,388,608 bytes of configuration, found 8,388,609"):
        await small_object.fetch(f"s3://{bucket}/rows.csv")


@pytest.mark.parametrize(
    ("status", "code", "patience", "kind", "told"),
    [
        (403, "AccessDenied", 60, NotAuthorized, "allow s3:GetObject on arn:aws:s3:::b/c.toml"),
        (503, "SlowDown", 2, Unreachable, "tried for 2 s"),
    ],
)
async def test_what_s3_refuses_says_what_to_do(
    status: int,
    code: str,
    patience: float,
    kind: type[Exception],
    told: str,
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        with pytest.raises(kind) as caught:
            await small_object.fetch("s3://b/c.toml", patience=patience)
    assert told in str(caught.value) + getattr(caught.value, "hint", "")


def test_the_children_of_an_array_job_share_a_file_in_s3(aws: Aws, bucket: str, tmp_path: Path) -> None:
    s3 = aws.client("s3")
    for name in "abc":
        s3.put_object(Bucket=bucket, Key=f"rows/{name}.csv", Body=f"id\n{name}1\n{name}2\n".encode())
    text = CHILDREN.format(at=f"s3://{bucket}/rows", to=tmp_path)
    s3.put_object(Bucket=bucket, Key="c.toml", Body=text.encode())
    for index, name in enumerate("abc"):
        variables = {**aws.environment, "AWS_BATCH_JOB_ARRAY_INDEX": str(index), "AWS_BATCH_JOB_ARRAY_SIZE": "3"}
        variables["CSV2KAFKA_CONFIG"] = f"s3://{bucket}/c.toml"
        for command in ("run", "verify"):
            run = Installed([command], tmp_path, variables=variables).start()
            assert run.end() == 0, run.output
        written = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert written == [{"id": f"{name}1"}, {"id": f"{name}2"}]
    run = Installed(["run", "--config", f"s3://{bucket}/c.toml"], tmp_path, variables=aws.environment).start()
    assert run.end() == 2
    assert "AWS_BATCH_JOB_ARRAY_INDEX is not set" in run.output
    assert "Traceback" not in run.output


def test_a_path_is_a_file_and_an_address_an_object() -> None:
    assert _config({"config_file": "c.toml"}) == Path("c.toml")
    assert _config({"config_file": "s3://b/c.toml"}) == "s3://b/c.toml"
    assert _config({}) is None
