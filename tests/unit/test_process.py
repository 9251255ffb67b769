"""A pipeline as a process's only work: how it is stopped, what it ends with, and what it says of that."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import Factory, define

from csv2kafka import FileSink, LocalSource, Pipeline
from csv2kafka.errors import ConfigError, Csv2KafkaError, DataError
from csv2kafka.model.report import Report
from csv2kafka.process import SIGNALS, configuration, main, until_stopped
from tests.aws.imds import SPOT, SPOT_TERMINATE, imds
from tests.pipelines import Place, csv_text, source_of, until, values
from tests.unit.cli.conftest import REPORT


@define
class Endless:
    """Runs until it is cancelled, or raises ``error``."""

    error: Csv2KafkaError | None = None
    report: Report = REPORT
    begun: asyncio.Event = Factory(asyncio.Event)

    async def run(self) -> Report:
        if self.error is not None:
            raise self.error
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError


def endless(error: Csv2KafkaError | None = None) -> Pipeline:
    return cast(Pipeline, Endless(error))


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_it_ends_with_0_and_its_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "a.csv", tmp_path / "a.jsonl"
    source.write_bytes(csv_text(20))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    pipeline = Pipeline(LocalSource(source), FileSink(output))
    assert await until_stopped(pipeline) == 0
    assert output.read_bytes().splitlines() == values(20)
    (line,) = told(capsys)
    assert line["event"] == "finished"
    assert line["report"]["rows"] == 20
    assert line["report"]["complete"] is True


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_ends_it_with_75(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = endless()
    work = asyncio.ensure_future(until_stopped(pipeline))
    await cast(Any, pipeline).begun.wait()
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)  # a second one changes nothing
    assert await work == 75
    stopping, failed = told(capsys)
    assert stopping["event"] == "stopping"
    assert (failed["event"], failed["exit_code"], failed["error"]) == ("failed", 75, "Stopped")
    assert failed["message"] == f"stopped ({number.name}): 1,200 rows are committed"


async def test_a_notice_ends_it_with_75(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with imds() as metadata:
        metadata.entries[SPOT] = SPOT_TERMINATE
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        assert await until_stopped(endless(), watch="spot") == 75
    assert "EC2 takes this Spot instance back" in told(capsys)[-1]["message"]


async def test_a_watch_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on for ever, and the watcher of tasks of these tests would find it."""
    with imds() as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        assert await until_stopped(endless(DataError("row 7: odd")), watch="spot") == 65


async def test_an_error_is_told_as_a_run_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError("expected this, found that", hint="do so")
    assert await until_stopped(endless(error)) == 2
    (line,) = told(capsys)
    assert {name: line[name] for name in line if name != "at"} == {
        "event": "failed",
        "exit_code": 2,
        "error": "ConfigError",
        "message": "expected this, found that",
        "hint": "do so",
    }


async def test_who_cancels_it_gets_no_exit_code() -> None:
    pipeline = endless()
    work = asyncio.ensure_future(until_stopped(pipeline))
    await cast(Any, pipeline).begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_afterwards_signals_end_the_process_again() -> None:
    await until_stopped(endless(DataError("row 7: odd")))
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_DFL, signal.default_int_handler]


async def test_its_configuration_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text('sources = ["a.csv"]\ncheckpoint-interval = "2s"\n')
    monkeypatch.setenv("CSV2KAFKA_CONFIG", str(file))
    monkeypatch.setenv("CSV2KAFKA_OUTPUT", "a.jsonl")
    config = await configuration(sources=["b.csv"])
    assert (config.sources, config.output, config.checkpoint_interval) == (("b.csv",), "a.jsonl", 2)


def test_what_is_warned_of_is_a_line_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)

    async def start() -> int:
        logging.getLogger("csv2kafka.aws.notices").warning("no %s", "token")
        return 0

    assert main(start) == 0
    (line,) = told(capsys)
    assert (line["event"], line["level"], line["message"]) == ("log", "warning", "no token")


def test_a_mistake_in_the_configuration_is_told_and_ends_it_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CSV2KAFKA_OUTPUT", "a.jsonl")

    async def start() -> int:
        return await until_stopped(Pipeline.from_config(await configuration()))

    assert main(start) == 2
    (line,) = told(capsys)
    assert line["exit_code"] == 2
    assert "SOURCE... (environment CSV2KAFKA_SOURCES, file key sources): is needed" in line["message"]


async def test_a_second_signal_does_not_keep_it_from_committing() -> None:
    place = Place(source_of(csv_text(50)))
    place.sink.faults.plan("commit", seconds=0.2)
    ended = asyncio.ensure_future(until_stopped(place.pipeline(checkpoint_rows=7)))
    await until(lambda: place.sink.faults.counts["commit"] == 1)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.02)
    assert await ended == 75
    assert place.values == values(7)


STUCK = """
import os, sys, time
from csv2kafka import FileSink, LocalSource, Pipeline, process
from csv2kafka.sources import local

class Disk:
    def __getattr__(self, name):
        return getattr(os, name)

    def pread(self, fd, count, offset):
        if count == local.BLOCK_BYTES or offset:
            print("stuck", flush=True)
            time.sleep(60)
        return os.pread(fd, count, offset)

local.os, local.BLOCK_BYTES, process.STOP_SECONDS = Disk(), 7, 1.0

async def start():
    return await process.until_stopped(Pipeline(LocalSource(sys.argv[1]), FileSink(sys.argv[2])))

raise SystemExit(process.main(start))
"""


def test_a_disk_that_does_not_answer_does_not_keep_a_process_that_was_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv_text(20))
    command = [sys.executable, "-c", STUCK, str(tmp_path / "a.csv"), str(tmp_path / "a.jsonl")]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"stuck\n"
            told = time.monotonic()
            process.terminate()
            assert process.wait(20) == 75
            assert time.monotonic() - told < 10
        finally:
            process.kill()
