"""The installed command's options in whole runs into a real topic, read back by another client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from csv2kafka.model import manifest_from_json
from tests.broker.command import Job
from tests.conftest import MakeTopic
from tests.faults.installed import expected_values, write_csv
from tests.reading import read_partition

JobOf = Callable[[bytes], Job]
ISO_DATE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d"


@pytest.fixture
def job_of(bootstrap_servers: str, topic: str, tmp_path: Path) -> JobOf:
    """A job whose source holds these bytes, into a topic of the test's own."""

    def make(content: bytes) -> Job:
        source = tmp_path / "rows.csv"
        source.write_bytes(content)
        return Job(source=source, servers=bootstrap_servers, topic=topic, directory=tmp_path)

    return make


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "gzip", "none"])
def test_every_compression(job_of: JobOf, compression: str) -> None:
    job = job_of(b"")
    write_csv(job.source, 5_000)
    job.run("--compression", compression, "--checkpoint-rows", "1500")
    assert job.values() == list(expected_values(job.source))


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        ("a", [b"1", 'naïve "x"'.encode(), b""]),
        ("b,a", [b'["x","1"]', '["y, z","naïve \\"x\\""]'.encode(), b'["",""]']),
    ],
)
def test_a_key_is_the_column_or_a_json_array_of_several(job_of: JobOf, columns: str, keys: list[bytes]) -> None:
    job = job_of('a,b,c\n1,x,3\n"naïve ""x""","y, z",\n,,\n'.encode())
    job.run("--key", columns)
    rows = job.rows()
    assert [row.key for row in rows] == keys
    assert [row.value for row in rows] == list(expected_values(job.source))


def test_raw_values_are_the_rows_own_bytes(job_of: JobOf) -> None:
    job = job_of(b'a,b\r\n1,"two\r\nlines"\r\n"q""q",\xff\r\nlast,row')
    job.run("--format", "raw")
    assert job.values() == [b'1,"two\r\nlines"', b'"q""q",\xff', b"last,row"]


@pytest.mark.parametrize(
    ("content", "options", "values"),
    [
        (b"1,2\n3,4\n", ("--no-header", "--columns", "x,y"), [b'{"x":"1","y":"2"}', b'{"x":"3","y":"4"}']),
        (b"1,2\n", ("--no-header",), [b'{"column0":"1","column1":"2"}']),
        ("a,b\n☕,\U0001f600\n".encode("utf-16"), ("--encoding", "utf-16"), ['{"a":"☕","b":"\U0001f600"}'.encode()]),
        ("a\né\n".encode("latin-1"), ("--encoding", "latin-1"), ['{"a":"é"}'.encode()]),
        (b"a;b\n'x;''y';\"z\"\n", ("--delimiter", ";", "--quote", "'"), [b'{"a":"x;\'y","b":"\\"z\\""}']),
        (b'a,b\nx\\,y,"q\\"r"\n', ("--escape", "\\"), [b'{"a":"x,y","b":"q\\"r"}']),
        (b'# first\na,b\n#,"\n1,#2\n', ("--comment", "#"), [b'{"a":"1","b":"#2"}']),
    ],
    ids=["columns", "no-header", "utf-16", "latin-1", "delimiter-quote", "escape", "comment"],
)
def test_options_of_the_csv(job_of: JobOf, content: bytes, options: tuple[str, ...], values: list[bytes]) -> None:
    job = job_of(content)
    job.run(*options)
    assert job.values() == values
    assert f"{len(values)} row" in job.verify(*options)


def test_an_encoding_that_is_no_text_is_refused(job_of: JobOf) -> None:
    job = job_of(b"a\n1\n")
    assert "rot13" in job.run("--encoding", "rot13", code=2)
    assert job.values() == []


def test_complete_already_says_since_when(job_of: JobOf) -> None:
    job = job_of(b"a\n1\n2\n")
    job.run()
    told = job.run()
    assert re.search(rf"complete already, since {ISO_DATE}", told), told
    assert len(job.values()) == 2


def test_what_stands_in_the_checkpoint_topic(job_of: JobOf, make_topic: MakeTopic) -> None:
    """Manifest, claim and checkpoints, each under its key; the manifest's digest is in every checkpoint."""
    job, name = job_of(b"a\n" + b"row\n" * 3000), make_topic(config={"cleanup.policy": "compact"})
    job.run("--job", "the-job", "--checkpoint-topic", name, "--checkpoint-rows", "1000", "--compression", "none")
    records = [row for row in read_partition(job.servers, name) if row.value is not None]
    by_kind: dict[str, list[bytes]] = {}
    for row in records:
        assert row.key is not None
        assert row.value is not None
        kind, _, of = row.key.decode().partition("/")
        assert of == "the-job"
        by_kind.setdefault(kind, []).append(row.value)
    assert sorted(by_kind) == ["checkpoint", "claim", "manifest"]
    (manifest,) = by_kind["manifest"]
    ((uri, size, _version),) = json.loads(manifest)["objects"]
    assert (Path(uri).name, size) == ("rows.csv", job.source.stat().st_size)
    assert json.loads(by_kind["claim"][-1])["run_id"]
    checkpoints = [json.loads(value) for value in by_kind["checkpoint"]]
    digest = manifest_from_json(manifest, where="manifest").digest
    assert {checkpoint["manifest_digest"] for checkpoint in checkpoints} == {digest}
    assert [checkpoint["counts"]["rows"] for checkpoint in checkpoints if checkpoint["counts"]["rows"]][-1] == 3000
    assert [checkpoint["complete"] for checkpoint in checkpoints][-1] is True
