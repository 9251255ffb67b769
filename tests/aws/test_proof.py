"""Receipts of sources in S3: their versions are asked for again, and rows are not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve

from csv2kafka.config import RunConfig
from csv2kafka.pipeline import Pipeline
from csv2kafka.proof import Checked, Proof, proof_from_json, receipt
from csv2kafka.verify import check_proof, prove
from tests.aws.conftest import Aws
from tests.aws.http_faults import S3Faults

FIRST, OTHER = b"a,b\n1,2\n", b"a,b\n3,4\n"


@define
class Prefix:
    """Objects under a prefix, and the job that puts their rows into a file."""

    s3: Any
    bucket: str
    config: RunConfig

    def put(self, name: str, content: bytes) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self.s3.put_object(Bucket=self.bucket, Key=f"in/{name}", Body=content)
        return answer

    def url(self, name: str) -> str:
        return f"s3://{self.bucket}/in/{name}"

    def delete(self, *names: str) -> None:
        for name in names:
            self.s3.delete_object(Bucket=self.bucket, Key=f"in/{name}")

    async def prove(self) -> Proof:
        """The job's receipt, as it is read from its file."""
        await Pipeline.from_config(self.config).run()
        _, proof = await prove(self.config)
        assert proof is not None
        return proof_from_json(receipt(proof.as_dict()), where="receipt")

    async def check(self, proof: Proof) -> Checked:
        return await check_proof(self.config, proof, only="source")


@pytest.fixture(params=[False, True], ids=["plain", "versions"])
def prefix(aws: Aws, make_bucket: Callable[..., str], tmp_path: Path, request: pytest.FixtureRequest) -> Prefix:
    bucket = make_bucket(versioned=request.param)
    store = f"sqlite:///{tmp_path}/jobs.db"
    config = RunConfig(sources=(f"s3://{bucket}/in/",), output=str(tmp_path / "rows.jsonl"), checkpoints=store)
    made = Prefix(aws.client("s3"), bucket, config)
    made.put("1.csv", FIRST)
    made.put("2.csv", OTHER)
    return made


async def test_it_holds_and_no_rows_are_read(prefix: Prefix, aws: Aws) -> None:
    proof = await prefix.prove()
    assert proof.source.asked == (f"s3://{prefix.bucket}/in/",)
    assert [uri for uri, _, _ in proof.source.objects.objects] == [prefix.url("1.csv"), prefix.url("2.csv")]
    async with S3Faults(aws.url) as proxy:
        prefix.config = evolve(prefix.config, s3={"endpoint_url": proxy.url})
        checked = await prefix.check(proof)
    assert (checked.source, checked.differences) == ("holds", ())
    asked = [request.headers.get("range") for request in proxy.requests if not request.path.endswith("/")]
    assert [span for span in asked if span] == ["bytes=0-0", "bytes=0-0"]


async def test_an_object_that_was_replaced(prefix: Prefix) -> None:
    """Also where its bucket keeps the version that was: the address gives another now."""
    proof = await prefix.prove()
    answer = prefix.put("2.csv", FIRST)
    was = proof.source.objects.objects[1][2]
    now = f"versionId={answer['VersionId']}" if "VersionId" in answer else f"etag={answer['ETag']}"
    (told,) = (await prefix.check(proof)).differences
    assert told == f"{prefix.url('2.csv')}: was changed: it was {was}, now it is {now}"


async def test_objects_that_are_gone_and_new(prefix: Prefix) -> None:
    proof = await prefix.prove()
    prefix.delete("1.csv")
    prefix.put("3.csv", FIRST)
    gone, new = (await prefix.check(proof)).differences
    assert gone.startswith(f"{prefix.url('1.csv')}: is gone; it was ")
    assert new.startswith(f"{prefix.url('3.csv')}: was not there; now it is, with ")


async def test_all_objects_are_gone(prefix: Prefix) -> None:
    """A bucket that keeps versions still has them; but nothing is under the prefix."""
    proof = await prefix.prove()
    prefix.delete("1.csv", "2.csv")
    differences = (await prefix.check(proof)).differences
    listing = f"SOURCE 's3://{prefix.bucket}/in/': no objects are directly under it"
    if "versionId" in proof.source.objects.objects[0][2]:
        assert differences == (f"the source cannot be found as it was: {listing}",)
    else:
        first, second = differences
        assert first.startswith(f"{prefix.url('1.csv')}: it is gone")
        assert second.startswith(f"{prefix.url('2.csv')}: it is gone")
