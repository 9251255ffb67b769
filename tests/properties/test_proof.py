"""Whatever is changed in a receipt, wherever, is seen; whatever a receipt can say comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from csv2kafka.errors import ConfigError, Csv2KafkaError, Difference
from csv2kafka.model import Manifest
from csv2kafka.proof import FileSide, JobState, Proof, SourceSide, TopicSide, canonical, proof_from_json, receipt

texts = st.text(max_size=8)
numbers = st.integers(0, 2**63)
places = st.none() | numbers
values = st.none() | st.booleans() | texts | st.lists(texts, max_size=2)
topics = st.builds(
    lambda offsets, **more: TopicSide(first_offset=offsets[0], last_offset=offsets[1], log_end=offsets[2], **more),
    offsets=st.lists(numbers, min_size=3, max_size=3, unique=True).map(sorted),
    cluster_id=texts,
    topic=texts,
    topic_id=texts,
    partition=numbers,
    besides=numbers,
    behind=numbers,
    content_hash=texts,
)
files = st.builds(FileSide, path=texts, size=numbers, sha256=texts)
states = st.builds(
    JobState,
    run_id=texts,
    complete=st.booleans(),
    at=texts,
    rows=numbers,
    content_hash=texts,
    transactions=numbers,
    generation=numbers,
)
objects = st.lists(st.tuples(texts, places, texts), max_size=2).map(tuple)
sources = st.builds(
    SourceSide,
    asked=st.lists(texts, max_size=2).map(tuple),
    objects=st.builds(Manifest, objects=objects),
    content_hash=texts,
)
proofs = st.builds(
    Proof,
    tool=texts,
    at=texts,
    job=texts,
    rows=numbers,
    bad_rows=numbers,
    source=sources,
    settings=st.dictionaries(texts, values, max_size=2),
    destination=topics | files,
    checkpoint=st.none() | states,
)


def read(data: bytes) -> Proof:
    return proof_from_json(data, where="r.json")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each field that holds no others."""
    if isinstance(value, dict):
        inside = [leaf for name, entry in value.items() for leaf in leaves(entry, (*path, name))]
    elif isinstance(value, list):
        inside = [leaf for place, entry in enumerate(value) for leaf in leaves(entry, (*path, place))]
    else:
        return [path]
    return inside or [path]


@settings(max_examples=40)
@given(proofs)
def test_what_is_written_comes_back(proof: Proof) -> None:
    assert read(receipt(proof.as_dict())) == proof


@settings(max_examples=60)
@given(proofs, values | numbers, st.data())
def test_any_field_that_is_changed_is_found(proof: Proof, value: Any, draw: st.DataObject) -> None:
    said = json.loads(receipt(proof.as_dict()))
    *path, name = draw.draw(st.sampled_from(leaves(said)))
    inside = said
    for step in path:
        inside = inside[step]
    assume(canonical(inside[name]) != canonical(value))
    inside[name] = value
    with pytest.raises(ConfigError if [*path, name] == ["proof_version"] else Difference):
        read(json.dumps(said).encode())


@settings(max_examples=60)
@given(proofs, st.data())
def test_any_field_that_is_taken_away_is_found(proof: Proof, draw: st.DataObject) -> None:
    said = json.loads(receipt(proof.as_dict()))
    paths = [path for path in leaves(said) if isinstance(path[-1], str)]
    *path, name = draw.draw(st.sampled_from(paths))
    inside = said
    for step in path:
        inside = inside[step]
    del inside[name]
    with pytest.raises(ConfigError if [*path, name] == ["proof_version"] else Difference):
        read(json.dumps(said).encode())


@settings(max_examples=60)
@given(proofs, st.data())
def test_a_byte_that_is_changed_is_found_unless_it_means_the_same(proof: Proof, draw: st.DataObject) -> None:
    data = bytearray(receipt(proof.as_dict()))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] = draw.draw(st.integers(0, 255).filter(lambda byte: byte != data[at]))
    try:
        found = read(bytes(data))
    except Csv2KafkaError:
        return
    assert found == proof
