"""A checkpoint held against a run's settings and sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from csv2kafka.checks import check_checkpoint, check_not_written
from csv2kafka.errors import ConfigError, SettingsChanged, SourceChanged
from csv2kafka.model import Checkpoint, Manifest, SourceObject

SETTINGS = {"format": "json", "delimiter": ",", "key": ""}
BEGAN = Manifest(objects=(("a.csv", 10, "v1"), ("b.csv", 20, "v1")))
CHECKPOINT = Checkpoint(job="orders", run_id="r", settings=SETTINGS, manifest_digest=BEGAN.digest)


def test_the_same_settings_and_sources_pass() -> None:
    check_checkpoint(CHECKPOINT, BEGAN, settings=dict(reversed(SETTINGS.items())), found=BEGAN)


def test_every_setting_that_differs_is_named_with_both_values() -> None:
    with pytest.raises(SettingsChanged) as raised:
        check_checkpoint(CHECKPOINT, BEGAN, settings={"format": "raw", "delimiter": ",", "table": "t"}, found=BEGAN)
    assert list(raised.value.problems) == [
        "job orders was begun with other settings:",
        "format: the job began with 'json', this run has 'raw'",
        "table: the job began with '', this run has 't'",
    ]


def test_a_setting_that_is_empty_may_be_missing() -> None:
    """As one that a later version adds."""
    check_checkpoint(CHECKPOINT, BEGAN, settings={**SETTINGS, "added": ""}, found=BEGAN)


def test_settings_come_before_sources() -> None:
    with pytest.raises(SettingsChanged):
        check_checkpoint(CHECKPOINT, BEGAN, settings={}, found=Manifest())


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ((("a.csv", 10, "v1"),), ["b.csv: is gone; it was v1"]),
        ((*BEGAN.objects, ("c.csv", 1, "v9")), ["c.csv: is new, v9"]),
        (
            (("a.csv", 11, "v2"), ("b.csv", 20, "v1")),
            ["a.csv: began with v1 (10 bytes), found v2 (11 bytes)"],
        ),
        (tuple(reversed(BEGAN.objects)), ["the same objects in another order"]),
        ((), ["a.csv: is gone; it was v1", "b.csv: is gone; it was v1"]),
        (
            (("b.csv", 20, "v2"), ("c.csv", 1, "v9")),
            ["a.csv: is gone; it was v1", "c.csv: is new, v9", "b.csv: began with v1 (20 bytes), found v2 (20 bytes)"],
        ),
    ],
)
def test_every_object_that_differs_is_named(found: tuple[tuple[str, int, str], ...], lines: list[str]) -> None:
    with pytest.raises(SourceChanged) as raised:
        check_checkpoint(CHECKPOINT, BEGAN, settings=SETTINGS, found=Manifest(objects=found))
    assert [line.strip() for line in raised.value.message.splitlines()[1:]] == lines
    assert "--restart" in raised.value.hint


def test_without_the_list_it_says_only_that_it_differs() -> None:
    with pytest.raises(SourceChanged, match="was not kept"):
        check_checkpoint(CHECKPOINT, None, settings=SETTINGS, found=Manifest())


class TestAFileThatIsReadAndWritten:
    def test_is_refused_before_anything_is_changed(self, tmp_path: Path) -> None:
        rows = tmp_path / "rows.csv"
        rows.write_bytes(b"id\n1\n")
        (tmp_path / "same.jsonl").hardlink_to(rows)
        obj = SourceObject(uri=str(rows), size=5, version="1")
        with pytest.raises(ConfigError, match=r"same\.jsonl would be written, and is one of the files to be read"):
            check_not_written([obj], [tmp_path / "same.jsonl"])
        check_not_written([obj], [tmp_path / "other.jsonl"])
