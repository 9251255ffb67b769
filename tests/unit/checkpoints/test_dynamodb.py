"""The DynamoDB store's pure parts: URLs, keys, sizes; and how making a table waits."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from csv2kafka.checkpoints import dynamodb_table
from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.checkpoints.dynamodb_item import MAX_ITEM_BYTES, Value, check_size, job_of, key_of, packed, unpacked
from csv2kafka.errors import ConfigError, StateContradiction, Unreachable
from csv2kafka.model import Checkpoint, to_json
from csv2kafka.testing import run_virtual

ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/jobs"


@pytest.mark.parametrize(
    ("url", "table", "ttl"),
    [
        ("dynamodb://csv2kafka", "csv2kafka", None),
        ("dynamodb://csv2kafka?ttl=30d", "csv2kafka", 30 * 86400.0),
        ("dynamodb://a.b_c-d?region=eu-west-1&endpoint_url=http://localhost:8000", "a.b_c-d", None),
        (f"dynamodb://{ARN}?ttl=12h", ARN, 43200.0),
    ],
)
def test_urls(url: str, table: str, ttl: float | None) -> None:
    store = DynamoDBStore.from_url(url)
    assert (store.table, store.ttl_seconds) == (table, ttl)


def test_the_problems_of_a_url_are_told_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        DynamoDBStore.from_url("dynamodb://no?tll=30d&ttl=soon&region=&region=x")
    assert [problem.partition(": ")[2] for problem in caught.value.problems] == [
        "expected a table's name (3 to 255 letters, digits, '_', '.', '-') or ARN, found 'no'",
        "no option 'tll'; did you mean ttl?; there is ttl, region, endpoint_url",
        "ttl: expected a duration such as 0.2, 500ms or 2m, from 1h to 3650d, found 'soon'",
        "region: expected one value, found ['', 'x']",
    ]


@pytest.mark.parametrize("table", ["", "ab", "a/b", "x" * 256, "arn:aws:s3:::bucket", f"{ARN}/index/x"])
def test_what_names_no_table(table: str) -> None:
    with pytest.raises(ConfigError, match="expected a table's name"):
        DynamoDBStore(table)


def test_each_job_has_a_key_of_its_own_and_none_the_stores() -> None:
    jobs = ["orders", ":orders", "::orders", ":store", "::store", "store", ":", "::"]
    keys = [key_of(job) for job in jobs]
    assert len(set(keys)) == len(jobs)
    assert ":store" not in keys
    assert [job_of(key) for key in keys] == jobs


@pytest.mark.parametrize("key", ["renamed", "::renamed"])
def test_another_jobs_checkpoint_is_refused(key: str) -> None:
    item = {
        "job": {"S": key},
        "epoch": {"N": "1"},
        "checkpoint": {"S": to_json(Checkpoint(job="orders", run_id="r")).decode()},
    }
    with pytest.raises(StateContradiction, match=rf"expected the checkpoint of job '{job_of(key)}', found .* 'orders'"):
        DynamoDBStore("table")._status(item)


@pytest.mark.parametrize("job", ["", "x" * 2049, "ü" * 1025])
def test_names_that_dynamodb_has_no_key_for(job: str) -> None:
    with pytest.raises(ConfigError, match="expected a name of 1 to 2048 bytes"):
        key_of(job)


@pytest.mark.parametrize("text", [b"{}", "ü".encode() * 1024, b"x" * 2049, "漢".encode() * 100_000])
def test_what_is_large_is_compressed(text: bytes) -> None:
    value = packed(text)
    assert list(value) == ["S" if len(text) <= 2048 else "B"]
    assert unpacked(value) == text


def test_what_is_compressed_is_gzip_and_always_the_same() -> None:
    value = packed(b"x" * 5000)
    assert gzip.decompress(value["B"]) == b"x" * 5000
    assert value == packed(b"x" * 5000)


def test_an_item_fits_up_to_dynamodbs_limit() -> None:
    """Names and values count; moto and DynamoDB refuse one byte more than the limit."""
    random_bytes = random.Random(0).randbytes(MAX_ITEM_BYTES)
    rest = len("manifest") + len("key") + len("owner") + 2048

    def check(size: int, room: int) -> None:
        values: dict[str, Value] = {"manifest": {"B": random_bytes[:size]}}
        check_size("table", "key", "owner", values, room=room)

    check(MAX_ITEM_BYTES - rest, 0)
    check(MAX_ITEM_BYTES - rest - 100, 100)
    with pytest.raises(ConfigError, match=r"found 409,601 after compression \(manifest 4"):
        check(MAX_ITEM_BYTES - rest + 1, 0)
    with pytest.raises(ConfigError, match="100 of them free"):
        check(MAX_ITEM_BYTES - rest - 99, 100)


class FakeTable:
    """What DynamoDB answers about one table, by operation; a list: one after another."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def call(self, operation: str, **_: Any) -> Any:
        self.asked.append(operation)
        answer = self.answers[operation]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer, "Message": "no"}}, operation)
        return answer


def described(status: str) -> Any:
    return {"Table": {"TableStatus": status, **dynamodb_table.SCHEMA}}


def expires_by(attribute: str, status: str = "ENABLED") -> Any:
    return {"TimeToLiveDescription": {"TimeToLiveStatus": status, "AttributeName": attribute}}


def made(table: FakeTable) -> list[str]:
    call: Callable[..., Any] = table.call
    return run_virtual(dynamodb_table.make_table(call, "jobs"))


def test_a_table_is_waited_for_until_it_can_be_used() -> None:
    table = FakeTable(
        describe_table=["ResourceNotFoundException", "ResourceNotFoundException", *[described("CREATING")] * 5,
                        described("ACTIVE")],
        create_table={},
        describe_time_to_live=expires_by("", "DISABLED"),
        update_time_to_live={},
    )  # fmt: skip
    assert made(table) == ["table jobs: made, on demand", "TTL: switched on, by expires_at"]
    assert table.asked.count("describe_table") == 8


def test_but_not_for_ever() -> None:
    table = FakeTable(describe_table=described("DELETING"))
    with pytest.raises(Unreachable, match="expected it to be ACTIVE within 120 s, it is DELETING"):
        made(table)


def test_one_that_somebody_else_makes_meanwhile_is_found() -> None:
    table = FakeTable(
        describe_table=["ResourceNotFoundException", described("ACTIVE")],
        create_table="ResourceInUseException",
        describe_time_to_live=[expires_by("", "DISABLED"), expires_by("expires_at", "ENABLING")],
        update_time_to_live="ValidationException",
    )
    assert made(table) == ["table jobs: is there, with provisioned capacity", "TTL: is on, by expires_at"]


def test_a_ttl_by_another_attribute_is_left_alone() -> None:
    table = FakeTable(describe_table=described("ACTIVE"), describe_time_to_live=expires_by("gone"))
    assert "by another attribute, gone" in made(table)[1]


def test_a_ttl_that_cannot_be_switched_on_is_told() -> None:
    table = FakeTable(
        describe_table=described("ACTIVE"),
        describe_time_to_live=expires_by("", "DISABLED"),
        update_time_to_live="ValidationException",
    )
    with pytest.raises(ConfigError, match="switching the TTL on") as caught:
        made(table)
    assert "again in an hour" in caught.value.hint
