"""A share of the campaigns that run the command: hostile sources, hostile command lines, hostile configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile import configurations, csv_files
from tests.hostile.campaign import campaign
from tests.hostile.forked import Forked, forked
from tests.hostile.laws import CODES, hold


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    with forked(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.mark.parametrize("kind", range(len(csv_files.KINDS)))
def test_sources(command: Forked, kind: int, tmp_path: Path) -> None:
    """One of each kind."""
    campaign("csv", lambda seed: csv_files.try_one(seed, command, tmp_path), count=1, first=17_000 + kind)


def test_command_lines(command: Forked, tmp_path: Path) -> None:
    tally = campaign("flags", lambda seed: configurations.try_flags(seed, command, tmp_path), count=12, first=1)
    assert {int(code) for code in tally.ends} <= CODES
    assert tally.ends["2"] > 5


def test_configurations(tmp_path: Path) -> None:
    tally = campaign("config", lambda seed: configurations.try_one(seed, tmp_path), count=60, first=1)
    assert tally.ends["refused"] > 20
    assert tally.ends["taken"] > 2


@pytest.mark.parametrize("arguments", [("run", "a.csv", "-o", "out"), ("preview", "a.csv")])
def test_too_few_file_descriptors(command: Forked, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """It is a limit of the process, and no bug; the file that happened to meet it is not what is wrong."""
    command.directory = tmp_path
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    ended = command.run(*arguments, descriptors=5)
    hold(ended)
    assert ended.code == 2
    assert "too many open files: this process may have 5 open at once (ulimit -n)" in ended.text
