"""Checkpoints and manifests to JSON and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from csv2kafka.errors import StateContradiction
from csv2kafka.model import Checkpoint, ContentHash, Counts, Manifest, Position, ResumePoint, SinkState
from csv2kafka.model.codec import checkpoint_from_json, manifest_from_json, to_json

FULL = Checkpoint(
    job="orders-ü",
    run_id="r1",
    position=Position(
        object_index=2,
        uri="/a/b.csv",
        version="size=1",
        offset=1 << 40,
        resume=ResumePoint(offset=5, state="12", skip=3),
        rows=10**12,
        line=7,
    ),
    header=("id", "", 'na"me', "漢字"),
    counts=Counts(rows=3, bad_rows=2, bytes=100),
    content_hash=ContentHash(value=1 << 127),
    sink=SinkState(
        offsets={"data": 1 << 50, "dead-letter": 0},
        first_offset=3,
        destination_id="topic-id",
        fingerprint="f",
        producer_ids=(4, 1 << 60),
        producer_epoch=-1,
    ),
    generation=2,
    settings={"format": "json", "key": ""},
    manifest_digest="d",
    transactions=9,
    complete=True,
    at=datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
)


@pytest.mark.parametrize("checkpoint", [FULL, Checkpoint(job="j", run_id="r")], ids=["full", "empty"])
def test_a_checkpoint_comes_back_as_it_was(checkpoint: Checkpoint) -> None:
    data = to_json(checkpoint)
    assert checkpoint_from_json(data, where="here") == checkpoint
    assert to_json(checkpoint_from_json(data.decode(), where="here")) == data
    assert b"\n" not in data


def test_a_manifest_comes_back_as_it_was() -> None:
    manifest = Manifest(objects=(("a.csv", 10, "v1"), ("-", None, "run=1")))
    assert manifest_from_json(to_json(manifest), where="here") == manifest


def test_a_field_that_a_later_version_adds_is_passed_over() -> None:
    later = {**json.loads(to_json(FULL)), "added": 1}
    assert checkpoint_from_json(json.dumps(later), where="here") == FULL


@pytest.mark.parametrize("found", [0, 2, "1", None])
def test_an_unknown_format_is_refused(found: object) -> None:
    other = json.dumps({**json.loads(to_json(FULL)), "format": found})
    with pytest.raises(StateContradiction, match=r"^here: checkpoint format .*, this csv2kafka knows 1"):
        checkpoint_from_json(other, where="here")


@pytest.mark.parametrize("field", ["job", "run_id"])
def test_a_checkpoint_without_its_name_is_refused(field: str) -> None:
    raw = json.loads(to_json(FULL))
    del raw[field]
    with pytest.raises(StateContradiction, match=r"^here: not a checkpoint"):
        checkpoint_from_json(json.dumps(raw), where="here")


@pytest.mark.parametrize(
    "change", [{"counts": 3}, {"content_hash": "x"}, {"at": "yesterday"}, {"position": {"rows": "x"}}]
)
def test_a_field_of_another_kind_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(StateContradiction, match=r"^here: not a checkpoint"):
        checkpoint_from_json(json.dumps({**json.loads(to_json(FULL)), **change}), where="here")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff", b'"x"'])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(StateContradiction, match="not a checkpoint"):
        checkpoint_from_json(data, where="here")
    with pytest.raises(StateContradiction, match="not a manifest"):
        manifest_from_json(data, where="here")
