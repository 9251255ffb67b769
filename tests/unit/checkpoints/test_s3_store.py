"""The S3 store's pure parts: URLs and the names of objects."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csv2kafka.checkpoints.s3 import PLACE, S3Store, name_of
from csv2kafka.errors import ConfigError

ACCESS_POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/jobs"


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://bucket/csv2kafka", "bucket", "csv2kafka"),
        ("s3://bucket/a/b/", "bucket", "a/b"),
        (f"s3://{ACCESS_POINT}/a/b", ACCESS_POINT, "a/b"),
        (f"s3://{ACCESS_POINT.replace('t/', 't:')}/a", ACCESS_POINT.replace("t/", "t:"), "a"),
    ],
)
def test_urls(url: str, bucket: str, prefix: str) -> None:
    match = PLACE.fullmatch(url)
    assert match is not None
    assert match.groups() == (bucket, prefix)
    S3Store.from_url(url)


@pytest.mark.parametrize(
    "url", ["s3://", "s3://bucket", "s3://bucket/", "s3:///prefix", "s3://bucket/a?ttl=30d", "s3://a bucket/a"]
)
def test_what_is_no_url_of_a_store(url: str) -> None:
    with pytest.raises(ConfigError, match="expected s3://BUCKET/PREFIX"):
        S3Store.from_url(url)


@pytest.mark.parametrize(
    ("job", "name"), [("orders-2024.csv", "orders-2024.csv"), ("a b/c", "a!20b!2Fc"), ("ü!~%", "!C3!BC!21!7E!25")]
)
def test_names_can_be_read(job: str, name: str) -> None:
    assert name_of(job) == name


@given(st.text(), st.text())
def test_each_job_has_a_name_of_its_own_in_safe_letters(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._!~-]{0,465}", name_of(one))
    assert (name_of(one) == name_of(other)) == (one == other)


def test_long_names_differ_by_their_digests() -> None:
    long = [name_of("x" * 1000 + end) for end in ("", "a", "b")]
    assert len(set(long)) == 3
    assert {name_of(long[0])} & set(long) == set(), "nor is a name taken for what it stands for"
