"""Checkpoints and manifests to JSON and back."""

from __future__ import annotations

import hashlib
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
    assert checkpoint_from_json(data, job=checkpoint.job, where="here") == checkpoint
    assert to_json(checkpoint_from_json(data.decode(), job=checkpoint.job, where="here")) == data
    assert b"\n" not in data


def test_a_manifest_comes_back_as_it_was() -> None:
    manifest = Manifest(objects=(("a.csv", 10, "v1"), ("-", None, "run=1")))
    assert manifest_from_json(to_json(manifest), where="here") == manifest


def test_a_field_that_a_later_version_adds_is_passed_over() -> None:
    later = {**json.loads(to_json(FULL)), "added": 1}
    assert checkpoint_from_json(summed(later), job=FULL.job, where="here") == FULL


def summed(raw: dict[str, object]) -> bytes:
    """As a version that knows these fields writes them."""
    raw = {name: value for name, value in raw.items() if name != "sum"}
    text = json.dumps(raw, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return json.dumps({**raw, "sum": hashlib.sha256(text.encode()).hexdigest()[:16]}).encode()


def test_what_an_earlier_version_wrote_has_no_sum() -> None:
    raw = json.loads(to_json(FULL))
    assert checkpoint_from_json(summed(raw), job=FULL.job, where="here") == FULL
    del raw["sum"]
    assert checkpoint_from_json(json.dumps(raw), job=FULL.job, where="here") == FULL


def test_each_bit_that_changes_is_seen() -> None:
    """Or it changes nothing: in the name of the sum itself, or a letter of a number's own in JSON."""
    data = to_json(FULL)
    refused = 0
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            try:
                assert checkpoint_from_json(bytes(changed), job=FULL.job, where="here") == FULL
            except StateContradiction:
                refused += 1
    assert refused > 7.5 * len(data)


def test_what_is_cut_off_or_doubled_is_refused() -> None:
    data = to_json(FULL)
    for size in range(len(data)):
        with pytest.raises(StateContradiction):
            checkpoint_from_json(data[:size], job=FULL.job, where="here")
    with pytest.raises(StateContradiction):
        checkpoint_from_json(data * 2, job=FULL.job, where="here")


@pytest.mark.parametrize("number", [-1, 1 << 63, 1 << 64])
def test_what_no_run_has_written_is_refused(number: int) -> None:
    raw = json.loads(to_json(FULL))
    places = [(raw["counts"], "rows"), (raw["position"], "offset"), (raw["sink"]["offsets"], "data")]
    places += [(raw["position"]["resume"], "skip"), (raw["position"], "line"), (raw, "generation")]
    for table, name in places:
        before, table[name] = table[name], number
        with pytest.raises(StateContradiction, match="says what cannot be"):
            checkpoint_from_json(summed(raw), job=FULL.job, where="here")
        table[name] = before


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "9" * 5000, "[" * 100_000, '"\\ud800"'])
def test_what_json_readers_stumble_over_is_refused(text: str) -> None:
    for place in ('"generation":2', '"job":"orders-ü"', '"rows":3'):
        data = to_json(FULL).decode()
        assert place in data
        with pytest.raises(StateContradiction):
            checkpoint_from_json(data.replace(place, f"{place.partition(':')[0]}:{text}"), job=FULL.job, where="here")
    with pytest.raises(StateContradiction):
        manifest_from_json(f'{{"objects":[["a",{text},"v"]]}}', where="here")


@pytest.mark.parametrize("found", [0, 2, "1", None])
def test_an_unknown_format_is_refused(found: object) -> None:
    other = json.dumps({**json.loads(to_json(FULL)), "format": found})
    with pytest.raises(StateContradiction, match=r"^here: checkpoint format .*, this csv2kafka knows 1"):
        checkpoint_from_json(other, job=FULL.job, where="here")


def test_another_jobs_checkpoint_is_refused() -> None:
    """Copied there, or renamed: its rows would be taken for this one's."""
    with pytest.raises(StateContradiction, match=r"^here: expected the checkpoint of job 'new', found .* 'orders-ü'"):
        checkpoint_from_json(to_json(FULL), job="new", where="here")


@pytest.mark.parametrize("field", ["job", "run_id"])
def test_a_checkpoint_without_its_name_is_refused(field: str) -> None:
    raw = json.loads(to_json(FULL))
    del raw[field]
    with pytest.raises(StateContradiction, match=r"^here: not a checkpoint"):
        checkpoint_from_json(json.dumps(raw), job=FULL.job, where="here")


@pytest.mark.parametrize(
    "change", [{"counts": 3}, {"content_hash": "x"}, {"at": "yesterday"}, {"position": {"rows": "x"}}]
)
def test_a_field_of_another_kind_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(StateContradiction, match=r"^here: not a checkpoint"):
        checkpoint_from_json(json.dumps({**json.loads(to_json(FULL)), **change}), job=FULL.job, where="here")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"\xff", b'"x"'])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(StateContradiction, match="not a checkpoint"):
        checkpoint_from_json(data, job=FULL.job, where="here")
    with pytest.raises(StateContradiction, match="not a manifest"):
        manifest_from_json(data, where="here")
