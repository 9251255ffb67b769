"""A job as it runs in AWS: the installed command, told everything by environment variables and nothing by flags."""

from __future__ import annotations

import functools
import hashlib
import json
import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from tests.aws.conftest import Aws
from tests.faults.installed import Installed, expected_values
from tests.reading import each_row

READ_SECONDS = 120.0
_NOTES = ["plain", '"a, comma"', '"a ""quote"""', '"two\nlines"', '"naïve ☕"', ""]


def write_rows(path: Path, rows: int, *, seed: int = 1) -> None:
    """Rows of about 50 bytes with quoted commas, quotes, newlines and UTF-8. Half of each is random: a compressed
    file of them has some size."""
    draw = random.Random(seed)
    with path.open("wb") as file:
        file.write(b"id,token,note,city\r\n")
        for first in range(0, rows, 1000):
            token = draw.randbytes(12_000).hex()
            numbers = range(first, min(first + 1000, rows))
            lines = (
                f"{row},{token[24 * (row - first) : 24 * (row - first + 1)]},{_NOTES[row % 6]},Köln\r\n"
                for row in numbers
            )
            file.write("".join(lines).encode())


def digest(values: Iterable[bytes]) -> str:
    """Of all of them, where each ends, and their order."""
    found = hashlib.blake2b()
    for value in values:
        found.update(b"%d," % len(value) + value)
    return found.hexdigest()


@functools.cache
def expected_digest(file: Path) -> str:
    """That of the file's rows as JSON, which takes ten seconds for millions of them."""
    return digest(expected_values(file))


def make_table(aws: Aws, directory: Path) -> str:
    """A table for checkpoints, made by ``csv2kafka init``; its name."""
    name = f"csv2kafka-{uuid.uuid4().hex[:8]}"
    run = Installed(["init", f"dynamodb://{name}"], directory, variables=aws.environment).start()
    assert run.end() == 0, run.output
    return name


@frozen(kw_only=True)
class AwsJob:
    """``source``: its s3:// address. ``file``: the same rows on this machine. ``variables``: further ones.
    ``started``: every process of it."""

    aws: Aws
    source: str
    file: Path
    servers: str
    topic: str
    checkpoints: str
    directory: Path
    variables: Mapping[str, str] = {}
    started: list[Installed] = Factory(list)

    @property
    def environment(self) -> Mapping[str, str]:
        """All that the command is told."""
        return {
            **self.aws.environment,
            "CSV2KAFKA_SOURCES": self.source,
            "CSV2KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "CSV2KAFKA_TOPIC": self.topic,
            "CSV2KAFKA_CHECKPOINTS": self.checkpoints,
            "CSV2KAFKA_PROGRESS": "json",
            "CSV2KAFKA_REPORT": str(self.directory / "report.json"),
            **self.variables,
        }

    def start(self, command: str = "run", **more: str) -> Installed:
        """``csv2kafka run`` and nothing behind it; ``more``: variables for this process alone."""
        run = Installed([command], self.directory, variables={**self.environment, **more}).start()
        self.started.append(run)
        return run

    def kill_all(self) -> None:
        """Nothing of it is left behind, however its test ends."""
        for run in self.started:
            run.kill()

    def run(self, code: int = 0) -> dict[str, Any]:
        """A run from its start to its end; gives its report."""
        return self.ended(self.start(), code)

    def ended(self, run: Installed, code: int = 0) -> dict[str, Any]:
        """Wait for the run's end, which is to be with ``code``; gives its report."""
        found = run.end()
        assert found == code, f"{self.source}: ended with {found}, expected {code}:\n{run.output[-3000:]}"
        report: dict[str, Any] = json.loads((self.directory / "report.json").read_text())
        return report

    def verify(self) -> None:
        """``csv2kafka verify`` says that they are equal."""
        run = self.start("verify", CSV2KAFKA_PROGRESS="none")
        assert run.end() == 0, run.output[-3000:]
        assert run.output.startswith("equal: every row is there once, in order"), run.output

    def assert_holds_exactly(self) -> None:
        """What another client sees of the topic, with read_committed, are the rows of the file, each once, in order."""
        if digest(self._values()) == expected_digest(self.file):
            return
        for number, (found, expected) in enumerate(zip_longest(self._values(), expected_values(self.file)), 1):
            assert found == expected, f"{self.source}, row {number}: expected {expected!r}, found {found!r}"
        raise AssertionError("the digests differ, and no row does")

    def _values(self) -> Iterator[bytes]:
        return (row.value or b"" for row in each_row(self.servers, self.topic, seconds=READ_SECONDS))
