"""What a receipt has of a configuration. That contradictions are refused: tests/unit/cli/test_receipt.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from csv2kafka.config import RunConfig
from csv2kafka.reading import reading_from
from csv2kafka.verify.contradictions import SHAPING, asked_by, settings_of

TOPIC = {"topic": "orders", "bootstrap_servers": "host:9092"}


def test_every_option_that_shapes_the_output() -> None:
    """Those that a run's checkpoint is held against."""
    settings = reading_from(RunConfig(sources=("a.csv",), **TOPIC)).settings  # type: ignore[arg-type]
    assert set(settings) == {"header" if name == "no_header" else name for name in SHAPING}


def test_as_json_has_them() -> None:
    config = RunConfig(sources=("a.csv",), key=("a", "b"), quote=None, no_header=True, **TOPIC)  # type: ignore[arg-type]
    said = settings_of(config)
    assert (said["key"], said["quote"], said["no_header"], said["delimiter"]) == (["a", "b"], None, True, ",")


@pytest.mark.parametrize(
    ("sources", "asked"),
    [
        (("b/*.csv", "/a/../c.csv"), ("{here}/b/*.csv", "/c.csv")),
        (("s3://bucket/prefix/", "s3://bucket/a*.csv"), ("s3://bucket/prefix/", "s3://bucket/a*.csv")),
        (("https://me:secret@host/a.csv?x=1&X-Amz-Signature=abc",), ("https://host/a.csv?x=1",)),
        (("-",), ("-",)),
    ],
)
def test_sources_are_absolute_and_without_secrets(
    sources: tuple[str, ...], asked: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = asked_by(RunConfig(sources=sources, **TOPIC))  # type: ignore[arg-type]
    assert found == tuple(each.format(here=tmp_path) for each in asked)
