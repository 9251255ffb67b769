"""The DynamoDB store against moto."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import random
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve
from botocore.exceptions import ClientError

from csv2kafka.aws.client import AwsClient
from csv2kafka.checkpoints import dynamodb_item
from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.errors import ConfigError, Doubt, LeaseHeld, NotReachable, StaleLease
from csv2kafka.model import Checkpoint, Manifest, Position, ResumePoint, to_json
from csv2kafka.protocols import HEARTBEAT_SECONDS, Lease
from csv2kafka.testing import CheckpointStoreConformance
from tests.aws.conftest import Aws
from tests.aws.http_proxy import HttpProxy, Request, does
from tests.aws.stores import beat_again, make_table, no_aws, run_virtual


@pytest.fixture
def table(aws: Aws) -> str:
    """The name of a new table."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    make_table(name)
    return name


class TestConformance(CheckpointStoreConformance):
    lease_seconds = 15.0

    @pytest.fixture(autouse=True)
    def _table(self, table: str) -> None:
        self.table = table

    def make(self) -> DynamoDBStore:
        return DynamoDBStore(self.table, lease_seconds=self.lease_seconds)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        run_virtual(main)


CHECKPOINT = Checkpoint(job="orders", run_id="run-1")
MANIFEST = Manifest(objects=(("s3://b/0.csv", 1, "v"),))
MANY = Manifest(objects=tuple((f"s3://b/{n}.csv", n, hashlib.sha256(b"%d" % n).hexdigest()) for n in range(20_000)))


def item_of(aws: Aws, table: str, key: str = "orders") -> dict[str, Any]:
    """The item as another program sees it."""
    item: dict[str, Any] = aws.client("dynamodb").get_item(TableName=table, Key={"job": {"S": key}}).get("Item", {})
    return item


@asynccontextmanager
async def opened(table: str, **options: Any) -> AsyncIterator[DynamoDBStore]:
    store = DynamoDBStore(table, **options)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def leased(store: DynamoDBStore, owner: str = "run-a") -> AsyncIterator[Lease]:
    async with store.lease("orders", owner) as lease:
        assert lease is not None
        yield lease


def first_of_each() -> Callable[[Request], bool]:
    """Every UpdateItem when it comes first; botocore sends it again as it was."""
    seen: set[bytes] = set()

    def is_one(request: Request) -> bool:
        new = request.operation == "UpdateItem" and request.body not in seen
        seen.add(request.body)
        return new

    return is_one


async def test_what_took_effect_without_an_answer_is_no_lost_lease(aws: Aws) -> None:
    table = f"table-{uuid.uuid4().hex[:12]}"
    async with HttpProxy(aws.url) as proxy, opened(table, endpoint_url=proxy.url) as store:
        await store.create()
        lost = proxy.cut(first_of_each(), after=True, times=None)
        async with leased(store) as lease:
            assert lease.epoch == 1
            await store.save(lease, CHECKPOINT, MANIFEST)
            await lease.renew()
            await store.save(lease, evolve(CHECKPOINT, transactions=1))
        assert lost.struck >= 5
        assert "owner" not in item_of(aws, table)
        assert item_of(aws, table)["epoch"] == {"N": "1"}
        assert await store.load("orders") == evolve(CHECKPOINT, transactions=1)
        await store.delete("orders")
        assert await store.load("orders") is None
    async with opened(table) as other:
        assert await other.load("orders") is None
        assert other.id == store.id


async def test_a_taking_that_was_never_answered_is_ours_when_tried_again(aws: Aws, table: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(table, endpoint_url=proxy.url, lease_seconds=60.0) as store:
        await store.load("orders")
        proxy.cut(does("UpdateItem"), after=True, times=3)
        with pytest.raises(Doubt):
            await store.lease("orders", "run-a").__aenter__()
        assert item_of(aws, table)["owner"] == {"S": "run-a"}
        async with asyncio.timeout(30.0), leased(store) as lease:  # and does not watch itself for a minute
            assert lease.epoch == 1
            await store.save(lease, CHECKPOINT)


async def test_a_newcomer_who_leaves_amid_the_taking_gives_it_back(aws: Aws, table: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(table, endpoint_url=proxy.url) as store:
        await store.load("orders")
        proxy.stall(does("UpdateItem"), at=0)
        taking = asyncio.ensure_future(store.lease("orders", "run-a").__aenter__())
        while "owner" not in item_of(aws, table):
            await asyncio.sleep(0.01)
        taking.cancel()
        await asyncio.wait({taking})
        assert "owner" not in item_of(aws, table)


async def test_a_write_that_comes_late_undoes_nothing(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up by the client, a request can still be on its way."""
    sent: list[tuple[Any, ...]] = []
    call = AwsClient.call

    async def noted(self: AwsClient, operation: str, **parameters: Any) -> Any:
        if operation == "update_item":
            sent.append((self, operation, parameters))
        return await call(self, operation, **parameters)

    monkeypatch.setattr(AwsClient, "call", noted)
    async with opened(table) as store, opened(table) as other:
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT)
            await lease.renew()
            last = evolve(CHECKPOINT, transactions=2)
            await store.save(lease, last)
            await _refused_again(call, sent)
            assert await store.load("orders") == last
        await _refused_again(call, sent)
        async with leased(other, "run-b"):
            await _refused_again(call, sent[:-1])
        async with leased(store, "run-c"):
            pass
        await _refused_again(call, sent)


async def _refused_again(call: Any, sent: list[tuple[Any, ...]]) -> None:
    for client, operation, parameters in list(sent):
        with pytest.raises(ClientError, match="conditional"):
            await call(client, operation, **parameters)


@pytest.mark.parametrize("year", [1980, 2099])
def test_a_wrong_clock_steals_no_live_lease(table: str, year: int) -> None:
    async def main() -> None:
        async with opened(table) as one, opened(table, now=lambda: datetime(year, 1, 1, tzinfo=UTC)) as other:
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


def test_a_heartbeat_at_the_last_moment_keeps_the_lease(table: str) -> None:
    async def main() -> None:
        async with opened(table) as one, opened(table) as other, leased(one) as lease:
            call, beats = AwsClient.call, list[asyncio.Future[None]]()

            async def beaten(self: AwsClient, operation: str, **parameters: Any) -> Any:
                if parameters.get("ExpressionAttributeValues", {}).get(":owner") == {"S": "run-b"}:
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


async def test_a_throttled_write_is_tried_again_and_then_a_doubt(aws: Aws, table: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(table, endpoint_url=proxy.url) as store, leased(store) as lease:
        proxy.throttle(does("UpdateItem"), times=2)
        await store.save(lease, CHECKPOINT)
        throttled = proxy.throttle(does("UpdateItem"), times=None)
        with pytest.raises(Doubt, match="ProvisionedThroughputExceeded"):
            await store.save(lease, evolve(CHECKPOINT, transactions=1))
        throttled.times = 0
        await store.save(lease, evolve(CHECKPOINT, transactions=2))


async def test_a_store_that_is_away_is_a_doubt_and_the_lease_outlives_it(aws: Aws, table: str) -> None:
    async with HttpProxy(aws.url) as proxy, opened(table, endpoint_url=proxy.url) as store, leased(store) as lease:
        await proxy.go_away()
        with pytest.raises(NotReachable):
            await lease.renew()
        await proxy.come_back()
        await lease.renew()
        await store.save(lease, CHECKPOINT)


class TestWhatIsWrittenWhere:
    """The documented shape, as boto3 sees it."""

    async def test_a_job(self, aws: Aws, table: str) -> None:
        now = datetime(2024, 1, 1, tzinfo=UTC)
        async with opened(table, now=lambda: now) as store:
            async with leased(store) as lease:
                await store.save(lease, CHECKPOINT, MANIFEST)
                item = item_of(aws, table)
                token = item.pop("token")
                assert len(token["S"]) == 32
                assert item == {
                    "job": {"S": "orders"},
                    "epoch": {"N": "1"},
                    "beat": {"N": "1"},
                    "owner": {"S": "run-a"},
                    "since": {"S": now.isoformat()},
                    "heartbeat": {"S": now.isoformat()},
                    "checkpoint": {"S": to_json(CHECKPOINT).decode()},
                    "manifest": {"S": to_json(MANIFEST).decode()},
                }
            assert item_of(aws, table).keys() & {"owner", "token"} == set()
            assert item_of(aws, table, ":store") == {"job": {"S": ":store"}, "id": {"S": store.id}}

    async def test_a_large_one_is_compressed(self, aws: Aws, table: str) -> None:
        state = base64.b64encode(random.Random(0).randbytes(40_000)).decode()
        large = evolve(
            CHECKPOINT,
            header=tuple(f"column {n}" for n in range(5000)),
            position=Position(resume=ResumePoint(offset=1, state=state, skip=2)),
        )
        async with opened(table) as store, leased(store) as lease:
            await store.save(lease, large, MANIFEST)
            assert gzip.decompress(item_of(aws, table)["checkpoint"]["B"]) == to_json(large)
            assert await store.load("orders") == large

    async def test_a_heartbeat_writes_no_more_than_itself(self, aws: Aws, table: str) -> None:
        async with HttpProxy(aws.url) as proxy, opened(table, endpoint_url=proxy.url) as store, leased(store) as lease:
            await store.save(lease, CHECKPOINT, MANIFEST)
            await lease.renew()
            assert set(json.loads(proxy.requests[-1].body)["ExpressionAttributeNames"].values()) == {
                "beat",
                "heartbeat",
                "epoch",
                "token",
            }
            await store.save(lease, CHECKPOINT)
            assert "#manifest" not in proxy.requests[-1].body.decode()

    @pytest.mark.parametrize("job", [":store", ":", "::store", ":job"])
    async def test_no_jobs_name_is_the_stores_own(self, table: str, job: str) -> None:
        async with opened(table) as store:
            async with store.lease(job, "run-a") as lease:
                assert lease is not None
                await store.save(lease, evolve(CHECKPOINT, job=job))
            assert [status.checkpoint.job async for status in store.jobs()] == [job]
        async with opened(table) as other:
            assert await other.load(job) == evolve(CHECKPOINT, job=job)
            assert other.id == store.id


class TestExpiry:
    async def test_only_what_is_complete_expires(self, aws: Aws, table: str) -> None:
        now = datetime(2024, 1, 1, tzinfo=UTC)
        async with opened(table, ttl_seconds=86400.0 * 30, now=lambda: now) as store:
            async with leased(store) as lease:
                await store.save(lease, CHECKPOINT)
                assert "expires_at" not in item_of(aws, table)
                await store.save(lease, evolve(CHECKPOINT, complete=True))
            assert item_of(aws, table)["expires_at"] == {"N": str(int(now.timestamp()) + 86400 * 30)}
            async with leased(store) as lease:
                await store.save(lease, evolve(CHECKPOINT, generation=1))
                assert "expires_at" not in item_of(aws, table), "it has begun anew"

    async def test_it_does_not_go_from_under_a_lease(self, aws: Aws, table: str) -> None:
        now = datetime(2024, 1, 1, tzinfo=UTC)
        async with opened(table, ttl_seconds=3600.0, now=lambda: now) as store:
            async with leased(store) as lease:
                await store.save(lease, evolve(CHECKPOINT, complete=True))
            async with leased(store):
                assert item_of(aws, table)["expires_at"] == {"N": str(int(now.timestamp()) + 86400)}

    async def test_without_a_ttl_nothing_does(self, aws: Aws, table: str) -> None:
        async with opened(table) as store, leased(store) as lease:
            await store.save(lease, evolve(CHECKPOINT, complete=True))
            assert "expires_at" not in item_of(aws, table)

    async def test_a_lease_of_an_item_that_is_gone_is_lost(self, aws: Aws, table: str) -> None:
        async with opened(table) as store, opened(table) as other, leased(store) as lease:
            aws.client("dynamodb").delete_item(TableName=table, Key={"job": {"S": "orders"}})
            with pytest.raises(StaleLease, match="nobody"):
                await lease.renew()
            async with leased(other, "run-b") as second:
                assert second.epoch == lease.epoch, "nothing is left to count on from"
                with pytest.raises(StaleLease, match="run-b"):
                    await store.save(lease, CHECKPOINT)


class TestSize:
    async def test_a_manifest_that_does_not_fit_is_refused_with_nothing_lost(self, table: str) -> None:
        async with opened(table) as store, leased(store) as lease:
            await store.save(lease, CHECKPOINT, MANIFEST)
            with pytest.raises(ConfigError, match=r"expected at most 409,600 bytes.*manifest [\d,]+") as caught:
                await store.save(lease, evolve(CHECKPOINT, transactions=1), MANY)
            assert "s3://" in caught.value.hint
            assert await store.load("orders") == CHECKPOINT
            await store.save(lease, evolve(CHECKPOINT, transactions=1))

    async def test_a_run_begins_only_with_room_to_grow(self, table: str) -> None:
        fits = Manifest(objects=MANY.objects[:8_600])
        async with opened(table) as store, leased(store) as lease:
            with pytest.raises(ConfigError, match=r"409,600 bytes, 65,\d\d\d of them free"):
                await store.save(lease, CHECKPOINT, fits)
            assert await store.load_manifest("orders") is None

    async def test_one_that_could_begin_can_go_on_when_its_checkpoint_has_grown(
        self, table: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dynamodb_item, "MAX_ITEM_BYTES", 160 * 1024)  # moto counts what is replaced, too
        fits = Manifest(objects=MANY.objects[:2_150])
        state = base64.b64encode(random.Random(0).randbytes(40_000)).decode()
        async with opened(table) as store, leased(store) as lease:
            await store.save(lease, CHECKPOINT, fits)
            grown = evolve(CHECKPOINT, position=Position(resume=ResumePoint(state=state)))
            await store.save(lease, grown)
            await store.save(lease, grown, fits)  # as each session does
            assert await store.load("orders") == grown

    async def test_a_checkpoint_that_outgrows_it_is_refused(self, table: str) -> None:
        state = base64.b64encode(random.Random(0).randbytes(200_000)).decode()
        grown = evolve(CHECKPOINT, position=Position(resume=ResumePoint(state=state)))
        fits = Manifest(objects=MANY.objects[:5_000])
        async with opened(table) as store:
            async with leased(store) as lease:
                await store.save(lease, CHECKPOINT, fits)
            async with leased(store) as lease:  # which knows of the manifest by what stands there
                with pytest.raises(ConfigError, match=r"checkpoint [\d,]+, manifest [\d,]+"):
                    await store.save(lease, grown)
            assert await store.load("orders") == CHECKPOINT


class TestTables:
    async def test_a_missing_one_says_how_to_make_it(self, aws: Aws) -> None:
        async with opened("nowhere") as store:
            with pytest.raises(ConfigError, match="is not there") as caught:
                await store.load("orders")
        assert caught.value.hint == "csv2kafka init dynamodb://nowhere"

    async def test_one_with_a_key_of_another_type_is_refused(self, aws: Aws) -> None:
        name = f"table-{uuid.uuid4().hex[:12]}"
        aws.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "job", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "job", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
        async with opened(name) as store:
            with pytest.raises(ConfigError, match="not a checkpoint table"):
                await store.load("orders")

    @pytest.mark.parametrize(
        ("page", "words"), [(b"<html>", "HTTP 200 with"), (b"{}", "does not keep what is written")]
    )
    async def test_one_that_keeps_nothing_gives_no_lease(self, aws: Aws, page: bytes, words: str) -> None:
        """What answers 200 to everything: a proxy that asks for a login, a wrong address."""
        async with no_aws(page) as url, opened("anything", endpoint_url=url) as store:
            with pytest.raises(NotReachable, match=f"what answered is not AWS: .*{words}"):
                await store.lease("orders", "run-a").__aenter__()

    @pytest.mark.parametrize("keys", [{"pk": "HASH"}, {"job": "HASH", "at": "RANGE"}])
    async def test_one_with_another_key_is_refused(self, aws: Aws, keys: dict[str, str]) -> None:
        name = f"table-{uuid.uuid4().hex[:12]}"
        aws.client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        async with opened(name) as store:
            with pytest.raises(ConfigError, match="not a checkpoint table" if "pk" in keys else name):
                await store.load("orders")  # moto has no words for a missing sort key
            with pytest.raises(ConfigError, match=r"not a checkpoint table.*found .*\(S, HASH\)"):
                await store.create()

    async def test_an_arn_names_one_too(self, aws: Aws, table: str) -> None:
        arn = aws.client("dynamodb").describe_table(TableName=table)["Table"]["TableArn"]
        async with opened(arn) as store, opened(table) as other:
            await store.load("orders")
            await other.load("orders")
            assert store.id == other.id
        async with opened(f"{arn}-none") as store:
            with pytest.raises(ConfigError, match="is not there") as caught:
                await store.create()
        assert "in its own account" in caught.value.hint

    async def test_many_jobs_are_listed_over_several_pages(
        self, aws: Aws, table: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = AwsClient.call
        pages = []

        async def small_pages(self: AwsClient, operation: str, **parameters: Any) -> Any:
            if operation == "scan":
                assert parameters["ConsistentRead"]
                pages.append(operation)
                parameters["Limit"] = 3
            return await call(self, operation, **parameters)

        monkeypatch.setattr(AwsClient, "call", small_pages)
        async with opened(table) as store:
            for job in "gfedcba":
                async with store.lease(job, "run-a") as lease:
                    assert lease is not None
                    await store.save(lease, evolve(CHECKPOINT, job=job))
            assert [status.checkpoint.job async for status in store.jobs()] == list("abcdefg")
        assert len(pages) == 3

    async def test_made_twice_and_by_two_at_once(self, aws: Aws) -> None:
        name = f"table-{uuid.uuid4().hex[:12]}"
        async with opened(name) as one, opened(name) as other:
            told = await asyncio.gather(one.create(), other.create())
            assert f"table {name}: made, on demand" in told[0] + told[1]
            assert told[0][-1] == told[1][-1] == f"store id {one.id}"
            assert await one.create() == [
                f"table {name}: is there, on demand",
                "TTL: is on, by expires_at",
                f"store id {one.id}",
            ]
        found = aws.client("dynamodb").describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        assert found == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}

    def test_closed_it_can_be_used_again_in_another_loop(self, table: str) -> None:
        store = DynamoDBStore(table)

        async def main() -> None:
            async with leased(store) as lease:
                await store.save(lease, CHECKPOINT)
            await store.close()
            assert await store.load("orders") == CHECKPOINT
            await store.close()

        asyncio.run(main())
        asyncio.run(main())


async def test_each_request_names_the_permission_that_it_needs(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    call = AwsClient.call
    named: dict[str, str] = {}

    async def noted(self: AwsClient, operation: str, **parameters: Any) -> Any:
        named[operation] = parameters["action"]
        return await call(self, operation, **parameters)

    monkeypatch.setattr(AwsClient, "call", noted)
    name = f"table-{uuid.uuid4().hex[:12]}"
    async with opened(name) as store:
        await store.create()
        async with leased(store) as lease:
            await store.save(lease, CHECKPOINT)
        assert [status.checkpoint async for status in store.jobs()] == [CHECKPOINT]
    assert named == {operation: f"dynamodb:{operation.title().replace('_', '')}" for operation in named}
    assert len(named) == 7
