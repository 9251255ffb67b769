"""``csv2kafka preview``: what the first rows become, as their own bytes, and nothing else on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_text('id,name\n1,"a, b"\n2\n3,"x\ny"\n4,é\n5,e\n')
    return path


def test_values_on_standard_output_the_rest_on_standard_error(command: Command, source: Path) -> None:
    outcome = command("preview", str(source))
    assert [json.loads(line) for line in outcome.out.splitlines()] == [
        {"id": "1", "name": "a, b"},
        {"id": "3", "name": "x\ny"},
        {"id": "4", "name": "é"},
        {"id": "5", "name": "e"},
    ]
    columns, bad = outcome.err.splitlines()
    assert columns == f"{source}: 2 columns: id, name"
    assert bad.startswith(f"{source}: row 2 (line 3, byte 17): ")
    assert outcome.code == 65


@pytest.mark.parametrize(("mark", "given"), [(";", "';'"), ("\t", "tab"), ("|", "'|'")])
def test_one_column_that_looks_like_several_is_warned_of(
    command: Command, tmp_path: Path, mark: str, given: str
) -> None:
    (tmp_path / "a.csv").write_text(f"id{mark}name\n1{mark}x\n")
    outcome = command("preview", str(tmp_path / "a.csv"))
    assert outcome.code == 0
    columns, warning = outcome.err.splitlines()
    assert ": 1 column: " in columns
    assert warning.endswith(f": is --delimiter {given} meant?")
    given = given.strip("'")
    assert "warning" not in command("preview", str(tmp_path / "a.csv"), "--delimiter", given).err


def test_only_as_many_rows_as_asked_for(command: Command, source: Path) -> None:
    outcome = command("preview", str(source), "-n", "1")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 1
    assert "row 2" not in outcome.err


def test_keys_stand_before_a_tab(command: Command, source: Path) -> None:
    outcome = command("preview", str(source), "--key", "id", "-n", "1")
    assert outcome.out == '1\t{"id":"1","name":"a, b"}\n'
    both = command("preview", str(source), "--key", "id,name", "-n", "1").out
    assert json.loads(both.split("\t")[0]) == ["1", "a, b"]


def test_the_dialect_counts(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_bytes("1\t'é\t'\n#2\t3\n4\t5\n".encode("latin-1"))
    flags = ["--delimiter", "tab", "--quote", "'", "--comment", "#", "--encoding", "latin-1", "--columns", "a,b"]
    outcome = command("preview", str(path), "--no-header", *flags)
    assert outcome.code == 0
    assert outcome.out == '{"a":"1","b":"é\t"}\n{"a":"4","b":"5"}\n'.replace("\t", "\\t")


def test_bytes_come_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,name\r\n1,"\x00 \xc3\xa9"\r\n')
    command = [sys.executable, "-m", "csv2kafka", "preview", str(path), "--format", "raw"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.stdout == b'1,"\x00 \xc3\xa9"\n'
    assert done.returncode == 0


def test_standard_input(source: Path) -> None:
    command = [sys.executable, "-m", "csv2kafka", "preview", "-", "-n", "1"]
    with source.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=False, timeout=60)
    assert done.stdout == b'{"id":"1","name":"a, b"}\n'


def test_several_files_are_one(command: Command, source: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("id,name\n6,f\n")
    outcome = command("preview", str(tmp_path))
    assert outcome.out.splitlines()[-1] == '{"id":"6","name":"f"}'


def test_headers_that_differ_are_told(command: Command, source: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("id,title\n6,f\n")
    outcome = command("preview", str(tmp_path))
    assert outcome.code == 65
    assert "'title'" in outcome.err


def test_a_file_that_is_not_there(command: Command) -> None:
    outcome = command("preview", "/none.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert "/none.csv" in outcome.err


@pytest.mark.parametrize("content", ["", "id,name\n"])
def test_no_rows(command: Command, tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    outcome = command("preview", str(tmp_path / "a.csv"))
    assert (outcome.code, outcome.out) == (0, "")
    assert "no data rows" in outcome.err


def test_it_reads_only_what_it_needs(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("id,name\n")
        file.truncate(1 << 30)
    outcome = command("preview", str(path), "-n", "1", "--max-record", "4KiB")
    assert outcome.code == 65  # the file is one endless record, and 4 KiB of it were enough to see that
    assert "Traceback" not in outcome.err
