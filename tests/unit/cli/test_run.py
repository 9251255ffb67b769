"""``csv2kafka run`` around a pipeline: configuration in, report out, warnings, progress as asked."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from csv2kafka.cli import redact
from csv2kafka.cli.app import execute
from csv2kafka.errors import BadRow, ConfigError, NotAuthorized, TopicMissing
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


@pytest.mark.parametrize("already", [False, True])
def test_what_became_of_the_objects_is_told(command: Command, already: bool) -> None:
    async def done(pipeline: FakePipeline) -> Report:
        return evolve(COMPLETE, already_complete=already)

    command.work = done
    outcome = command("run", "s3://b/a.csv", "-b", "host:9092", "-t", "orders", "--after", "delete")
    assert "--after delete: done" in outcome.err.splitlines()
    assert "--after" not in command.run().err


def test_metrics_do_not_have_a_secret_in_the_jobs_name(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(pipeline: FakePipeline) -> Report:
        pipeline.emit(Started(job="a.csv-to-hunter2-0", run_id="r1", objects=1, total_bytes=5000))
        return COMPLETE

    monkeypatch.setattr(redact, "_known", [])
    redact.hide("hunter2")
    command.work = work
    command.run("--metrics", f"emf:{tmp_path}/emf")
    assert [line["Job"] for line in lines((tmp_path / "emf").read_text())] == ["a.csv-to-***-0"]


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


def test_dead_letters_are_where_it_says(command: Command) -> None:
    async def bad(pipeline: FakePipeline) -> Report:
        counts = evolve(REPORT.checkpoint.counts, bad_rows=3)
        return evolve(COMPLETE, checkpoint=evolve(COMPLETE.checkpoint, counts=counts))

    command.work = bad
    flags = ["--on-bad-row", "dead-letter"]
    told = command.run(*flags, "--dead-letter-topic", "orders-bad").err
    assert "warning: 3 bad rows refused; dead letters are in topic orders-bad" in told
    assert "dead letters are in out.bad" in command("run", "a.csv", "-o", "out", *flags).err
    assert "dead letters" not in command.run("--on-bad-row", "skip").err


def test_complete_already_says_what_restart_would_do(command: Command) -> None:
    async def already(pipeline: FakePipeline) -> Report:
        return evolve(COMPLETE, already_complete=True, rows_this_run=0)

    command.work = already
    assert "every row is sent again, behind what stands in the topic" in command.run().err
    assert "--restart empties out and begins again at row 0" in command("run", "a.csv", "-o", "out").err


async def interrupted(pipeline: FakePipeline) -> Report:
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(30)
    return COMPLETE


def test_a_stopped_run_is_gone_on_with(command: Command) -> None:
    command.work = interrupted
    outcome = command.run()
    assert outcome.code == 75
    assert outcome.err.endswith("→ run the same command again to go on from there\n")
    assert "standard input" not in outcome.err


async def interrupted_when_complete(pipeline: FakePipeline) -> Report:
    pipeline.report = COMPLETE
    return await interrupted(pipeline)


async def refused_when_complete(pipeline: FakePipeline) -> Report:
    pipeline.report = COMPLETE
    raise NotAuthorized("deleting s3://b/a.csv: not allowed", hint="allow s3:DeleteObject")


S3_RUN = ("run", "s3://b/a.csv", "-b", "host:9092", "-t", "orders")
LEFT = "every row is there: what is left is --after delete, by the same command again"


def test_stopped_behind_the_last_commit_it_is_done(command: Command) -> None:
    command.work = interrupted_when_complete
    assert command(*S3_RUN).code == 0


def test_stopped_before_the_objects_were_seen_to_it_is_not(command: Command) -> None:
    command.work = interrupted_when_complete
    outcome = command(*S3_RUN, "--after", "delete")
    assert outcome.code == 75
    assert outcome.err.endswith(f"1,200 rows are committed\n  → {LEFT}\n")


def test_an_error_with_the_objects_says_that_the_rows_are_there(command: Command) -> None:
    command.work = refused_when_complete
    outcome = command(*S3_RUN, "--after", "delete")
    assert outcome.code == 2
    assert outcome.err.endswith(f"→ allow s3:DeleteObject; {LEFT}\n")
    assert LEFT not in command(*S3_RUN).err


def test_a_run_from_standard_input_says_that_it_cannot_be_gone_on_with(command: Command) -> None:
    command.work = interrupted
    outcome = command("run", "-", "-b", "host:9092", "-t", "orders")
    assert outcome.code == 75
    first, *_, last = outcome.err.splitlines()
    assert "warning: standard input cannot be read again, so this run cannot be resumed" in first
    assert "sends the rows again" in first
    assert "is a new job, and sends its rows behind these" in last
    assert "go on from there" not in outcome.err


def test_one_column_that_looks_like_several_is_warned_of_once(command: Command) -> None:
    async def odd(pipeline: FakePipeline) -> Report:
        pipeline.emit(SessionOpened(number=1, checkpoint=REPORT.checkpoint))
        for _ in range(2):
            pipeline.emit(Committed(checkpoint=evolve(REPORT.checkpoint, header=("id;name",)), seconds=0.01))
        return COMPLETE

    command.work = odd
    warning = "there is only one column, 'id;name': is --delimiter ';' meant?"
    assert command.run().err.count(warning) == 1


def test_a_slip_in_a_variable_is_told_also_where_it_made_the_configuration_wrong(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSV2KAFKA_TOPIK", "orders")
    outcome = command("run", "a.csv", "-b", "host:9092")
    assert outcome.code == 2
    first, second = outcome.err.splitlines()
    assert first == "warning: CSV2KAFKA_TOPIK is not a variable of csv2kafka; did you mean CSV2KAFKA_TOPIC?"
    assert "--topic" in second
    assert "did you mean CSV2KAFKA_TOPIC?" in command("preview", "/none.csv").err


def test_the_report_is_written_whole(command: Command, tmp_path: Path) -> None:
    command.work = succeed
    target = tmp_path / "report.json"
    assert command.run("--report", str(target)).code == 0
    target.chmod(0o600)  # an earlier report
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


@pytest.mark.parametrize(
    ("report", "what"),
    [
        ("a.csv", "which is of SOURCE 'a.csv'"),
        ("./a.csv", "which is of SOURCE 'a.csv'"),
        ("exports/r.json", "which is of SOURCE 'exports'"),
        ("more/r.csv", "which is of SOURCE 'more/*.csv'"),
        ("deep/r.csv", "which is of SOURCE 'deep/**/*.csv'"),
        ("deep/x/y/r.csv", "which is of SOURCE 'deep/**/*.csv'"),
        ("out", "which is the file of --output"),
        ("exports/../out", "which is the file of --output"),
        ("out.bad", "which is where --output puts bad rows"),
        ("c.toml", "which is the file of --config"),
        ("jobs.db", "which is the store of --checkpoints"),
        ("letter.txt", "which is there already, and no report of csv2kafka"),
        ("other.json", "which is there already, and no report of csv2kafka"),
        ("exports", "which cannot be written"),
        ("more", "which cannot be written"),
    ],
)
def test_the_report_overwrites_nothing_else(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: str, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for directory in ("exports", "more", "deep/x/y"):
        Path(directory).mkdir(parents=True)
    held = {"a.csv": "a\n1\n", "c.toml": "", "letter.txt": "Dear Sir", "other.json": '{"rows": 1}'}
    for name, text in held.items():
        Path(name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    argv = ["a.csv", "exports", "more/*.csv", "deep/**/*.csv", "-o", "out", "--checkpoints", "sqlite:///jobs.db"]
    outcome = command("run", *argv, "--config", "c.toml", "--report", report)
    assert (outcome.code, command.configs) == (2, [])
    assert what in outcome.err
    assert sorted(tmp_path.rglob("*")) == before
    assert {name: Path(name).read_text() for name in held} == held


def test_a_report_may_be_an_empty_file_a_hidden_one_or_a_pipe(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command.work = succeed
    Path("exports").mkdir()
    Path("empty").touch()
    for report in ("empty", "exports/_report.json"):
        assert command("run", "exports", "-o", "out", "--report", report).code == 0
        assert json.loads(Path(report).read_text())["rows"] == 1200
    os.mkfifo("pipe")
    reading = os.open("pipe", os.O_RDWR | os.O_NONBLOCK)  # a reader, and no wait for a writer
    try:
        assert command("run", "exports", "-o", "out", "--report", "pipe").code == 0
        assert json.loads(os.read(reading, 1 << 16))["rows"] == 1200
    finally:
        os.close(reading)
    assert Path("pipe").is_fifo()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
def test_a_report_to_a_descriptor_goes_through_it(tmp_path: Path) -> None:
    """Also where it leads to a file. (/dev/stdout is a link to this one; a test must not put /dev at risk.)"""
    (tmp_path / "a.csv").write_text("a\n1\n")
    argv = ["run", str(tmp_path / "a.csv"), "-o", str(tmp_path / "out"), "--report", "/proc/self/fd/1"]
    store = ["--checkpoints", f"sqlite:///{tmp_path}/jobs.db", "--progress", "none"]
    command = [sys.executable, "-m", "csv2kafka", *argv, *store]
    with (tmp_path / "told").open("w") as told:
        subprocess.run(command, stdout=told, check=True, timeout=60)
    assert json.loads((tmp_path / "told").read_text())["rows"] == 1


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
