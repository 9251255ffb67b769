"""Which objects a source names, also when they are gone: a complete job is asked for them."""

from __future__ import annotations

from csv2kafka.sources.http import HttpSource
from csv2kafka.sources.local import LocalSource
from csv2kafka.sources.s3 import S3Source


def test_what_a_source_names_though_it_is_gone() -> None:
    assert LocalSource("/in").names("/in/a.csv")
    assert not LocalSource("/in").names("/inner/a.csv")
    source = S3Source("s3://bucket/in/", "s3://bucket/a.csv", "s3://other/*.csv")
    named = ["s3://bucket/in/b.csv", "s3://bucket/a.csv", "s3://other/c.csv"]
    others = ["s3://bucket/in/deep/b.csv", "s3://bucket/a.csv2", "s3://other/d/c.csv", "s3://bucket/c.csv", "/a.csv"]
    assert [source.names(uri) for uri in named + others] == [True] * 3 + [False] * 5
    assert HttpSource("http://host/a.csv").names("http://host/a.csv")
    assert not HttpSource("http://host/a.csv").names("http://host/b.csv")
