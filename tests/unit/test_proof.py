"""Receipts as JSON: what is written comes back; what is none, of another version or changed is told apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from attrs import evolve

from csv2kafka.errors import ConfigError, Difference
from csv2kafka.model import Manifest
from csv2kafka.proof import (
    Checked,
    FileSide,
    JobState,
    Proof,
    SourceSide,
    TopicSide,
    canonical,
    object_differences,
    proof_from_json,
    receipt,
)

WHERE = "--check-proof r.json"
OBJECTS = (("/a.csv", 10, "v1"), ("/b é\u202e.csv", None, 'etag="x"'))
SIDE = TopicSide(
    cluster_id="c",
    topic="orders",
    topic_id="t",
    partition=3,
    first_offset=5,
    last_offset=8,
    log_end=9,
    besides=0,
    behind=2,
    content_hash="0f",
)
PROOF = Proof(
    tool="csv2kafka 1.2.3",
    at="2026-01-02T03:04:05+00:00",
    job="orders",
    rows=3,
    bad_rows=1,
    source=SourceSide(asked=("/a.csv", "/b*"), objects=Manifest(objects=OBJECTS), content_hash="0f"),
    settings={"format": "json", "key": ["id"], "quote": None, "no_header": False},
    destination=SIDE,
    checkpoint=JobState(
        run_id="r",
        complete=True,
        at="2026-01-02T03:04:00+00:00",
        rows=3,
        content_hash="0f",
        transactions=2,
        generation=1,
    ),
)
TO_FILE = evolve(PROOF, destination=FileSide(path="/out", size=100, sha256="ab"), checkpoint=None)


def read(data: bytes) -> Proof:
    return proof_from_json(data, where=WHERE)


def signed(**changes: Any) -> bytes:
    """A receipt with other fields, and a hash that fits."""
    return receipt({**PROOF.as_dict(), **changes})


EMPTY = evolve(PROOF, rows=0, destination=evolve(SIDE, first_offset=None, last_offset=None))


@pytest.mark.parametrize("proof", [PROOF, TO_FILE, EMPTY])
def test_what_is_written_comes_back(proof: Proof) -> None:
    assert read(receipt(proof.as_dict())) == proof


def test_it_begins_with_its_version_and_ends_with_its_hash() -> None:
    """By the first it is known as a receipt, which another may replace."""
    data = receipt(PROOF.as_dict())
    assert data.startswith(b'{\n  "proof_version": 1,\n')
    assert list(json.loads(data))[-1] == "sha256"
    assert data.endswith(b"}\n")


def test_its_hash_is_what_the_documents_say() -> None:
    """SHA-256 of the other fields: keys sorted, no spaces, UTF-8."""
    said = json.loads(receipt(PROOF.as_dict()))
    told = said.pop("sha256")
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert told == hashlib.sha256(text.encode()).hexdigest()


def test_how_it_is_laid_out_does_not_matter() -> None:
    said = json.loads(receipt(PROOF.as_dict()))
    assert read(json.dumps(dict(reversed(said.items()))).encode()) == PROOF


def test_a_name_that_is_no_text_has_a_form_too() -> None:
    proof = evolve(TO_FILE, destination=FileSide(path="/\udcff", size=1, sha256=""))
    assert read(receipt(proof.as_dict())) == proof
    assert canonical("\udcff") == b'"\\udcff"'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff",
        b'{"report_version": 1}',
        receipt(PROOF.as_dict())[:-3],
        b"[" * 100_000,
        b"id,name\n1,x\n",
    ],
)
def test_what_is_no_receipt(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"r\.json: is no receipt of csv2kafka, or no longer a"):
        read(data)


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None])
def test_a_version_that_is_not_known(version: object) -> None:
    with pytest.raises(ConfigError, match=rf"a receipt of proof_version {version!r}, this csv2kafka knows 1") as raised:
        read(signed(proof_version=version))
    assert "with the csv2kafka that wrote it" in raised.value.hint


def test_a_field_that_was_changed() -> None:
    with pytest.raises(Difference, match="was changed after it was written: its sha256 is '") as raised:
        read(receipt(PROOF.as_dict()).replace(b'"rows": 3', b'"rows": 4', 1))
    assert raised.value.exit_code == 65


@pytest.mark.parametrize("said", [b"null", b'""', b"7", b'"' + b"0" * 64 + b'"'])
def test_a_hash_that_was_changed(said: bytes) -> None:
    data = receipt(PROOF.as_dict())
    told = json.loads(data)["sha256"].encode()
    with pytest.raises(Difference, match="was changed"):
        read(data.replace(b'"' + told + b'"', said))


def test_a_hash_that_is_gone() -> None:
    said = json.loads(receipt(PROOF.as_dict()))
    del said["sha256"]
    with pytest.raises(Difference, match="its sha256 is None"):
        read(json.dumps(said).encode())


def test_a_field_that_stands_there_twice() -> None:
    """Readers disagree on which counts; ours takes the last, and its hash would fit."""
    data = receipt(PROOF.as_dict()).replace(b'"rows": 3,', b'"rows": 4, "rows": 3,', 1)
    with pytest.raises(Difference, match="'rows' stands in it twice"):
        read(data)


def test_a_field_of_a_later_version_of_the_tool_is_taken() -> None:
    assert read(signed(more={"x": [1]})) == PROOF


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": None},
        {"rows": "many"},
        {"source": {}},
        {"source": None},
        {"settings": 3},
        {"destination": {"kind": "queue"}},
        {"destination": {"kind": "file"}},
        {"destination": {"kind": []}},
        {"checkpoint": {}},
        {"checkpoint": 1},
        {"source": {**PROOF.as_dict()["source"], "objects": [{}]}},
        {"source": {**PROOF.as_dict()["source"], "asked": 3}},
    ],
)
def test_a_receipt_that_somebody_else_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="is no receipt"):
        read(signed(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"first_offset": 9, "last_offset": 8},
        {"first_offset": None},
        {"first_offset": None, "last_offset": None},
        {"first_offset": -1},
        {"last_offset": 9},
        {"partition": -1},
    ],
)
def test_numbers_that_do_not_go_together(changes: dict[str, int | None]) -> None:
    """Behind the log's end a reader would wait."""
    with pytest.raises(ConfigError, match="is no receipt"):
        read(signed(destination={**PROOF.as_dict()["destination"], **changes}))


def test_numbers_that_json_does_not_have() -> None:
    data = receipt(PROOF.as_dict()).replace(b'"rows": 3', b'"rows": NaN', 1)
    with pytest.raises(ConfigError, match="is no receipt"):
        read(data)


LOCAL = "size=1,mtime=%d,fingerprint=%s"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([("/a", 1, "v1"), ("/b", 2, "v2")], []),
        ([("/a", 1, "v1")], ["/b: is gone; it was v2"]),
        ([("/a", 1, "v1"), ("/b", 2, "v3")], ["/b: was changed: it was v2, now it is v3"]),
        ([("/a", 1, "v1"), ("/b", 3, "v2")], ["/b: was changed: it was v2, now it is v2"]),
        ([("/a", 1, "v1"), ("/b", 2, "v2"), ("/c", 3, "v3")], ["/c: was not there; now it is, with v3"]),
        ([("/b", 2, "v2"), ("/a", 1, "v1")], ["the objects of the source come in another order"]),
        (
            [("/b", 2, "v3"), ("/c", 1, "v")],
            ["/a: is gone; it was v1", "/c: was not there; now it is, with v", "/b: was "],
        ),
    ],
)
def test_what_has_become_of_objects(found: list[tuple[str, int, str]], told: list[str]) -> None:
    differences = object_differences(
        Manifest(objects=(("/a", 1, "v1"), ("/b", 2, "v2"))), Manifest(objects=tuple(found))
    )
    assert len(differences) == len(told)
    assert all(found.startswith(begins) for found, begins in zip(differences, told, strict=True))


@pytest.mark.parametrize(("mtime", "fingerprint", "touched"), [(2, "f", True), (2, "g", False), (1, "g", False)])
def test_a_file_that_was_only_touched_is_said_to_be_so(mtime: int, fingerprint: str, touched: bool) -> None:
    was, now = (Manifest(objects=(("/a", 1, LOCAL % each),)) for each in ((1, "f"), (mtime, fingerprint)))
    (told,) = object_differences(was, now)
    assert told.endswith(" (only its modification time differs)") is touched


def test_what_was_checked_as_json() -> None:
    checked = Checked(source="holds", destination="differs", differences=("x",), seconds=1.0)
    said = json.loads(checked.to_json())
    assert (said["holds"], said["source"], said["differences"]) == (False, "holds", ["x"])
    assert Checked(source="holds", destination="not checked").holds
