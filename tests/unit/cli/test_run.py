"""``csv2kafka run`` around a pipeline: configuration in, report out, warnings, progress as asked."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from csv2kafka.cli.app import execute
from csv2kafka.errors import BadRow, ConfigError, TopicMissing
from csv2kafka.model import Committed, DeadLetter, Progressed, SessionOpened, Started, Waiting
from csv2kafka.model.report import Report
from tests.unit.cli.conftest import COMPLETE, REPORT, Command, FakePipeline


async def succeed(pipeline: FakePipeline) -> Report:
    return COMPLETE


async def fail(pipeline: FakePipeline) -> Report:
    raise BadRow("expected 3 fields, found 2", source="/a.csv", row=7, line=9, byte=120, hint="see --on-bad-row")


async def narrate(pipeline: FakePipeline) -> Report:
    pipeline.emit(Started(job="orders", run_id="r1", objects=1, total_bytes=5000))
    pipeline.emit(SessionOpened(number=1, checkpoint=evolve(REPORT.checkpoint, complete=False)))
    pipeline.emit(Progressed(rows=1200, bad_rows=0, source_bytes=5000, uri="/a.csv"))
    pipeline.emit(Waiting(reason="broker is away", seconds=2.0, attempt=1))
    pipeline.emit(Committed(checkpoint=COMPLETE.checkpoint, seconds=0.01))
    return COMPLETE


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_flags_reach_the_pipeline(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command.work = succeed
    (tmp_path / "c.toml").write_text('compression = "lz4"\n[kafka]\nclient_id = "me"\n')
    monkeypatch.setenv("CSV2KAFKA_PARTITION", "3")
    monkeypatch.setenv("CSV2KAFKA_CONFIG", str(tmp_path / "c.toml"))
    flags = ["--no-header", "--kafka", "request_timeout_ms=9000", "--key", "id", "--create-topic", "b.csv"]
    assert command.run(*flags).code == 0
    (config,) = command.configs
    assert config.sources == ("a.csv", "b.csv")
    assert (config.topic, config.bootstrap_servers, config.partition) == ("orders", "host:9092", 3)
    assert (config.compression, config.key, config.header, config.create_topic) == ("lz4", ("id",), False, True)
    assert config.kafka == {"client_id": "me", "request_timeout_ms": "9000"}


def test_the_outcome_goes_to_standard_error(command: Command) -> None:
    command.work = succeed
    outcome = command.run()
    assert outcome.out == ""
    assert "done: 1,200 rows in kafka topic orders partition 0, offsets 3 to 1,209" in outcome.err
    assert "600 rows/s" in outcome.err


def test_complete_already_says_since_when(command: Command) -> None:
    async def already(pipeline: FakePipeline) -> Report:
        return evolve(COMPLETE, already_complete=True, rows_this_run=0)

    command.work = already
    outcome = command.run()
    assert outcome.code == 0
    assert "complete already, since 1970-01-01" in outcome.err


def test_no_rows_and_bad_rows_are_warned_of(command: Command) -> None:
    async def empty(pipeline: FakePipeline) -> Report:
        return evolve(COMPLETE, checkpoint=evolve(COMPLETE.checkpoint, counts=evolve(REPORT.checkpoint.counts, rows=0)))

    async def bad(pipeline: FakePipeline) -> Report:
        row = DeadLetter(value=b"x", source="/a.csv", row=7, line=9, byte=120, reason="too short")
        counts = evolve(REPORT.checkpoint.counts, bad_rows=3)
        return evolve(COMPLETE, checkpoint=evolve(COMPLETE.checkpoint, counts=counts), bad_rows=(row,))

    command.work = empty
    assert "warning: the source has no data rows" in command.run().err
    command.work = bad
    told = command.run().err
    assert "warning: 3 bad rows refused" in told
    assert "/a.csv: row 7 (line 9, byte 120): too short" in told
    assert "and 2 more" in told


def test_the_report_is_written_whole(command: Command, tmp_path: Path) -> None:
    command.work = succeed
    target = tmp_path / "report.json"
    target.write_text("old")
    assert command.run("--report", str(target)).code == 0
    said = json.loads(target.read_text())
    assert (said["rows"], said["first_offset"], said["last_offset"], said["exit_code"]) == (1200, 3, 1209, 0)
    assert said["error"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert stat.S_IMODE(target.stat().st_mode) & 0o444


def test_the_report_of_a_failed_run_says_how_far_it_came(command: Command, tmp_path: Path) -> None:
    command.work = fail
    target = tmp_path / "report.json"
    assert command.run("--report", str(target)).code == 65
    said = json.loads(target.read_text())
    assert said["exit_code"] == 65
    assert said["rows"] == 1200
    assert said["error"]["error"] == "BadRow"
    assert said["error"]["message"] == "/a.csv: row 7 (line 9, byte 120): expected 3 fields, found 2"


def test_the_report_can_go_to_standard_output(command: Command) -> None:
    command.work = succeed
    outcome = command.run("--report", "-")
    assert json.loads(outcome.out)["rows"] == 1200


def test_a_report_that_cannot_be_written_is_told(command: Command, tmp_path: Path) -> None:
    target = tmp_path / "there" / "report.json"
    target.parent.mkdir()

    async def vanish(pipeline: FakePipeline) -> Report:
        target.parent.rmdir()
        return COMPLETE

    command.work = vanish
    outcome = command.run("--report", str(target))
    assert outcome.code == 1
    assert "done: 1,200 rows" in outcome.err
    assert "--report" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_run_that_failed_keeps_its_code_when_nobody_reads(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    command.work = fail
    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setattr(sys, "stdout", Gone())
    for progress in ("rich", "plain", "json", "none"):
        assert execute(["run", "a.csv", "-o", "f", "--progress", progress, "--report", "-"]) == 65


def test_json_progress_is_an_object_a_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command.work = narrate
    monkeypatch.setenv("CSV2KAFKA_TOPIK", "x")
    told = lines(command.run("--progress", "json").err)
    assert [line["event"] for line in told] == [
        "log",
        "started",
        "session",
        "progress",
        "waiting",
        "committed",
        "finished",
    ]
    assert told[0]["level"] == "warning"
    assert "did you mean CSV2KAFKA_TOPIC?" in told[0]["message"]
    assert told[-1]["report"]["rows"] == 1200
    assert all("at" in line for line in told)


def test_json_progress_tells_the_failure_too(command: Command) -> None:
    command.work = fail
    outcome = command.run("--progress", "json")
    assert outcome.code == 65
    (told,) = lines(outcome.err)
    assert (told["event"], told["error"], told["exit_code"]) == ("failed", "BadRow", 65)
    assert told["hint"] == "see --on-bad-row"


def test_plain_progress_tells_what_happens(command: Command) -> None:
    command.work = narrate
    told = command.run("--progress", "plain").err
    assert "job orders: 1 object, 5.0 kB" in told
    assert "going on after row 1,200" in told
    assert "waiting: broker is away; trying again in 2.0 s" in told


def test_without_progress_only_errors_are_told(command: Command) -> None:
    command.work = narrate
    assert command.run("--progress", "none").err == ""
    command.work = fail
    assert "expected 3 fields, found 2" in command.run("--progress", "none").err


@pytest.mark.parametrize("progress", ["rich", "plain", "json", "none"])
def test_every_display_gives_the_exit_code_and_the_reason(command: Command, progress: str) -> None:
    async def missing(pipeline: FakePipeline) -> Report:
        await narrate(pipeline)
        raise TopicMissing("no topic orders", hint="make it, or give --create-topic")

    command.work = missing
    outcome = command.run("--progress", progress)
    assert outcome.code == 2
    assert "no topic orders" in outcome.err
    assert "give --create-topic" in outcome.err
    assert outcome.out == ""


def test_a_problem_of_building_the_pipeline_is_told_like_any_other(command: Command) -> None:
    command.refuse = ConfigError("no such part")
    outcome = command.run()
    assert outcome.code == 2
    assert "no such part" in outcome.err
