"""The S3 store against moto."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from botocore.exceptions import ClientError

from csv2kafka.aws.client import AwsClient, explained
from csv2kafka.checkpoints.s3 import S3Store
from csv2kafka.errors import ConfigError, Doubt, LeaseHeld, NotAuthorized, NotReachable, StateContradiction
from csv2kafka.model import Checkpoint, Manifest
from csv2kafka.protocols import HEARTBEAT_SECONDS, Lease
from csv2kafka.testing import CheckpointStoreConformance
from tests.aws.conftest import Aws
from tests.aws.http_faults import S3Faults
from tests.aws.http_proxy import HttpProxy, Request, gets
from tests.aws.stores import beat_again, no_aws, run_virtual


class TestConformance(CheckpointStoreConformance):
    lease_seconds = 15.0

    @pytest.fixture(autouse=True)
    def _bucket(self, aws: Aws, bucket: str) -> None:
        self.bucket = bucket

    def make(self) -> S3Store:
        return S3Store(self.bucket, "checkpoints", lease_seconds=self.lease_seconds)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        run_virtual(main)


CHECKPOINT = Checkpoint(job="orders", run_id="run-1")
MANIFEST = Manifest(objects=(("s3://b/0.csv", 1, "v"),))
OTHER = Manifest(objects=(("s3://b/0.csv", 1, "w"),))
KEY = "checkpoints/jobs/orders.json"


@asynccontextmanager
async def opened(bucket: str, **options: Any) -> AsyncIterator[S3Store]:
    store = S3Store(bucket, "checkpoints", **options)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def leased(store: S3Store, owner: str = "run-a") -> AsyncIterator[Lease]:
    async with store.lease("orders", owner) as lease:
        assert lease is not None
        yield lease


def document(aws: Aws, bucket: str) -> dict[str, Any]:
    """The job's object as another program sees it."""
    found: dict[str, Any] = json.loads(aws.client("s3").get_object(Bucket=bucket, Key=KEY)["Body"].read())
    return found


def keys(aws: Aws, bucket: str) -> list[str]:
    return [found["Key"] for found in aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]]


def puts(request: Request) -> bool:
    return request.operation == "PUT"


def first_of_each() -> Callable[[Request], bool]:
    """Every write when it comes first; botocore sends it again as it was."""
    seen: set[bytes] = set()

    def is_one(request: Request) -> bool:
        new = puts(request) and request.body not in seen
        seen.add(request.body)
        return new

    return is_one


def refused(code: str, parameters: Mapping[str, Any]) -> Exception:
    """What ``AwsClient.call`` raises for an answer with this code."""
    error = ClientError({"Error": {"Code": code}}, "Asking")
    return error if code in parameters["passing"] else explained(error, doing="asking")


async def test_what_took_effect_without_an_answer_is_no_lost_lease(aws: Aws, bucket: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url) as store:
        await store.load("orders")
        lost = proxy.cut(first_of_each(), after=True, times=None)
        async with leased(store) as lease:
            assert lease.epoch == 1
            await store.save(lease, CHECKPOINT, MANIFEST)
            await lease.renew()
            await store.save(lease, evolve(CHECKPOINT, transactions=1))
        assert lost.struck >= 5
        assert (document(aws, bucket)["owner"], document(aws, bucket)["epoch"]) == (None, 1)
        assert await store.load("orders") == evolve(CHECKPOINT, transactions=1)
        assert await store.load_manifest("orders") == MANIFEST
        await store.delete("orders")
        assert await store.load("orders") is None


async def test_the_stores_id_is_its_own_also_when_the_answer_is_lost(aws: Aws, bucket: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url) as store, opened(bucket) as other:
        proxy.cut(puts, after=True)
        await store.load("orders")
        await other.load("orders")
        assert store.id == other.id


async def test_of_two_who_make_the_store_one_does(aws: Aws, bucket: str) -> None:
    call = AwsClient.call

    async def overtaken(self: AwsClient, operation: str, **parameters: Any) -> Any:
        if operation == "put_object":
            patch.undo()
            await other.load("orders")
        return await call(self, operation, **parameters)

    async with opened(bucket) as store, opened(bucket) as other:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(AwsClient, "call", overtaken)
            await store.load("orders")
        assert store.id == other.id


async def test_a_taking_that_was_never_answered_is_ours_when_tried_again(aws: Aws, bucket: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url, lease_seconds=60.0) as store:
        await store.load("orders")
        lost = proxy.cut(puts, after=True, times=None)
        with pytest.raises(Doubt):
            await store.lease("orders", "run-a").__aenter__()
        lost.times = 0
        assert document(aws, bucket)["owner"] == "run-a"
        async with asyncio.timeout(30.0), leased(store) as lease:  # and does not watch itself for a minute
            assert lease.epoch == 1
            await store.save(lease, CHECKPOINT)


async def test_a_save_that_was_never_answered_is_followed_by_the_next(aws: Aws, bucket: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url) as store, leased(store) as lease:
        lost = proxy.cut(puts, after=True, times=None)
        with pytest.raises(Doubt):
            await store.save(lease, CHECKPOINT)
        lost.times = 0
        await lease.renew()
        await store.save(lease, evolve(CHECKPOINT, transactions=1))
        assert await store.load("orders") == evolve(CHECKPOINT, transactions=1)


async def test_a_newcomer_who_leaves_amid_the_taking_gives_it_back(aws: Aws, bucket: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url) as store:
        await store.load("orders")
        proxy.stall(puts, at=0)
        taking = asyncio.ensure_future(store.lease("orders", "run-a").__aenter__())
        while KEY not in keys(aws, bucket):
            await asyncio.sleep(0.01)
        taking.cancel()
        await asyncio.wait({taking})
        assert document(aws, bucket)["owner"] is None


async def test_a_write_that_comes_late_undoes_nothing(bucket: str, monkeypatch: pytest.MonkeyPatch, aws: Aws) -> None:
    """Given up by the client, a request can still be on its way."""
    sent: list[tuple[Any, ...]] = []
    call = AwsClient.call

    async def noted(self: AwsClient, operation: str, **parameters: Any) -> Any:
        if parameters.get("Key") == KEY and operation == "put_object":
            sent.append((self, operation, parameters))
        return await call(self, operation, **parameters)

    monkeypatch.setattr(AwsClient, "call", noted)
    async with opened(bucket) as store, leased(store) as lease:
        await store.save(lease, CHECKPOINT)
        await lease.renew()
        await store.save(lease, evolve(CHECKPOINT, transactions=2))
        assert len(sent) == 4
        for client, operation, parameters in sent:
            with pytest.raises(ClientError, match="PreconditionFailed"):
                await call(client, operation, **parameters)
        assert await store.load("orders") == evolve(CHECKPOINT, transactions=2)


@pytest.mark.parametrize("year", [1980, 2099])
def test_a_wrong_clock_steals_no_live_lease(bucket: str, year: int, aws: Aws) -> None:
    async def main() -> None:
        async with opened(bucket) as one, opened(bucket, now=lambda: datetime(year, 1, 1, tzinfo=UTC)) as other:
            for holder, newcomer in ((one, other), (other, one)):
                async with leased(holder) as lease:
                    taking = asyncio.ensure_future(newcomer.lease("orders", "run-b").__aenter__())
                    while not taking.done():
                        await asyncio.wait({taking}, timeout=HEARTBEAT_SECONDS)
                        await lease.renew()
                    with pytest.raises(LeaseHeld, match="run-a"):
                        taking.result()
                    await holder.save(lease, CHECKPOINT)

    run_virtual(main())


async def test_a_conflict_with_another_request_is_tried_again(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409: S3 does not say which of two conditional writes at one moment is done, if any."""
    call, conflicts = AwsClient.call, 0

    async def conflicting(self: AwsClient, operation: str, **parameters: Any) -> Any:
        nonlocal conflicts
        if parameters.get("Key") == KEY and operation == "put_object" and conflicts % 3 != 2:
            conflicts += 1
            raise refused("ConditionalRequestConflict", parameters)
        conflicts += 1
        return await call(self, operation, **parameters)

    async with opened(bucket) as store:
        await store.load("orders")
        monkeypatch.setattr(AwsClient, "call", conflicting)
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT)
        assert conflicts > 4
        assert document(aws, bucket)["owner"] is None
        assert await store.load("orders") == CHECKPOINT


def test_a_heartbeat_at_the_last_moment_keeps_the_lease(aws: Aws, bucket: str) -> None:
    async def main() -> None:
        async with opened(bucket) as one, opened(bucket) as other, leased(one) as lease:
            call, beats = AwsClient.call, list[asyncio.Future[None]]()

            async def beaten(self: AwsClient, operation: str, **parameters: Any) -> Any:
                if b'"owner": "run-b"' in parameters.get("Body", b""):
                    patch.undo()
                    await lease.renew()
                    beats.append(asyncio.ensure_future(beat_again(lease)))
                return await call(self, operation, **parameters)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(AwsClient, "call", beaten)
                with pytest.raises(LeaseHeld, match="run-a"):
                    await other.lease("orders", "run-b").__aenter__()
                assert AwsClient.call is call, "it came to the taking"
            await asyncio.gather(*beats)
            await one.save(lease, CHECKPOINT)

    run_virtual(main())


@pytest.mark.parametrize("code", ["AccessDenied", "403"])
async def test_who_may_list_the_prefix_alone_can_use_it(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """What is absent is then forbidden; and so is what may not be read."""
    call, readable = AwsClient.call, True

    async def guarded(self: AwsClient, operation: str, **parameters: Any) -> Any:
        if operation == "get_object" and not (readable and parameters["Key"] in there()):
            raise refused(code, parameters)
        return await call(self, operation, **parameters)

    def there() -> list[str]:
        found = aws.client("s3").list_objects_v2(Bucket=bucket)
        return [each["Key"] for each in found.get("Contents", ())]

    monkeypatch.setattr(AwsClient, "call", guarded)
    async with opened(bucket) as store:
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT)
        assert await store.load("orders") == CHECKPOINT
        readable = False
        with pytest.raises(NotAuthorized) as caught:
            await store.load("orders")
        assert "s3:GetObject" in caught.value.hint


async def test_a_server_that_does_not_mind_conditions_is_refused(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = AwsClient.call

    async def careless(self: AwsClient, operation: str, **parameters: Any) -> Any:
        for name in ("IfMatch", "IfNoneMatch"):
            parameters.pop(name, None)
        return await call(self, operation, **parameters)

    monkeypatch.setattr(AwsClient, "call", careless)
    async with opened(bucket) as store:
        with pytest.raises(ConfigError, match="If-None-Match"):
            await store.load("orders")


def signed_by(key: str) -> Callable[[Request], bool]:
    return lambda request: key in request.headers["authorization"]


async def test_throttled_it_is_tried_again(aws: Aws, bucket: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url) as store, leased(store) as lease:
        proxy.slow_down(puts, times=2)
        await store.save(lease, CHECKPOINT)
        throttled = proxy.slow_down(puts, times=None)
        with pytest.raises(Doubt, match="SlowDown"):
            await store.save(lease, evolve(CHECKPOINT, transactions=1))
        throttled.times = 0
        await store.save(lease, evolve(CHECKPOINT, transactions=2))


async def test_credentials_that_are_renewed_in_a_file(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which botocore reads once."""
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with S3Faults(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url) as store, leased(store) as lease:
        rule = proxy.refuse(400, "ExpiredToken", "It has expired.", signed_by("OLD"), times=None)
        with pytest.raises(Doubt, match="ExpiredToken"):
            await store.save(lease, CHECKPOINT)
        assert rule.struck
        file.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = x\n")
        await store.save(lease, CHECKPOINT)
        assert await store.load("orders") == CHECKPOINT


async def test_an_answer_cut_in_its_body_is_a_doubt(aws: Aws, bucket: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(bucket, endpoint_url=proxy.url) as store:
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT)
        proxy.cut_body(gets("orders.json"), at=10)
        with pytest.raises(Doubt, match=r"orders\.json"):
            await store.load("orders")
        assert await store.load("orders") == CHECKPOINT


class TestManifests:
    async def test_the_same_one_is_written_once(self, aws: Aws, bucket: str) -> None:
        async with opened(bucket) as store, leased(store) as lease:
            await store.save(lease, CHECKPOINT, MANIFEST)
            before = keys(aws, bucket)
            await store.save(lease, CHECKPOINT, MANIFEST)
            assert keys(aws, bucket) == before

    async def test_one_that_is_replaced_is_deleted(self, aws: Aws, bucket: str) -> None:
        async with opened(bucket) as store:
            async with leased(store) as lease:
                await store.save(lease, CHECKPOINT, MANIFEST)
                await store.save(lease, CHECKPOINT, OTHER)
                assert await store.load_manifest("orders") == OTHER
                assert len([key for key in keys(aws, bucket) if "/manifests/orders/" in key]) == 1
            await store.delete("orders")
            assert keys(aws, bucket) == [KEY, "checkpoints/store.json"]

    async def test_one_that_was_lost_is_told(self, aws: Aws, bucket: str) -> None:
        async with opened(bucket) as store:
            async with leased(store) as lease:
                await store.save(lease, CHECKPOINT, MANIFEST)
            aws.client("s3").delete_object(Bucket=bucket, Key=document(aws, bucket)["manifest"])
            with pytest.raises(StateContradiction, match=r"manifests/orders/.* is gone"):
                await store.load_manifest("orders")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"job":"orders"}', b'{"format":9}', b'{"format":1,"jobs":1}'])
async def test_what_is_no_object_of_ours_is_not_written_over(aws: Aws, bucket: str, body: bytes) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key=KEY, Body=body)
    async with opened(bucket) as store:
        for call in (store.load("orders"), store.delete("orders"), store.lease("orders", "run-a").__aenter__()):
            with pytest.raises(StateContradiction, match=r"s3://.*/jobs/orders\.json: (not an object|format 9)"):
                await call


async def test_another_jobs_object_is_not_taken_for_ones_own(aws: Aws, bucket: str) -> None:
    async with opened(bucket) as store:
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT)
        copy = {"Bucket": bucket, "Key": KEY}
        aws.client("s3").copy_object(Bucket=bucket, Key=KEY.replace("orders", "renamed"), CopySource=copy)
        for call in (store.load("renamed"), store.lease("renamed", "run-b").__aenter__(), anext(store.jobs())):
            with pytest.raises(StateContradiction, match=r"/renamed\.json: is of job 'orders'"):
                await call


async def test_a_missing_bucket_is_named(aws: Aws) -> None:
    async with opened("no-such-bucket") as store:
        with pytest.raises(ConfigError, match="s3://no-such-bucket: there is no such bucket"):
            await store.load("orders")


async def test_what_is_no_s3_is_told(aws: Aws) -> None:
    """What answers 200 to everything."""
    async with no_aws() as url, opened("bucket", endpoint_url=url) as store:
        with pytest.raises(NotReachable, match="what answered is not AWS: it gives an object no ETag"):
            await store.load("orders")


async def test_many_jobs_are_listed_over_several_pages(aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = AwsClient.call
    pages = []

    async def small_pages(self: AwsClient, operation: str, **parameters: Any) -> Any:
        if operation == "list_objects_v2":
            pages.append(operation)
            parameters["MaxKeys"] = 10
        return await call(self, operation, **parameters)

    monkeypatch.setattr(AwsClient, "call", small_pages)
    names = [f"job/{number}" for number in range(21)]
    async with opened(bucket) as store:
        for job in names:
            async with store.lease(job, "run-a") as lease:
                assert lease is not None
                await store.save(lease, evolve(CHECKPOINT, job=job))
        assert [status.checkpoint.job async for status in store.jobs()] == sorted(names)
    assert len(pages) == 3


async def test_made_twice_and_by_two_at_once(aws: Aws, bucket: str) -> None:
    async with opened(bucket) as one, opened(bucket) as other:
        told = await asyncio.gather(one.create(), other.create())
        assert one.id == other.id
        assert told[0][1] == told[1][1] == f"store id {one.id}"
        assert await one.create() == [f"s3://{bucket}/checkpoints: is there, and can be written to", told[0][1]]


def test_closed_it_can_be_used_again_in_another_loop(aws: Aws, bucket: str) -> None:
    store = S3Store(bucket, "checkpoints")

    async def main() -> None:
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT)
        await store.close()
        assert await store.load("orders") == CHECKPOINT
        await store.close()

    asyncio.run(main())
    asyncio.run(main())


async def test_each_request_names_the_permission_that_it_needs(
    aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = AwsClient.call
    named: dict[str, str] = {}

    async def noted(self: AwsClient, operation: str, **parameters: Any) -> Any:
        named[operation] = parameters["action"]
        return await call(self, operation, **parameters)

    monkeypatch.setattr(AwsClient, "call", noted)
    async with opened(bucket) as store:
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT, MANIFEST)
        assert [status.checkpoint async for status in store.jobs()] == [CHECKPOINT]
        await store.delete("orders")
    assert named == {
        "get_object": "s3:GetObject",
        "put_object": "s3:PutObject",
        "delete_object": "s3:DeleteObject",
        "list_objects_v2": "s3:ListBucket",
    }
