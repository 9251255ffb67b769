"""The examples, run as their reader would: into files, and into a real Kafka where there is one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csv2kafka.errors import ConfigError
from csv2kafka.testing import EncoderConformance, chunk
from examples.custom_encoder import SelectedColumns
from tests.pipelines import csv_text, values
from tests.reading import read_partition

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60.0
MANY = 8_000_000  # rows: some seconds' work
PART = 100_000


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CSV2KAFKA_")}
    return {**kept, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "orders.csv", tmp_path / "customers.csv"]
    for path, rows in zip(paths, (300, 20), strict=True):
        path.write_bytes(csv_text(rows))
    return paths


def run(environment: dict[str, str], example: str, *arguments: str | Path, code: int = 0) -> str:
    command = [sys.executable, str(EXAMPLES / example), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


class TestService:
    def test_loads_every_file(self, environment: dict[str, str], files: list[Path]) -> None:
        output = run(environment, "service.py", *files)
        assert sorted(output.splitlines()) == ["customers.csv: complete, 20 rows", "orders.csv: complete, 300 rows"]
        for path, rows in zip(files, (300, 20), strict=True):
            assert path.with_suffix(".jsonl").read_bytes().splitlines() == values(rows)
        assert run(environment, "service.py", *files).count("(by an earlier run)") == 2

    def test_one_that_fails_does_not_hold_up_the_others(self, environment: dict[str, str], files: list[Path]) -> None:
        files[0].write_bytes(b"id,name\n1\n")
        output = run(environment, "service.py", *files, code=65)
        assert "orders.csv: " in output
        assert "row 1 (line 2, byte 8)" in output
        assert "customers.csv: complete, 20 rows" in output

    @pytest.mark.slow
    def test_stops_cleanly_and_goes_on(self, environment: dict[str, str], files: list[Path]) -> None:
        with files[0].open("wb") as file:
            file.write(csv_text(0))
            file.writelines(csv_text(PART, first).removeprefix(csv_text(0)) for first in range(0, MANY, PART))
        with started(environment, *files) as service:
            assert service.stdout is not None
            first = service.stdout.readline()
            while "orders.csv 0" in first or "customers.csv: complete" in first:
                first = service.stdout.readline()
            service.send_signal(signal.SIGTERM)
            output, _ = service.communicate(timeout=SECONDS)
        assert service.returncode == 75, first + output
        committed = int(output.partition("orders.csv: stopped, ")[2].split()[0])
        assert 0 < committed < MANY
        result = files[0].with_suffix(".jsonl")
        assert result.read_bytes().count(b"\n") == committed
        output = run(environment, "service.py", *files)
        assert f"orders.csv: complete, {MANY} rows\n" in output
        assert "customers.csv: complete, 20 rows (by an earlier run)" in output
        with result.open("rb") as file:
            for first_row in range(0, MANY, PART):
                expected = b"".join(value + b"\n" for value in values(PART, first_row))
                assert file.read(len(expected)) == expected
            assert file.read() == b""

    def test_loads_into_kafka(self, environment: dict[str, str], tmp_path: Path, bootstrap_servers: str) -> None:
        names = [f"service-{time.time_ns()}-{number}" for number in range(2)]
        paths = [tmp_path / f"{name}.csv" for name in names]
        for path in paths:
            path.write_bytes(csv_text(50))
        run(environment, "service.py", *paths, "-b", bootstrap_servers)
        for name in names:
            assert [row.value for row in read_partition(bootstrap_servers, name)] == values(50)


@contextmanager
def started(environment: dict[str, str], *files: Path) -> Iterator[subprocess.Popen[str]]:
    """The service as a process that is ended, whatever happens."""
    command = [sys.executable, str(EXAMPLES / "service.py"), *map(str, files)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


ORDERS = b'id,customer,amount\n1,"a, b",10\n2,c,nan\n\n3,d,1.5\n4\n5,e,\n'


class TestCustomEncoder(EncoderConformance):
    def make(self) -> SelectedColumns:
        return SelectedColumns(columns=("name", "id"), numbers=frozenset({"id"}))

    def test_runs(self, environment: dict[str, str], tmp_path: Path) -> None:
        source, output = tmp_path / "orders.csv", tmp_path / "orders.jsonl"
        source.write_bytes(ORDERS)
        said = run(
            environment, "custom_encoder.py", source, "-o", output, "--columns", "amount,id", "--numbers", "amount"
        )
        assert said == f"3 rows in {output}, 2 refused\n"
        assert output.read_text().splitlines() == [
            '{"amount":10,"id":"1"}',
            '{"amount":1.5,"id":"3"}',
            '{"amount":null,"id":"5"}',
        ]
        refused = [json.loads(line) for line in Path(f"{output}.bad").read_text().splitlines()]
        assert [(row["row"], row["line"], row["byte"], row["value"]) for row in refused] == [
            (2, 3, ORDERS.index(b"2,c"), "2,c,nan"),
            (4, 6, ORDERS.index(b"4\n"), "4"),
        ]
        assert refused[0]["reason"] == "amount: expected a number, found 'nan'"

    def test_a_column_that_is_not_there_is_a_mistake_of_the_configuration(self) -> None:
        with pytest.raises(ConfigError, match="columns: expected some of a, b, found name, id"):
            self.make().encode(chunk(b"1,2\n", ("a", "b")))
