"""What check finds without Kafka: source, store, lease, first rows; and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from csv2kafka import registry
from csv2kafka.checkpoints.sqlite import SQLiteStore
from csv2kafka.cli.app import execute
from csv2kafka.cli.check import exit_code, line, summary
from csv2kafka.config import RunConfig
from csv2kafka.errors import BadRow, ConfigError, LeaseHeld, SourceChanged
from csv2kafka.model import Checkpoint
from csv2kafka.model.findings import Finding, Forecast
from csv2kafka.pipeline import Pipeline
from csv2kafka.preflight import Preflight, source
from csv2kafka.preflight import store as store_module
from csv2kafka.preflight.store import look_at_store

ROWS = b"id,name\n1,a\n2,b\n3,c\n"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.csv"
    path.parent.mkdir()
    path.write_bytes(ROWS)
    return path


def config(csv: Path, **more: Any) -> RunConfig:
    """Into a file beside it, with a store beside it."""
    given: dict[str, Any] = {
        "sources": (str(csv),),
        "output": str(csv.parent.parent / "out.jsonl"),
        "checkpoints": f"sqlite:///{csv.parent.parent}/jobs.db",
        "job": "orders",
    }
    return RunConfig(**(given | more))


async def found(config: RunConfig) -> dict[str, Finding]:
    """By name."""
    look = [finding async for finding in Preflight(config).findings()]
    assert len({finding.name for finding in look}) == len(look)
    return {finding.name: finding for finding in look}


def failing(findings: dict[str, Finding]) -> list[str]:
    return [finding.name for finding in findings.values() if finding.status == "fail"]


def there(directory: Path) -> set[Path]:
    return set(directory.rglob("*"))


class TestNothingWrong:
    async def test_a_new_job_passes_and_nothing_is_made(self, csv: Path, tmp_path: Path) -> None:
        before = there(tmp_path)
        findings = await found(config(csv))
        assert failing(findings) == []
        assert "1 object, 20 bytes, pinned: " in findings["source"].message
        assert "a run makes it" in findings["checkpoint store"].message
        assert findings["job"].message == "orders: no checkpoint: the job is new"
        assert findings["header"].message == "2 columns: id, name"
        assert findings["first rows"].message == "3 rows looked at: all are well formed"
        assert findings["clock"].status == "not checked"
        assert there(tmp_path) == before

    async def test_the_users_own_store_is_not_made(
        self, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        before = there(tmp_path)
        assert failing(await found(config(csv, checkpoints="memory://"))) == []
        assert there(tmp_path) == before

    async def test_a_sink_that_says_nothing_of_itself(self, csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Plain:
            destination, settings = "somewhere", {"to": "somewhere"}

        monkeypatch.setattr(registry, "build_sink", lambda _: Plain())
        findings = await found(config(csv))
        assert findings["sink"].status == "not checked"
        assert "somewhere" in findings["sink"].message


class TestSource:
    async def test_a_missing_file_fails_as_the_run_does(self, csv: Path) -> None:
        csv.unlink()
        findings = await found(config(csv))
        assert failing(findings) == ["source"]
        assert findings["source"].exit_code == ConfigError.exit_code
        with pytest.raises(ConfigError):
            await Pipeline.from_config(config(csv)).run()

    async def test_it_is_no_failure_where_the_job_is_complete(self, csv: Path) -> None:
        await Pipeline.from_config(config(csv)).run()
        csv.unlink()
        findings = await found(config(csv))
        assert findings["source"].status == "warn"
        assert "complete" in findings["job"].message
        assert failing(findings) == []

    async def test_a_file_that_would_be_written(self, csv: Path) -> None:
        assert failing(await found(config(csv, output=str(csv), restart=True))) == ["source"]

    @pytest.mark.parametrize(
        ("policy", "status", "code"),
        [("fail", "fail", BadRow.exit_code), ("skip", "warn", 0), ("dead-letter", "warn", 0)],
    )
    async def test_bad_rows_by_the_jobs_policy(self, csv: Path, policy: str, status: str, code: int) -> None:
        csv.write_bytes(b"id,name\n1,a\n2\n3,c\n")
        rows = (await found(config(csv, on_bad_row=policy)))["first rows"]
        assert (rows.status, rows.exit_code) == (status, code)
        assert "1 of 3 rows looked at are bad" in rows.message
        assert "a.csv: line 3, byte 12: " in rows.message

    async def test_another_header_in_a_later_file(self, csv: Path) -> None:
        (csv.parent / "b.csv").write_bytes(b"id,price\n4,5\n")
        findings = await found(config(csv, sources=(f"{csv.parent}/*.csv",)))
        assert failing(findings) == ["first rows"]
        assert exit_code(list(findings.values())) == 65

    async def test_a_key_that_is_no_column(self, csv: Path) -> None:
        findings = await found(config(csv, key="nope"))
        assert exit_code(list(findings.values())) == 2
        assert "nope" in findings["header"].message

    async def test_a_quote_never_closed(self, csv: Path) -> None:
        csv.write_bytes(b'id,name\n1,"a\n2,b\n')
        assert exit_code(list((await found(config(csv))).values())) == 65

    async def test_an_empty_file_is_worth_a_word(self, csv: Path) -> None:
        csv.write_bytes(b"")
        findings = await found(config(csv))
        assert failing(findings) == []
        assert findings["first rows"].status == "warn"

    async def test_standard_input_is_not_touched(self, csv: Path) -> None:
        findings = await found(config(csv, sources=("-",)))
        assert findings["source"].status == "warn"
        assert findings["first rows"].status == "not checked"

    async def test_no_more_objects_are_looked_into_than_said(self, csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source, "LOOKED_INTO", 2)
        for name in "bcd":
            (csv.parent / f"{name}.csv").write_bytes(ROWS)
        findings = await found(config(csv, sources=(str(csv.parent),)))
        assert "the first 2 objects of 4" in findings["header"].message
        assert "about 12 rows" in findings["estimate"].message


class TestEstimate:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
    async def test_rows_by_the_length_of_the_first(self, csv: Path, encoding: str) -> None:
        rows = 300_000
        csv.write_bytes(("id,name\n" + "1234567,some name\n" * rows).encode(encoding))
        look = Preflight(config(csv, encoding=encoding))
        assert failing({finding.name: finding async for finding in look.findings()}) == []
        assert look.forecast.rows == pytest.approx(rows, rel=0.01)
        assert look.forecast.seconds == pytest.approx(rows / 1e6, rel=0.01)
        assert look.forecast.value_bytes == pytest.approx(rows * len('{"id":"1234567","name":"some name"}'), rel=0.01)

    async def test_a_serverless_cluster_is_slower(self) -> None:
        seconds, by = source._seconds(
            10, 10_000_000_000, 1.0, "boot-x.c1.kafka-serverless.eu-west-1.amazonaws.com:9098"
        )
        assert seconds == 2000
        assert "5 MB/s" in by


class TestJob:
    async def test_where_it_would_go_on(self, csv: Path) -> None:
        csv.write_bytes(b"id,name\n1,a\n2,b\n3\n")
        with pytest.raises(BadRow):
            await Pipeline.from_config(config(csv)).run()
        findings = await found(config(csv, on_bad_row="skip"))
        assert failing(findings) == []
        assert findings["job"].message == "orders: 2 rows are done; a run would go on at row 3"
        again = await found(config(csv, on_bad_row="skip", restart=True))
        assert "--restart forgets that" in again["job"].message

    async def test_other_settings(self, csv: Path) -> None:
        await Pipeline.from_config(config(csv)).run()
        findings = await found(config(csv, format="raw"))
        assert findings["job"].exit_code == 2
        assert "format: the job began with 'json'" in findings["job"].message

    async def test_another_source(self, csv: Path) -> None:
        await Pipeline.from_config(config(csv)).run()
        csv.write_bytes(ROWS + b"4,d\n")
        findings = await found(config(csv))
        assert findings["job"].exit_code == SourceChanged.exit_code
        with pytest.raises(SourceChanged):
            await Pipeline.from_config(config(csv)).run()

    async def test_an_output_that_is_no_file(self, csv: Path, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        findings = await found(config(csv, output=str(tmp_path / "folder")))
        assert failing(findings) == ["output"]
        assert "is not a regular file" in findings["output"].message

    async def test_a_file_with_something_foreign_in_it(self, csv: Path, tmp_path: Path) -> None:
        (tmp_path / "out.jsonl").write_bytes(b"Dear Sir or Madam\n")
        findings = await found(config(csv))
        assert failing(findings) == ["output"]
        with pytest.raises(ConfigError, match="already"):
            await Pipeline.from_config(config(csv)).run()
        assert (tmp_path / "out.jsonl").read_bytes() == b"Dear Sir or Madam\n"

    async def test_a_directory_that_may_not_be_written_to(
        self, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(tmp_path)))
        findings = await found(config(csv, checkpoints="sqlite:///:memory:"))
        assert failing(findings) == ["output"]
        assert "permission denied" in findings["output"].message

    async def test_a_directory_that_is_not_there(self, csv: Path, tmp_path: Path) -> None:
        output = str(tmp_path / "none" / "out.jsonl")
        findings = await found(config(csv, output=output, checkpoints=f"sqlite:///{tmp_path}/none/jobs.db"))
        assert failing(findings) == ["checkpoint store", "output"]
        assert "no such directory" in findings["output"].message
        assert exit_code(list(findings.values())) == 2


@asynccontextmanager
async def held(csv: Path, tmp_path: Path) -> AsyncIterator[Any]:
    """The job's lease, with a checkpoint saved under it."""
    store = SQLiteStore(tmp_path / "jobs.db")
    async with store.lease("orders", "run 1 (elsewhere)") as lease:
        assert lease is not None
        await store.save(lease, Checkpoint(job="orders", run_id="r1"))
        yield lease


class TestLease:
    async def test_a_live_run_has_it(self, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_module, "LOOK_SECONDS", 0.01)
        async with held(csv, tmp_path) as lease:

            async def beat() -> None:
                while True:
                    await lease.renew()
                    await asyncio.sleep(0.02)

            heart = asyncio.create_task(beat())
            look = await look_at_store(config(csv), "orders")
            heart.cancel()
            assert [finding.status for finding in look.findings] == ["pass", "fail"]
            assert look.findings[1].exit_code == LeaseHeld.exit_code
            assert "run 1 (elsewhere)" in look.findings[1].message
            await lease.renew()  # it was not taken

    async def test_what_is_known_is_told_while_it_is_watched(self, csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("csv2kafka.preflight.look_at_store", lambda *_: pytest.fail("too soon"))
        async with aclosing(Preflight(config(csv)).findings()) as findings:
            assert (await anext(findings)).name == "source"

    async def test_a_silent_one_would_be_taken_over(
        self, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "LOOK_SECONDS", 0.01)
        async with held(csv, tmp_path) as lease:
            look = await look_at_store(config(csv), "orders", lease_seconds=0.05)
            assert look.findings[1].status == "warn"
            assert "silent" in look.findings[1].message
            await lease.renew()

    async def test_given_back_it_is_free(self, csv: Path, tmp_path: Path) -> None:
        async with held(csv, tmp_path):
            pass
        look = await look_at_store(config(csv), "orders")
        assert look.findings[1].message == "free"

    async def test_a_store_that_says_what_it_has_not_made(
        self, csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class New:
            asked: Sequence[str] = ()

            async def made(self) -> bool:
                return False

            async def close(self) -> None:
                pass

        monkeypatch.setattr(registry, "build_store", lambda _: New())
        monkeypatch.setattr(registry, "store_file", lambda _: None)
        look = await look_at_store(config(csv), "orders")
        assert not look.failed
        assert "is new" in look.findings[0].message


class TestCommand:
    def test_a_checklist(self, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        url = f"sqlite:///{tmp_path}/jobs.db"
        code = execute(["check", str(csv), "-o", str(tmp_path / "out"), "--checkpoints", url])
        lines = capsys.readouterr().out.splitlines()
        assert code == 0
        assert lines[0].startswith("✓ source: 1 object")
        assert lines[-1].startswith("a run can begin (")

    def test_a_delimiter_that_may_be_another(
        self, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        csv.write_bytes(ROWS.replace(b",", b";"))
        url = f"sqlite:///{tmp_path}/jobs.db"
        assert execute(["check", str(csv), "-o", str(tmp_path / "out"), "--checkpoints", url]) == 0
        assert "is --delimiter ';' meant?" in capsys.readouterr().out

    def test_a_dead_broker_ends_it_as_the_run(
        self, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with socket.socket() as bound:  # and not listening
            bound.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{bound.getsockname()[1]}"
            given = [str(csv), "-b", address, "-t", "orders", "--checkpoints", f"sqlite:///{tmp_path}/jobs.db"]
            assert execute(["check", *given]) == 69
            told = capsys.readouterr().out
            assert execute(["run", *given, "--connect-timeout", "0.2", "--progress", "none"]) == 69
        assert f"✗ broker {address}: " in told
        assert "no bootstrap server let us in" in told
        assert "exit code 69" in told

    def test_json_as_documented(self, csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        url = f"sqlite:///{tmp_path}/none/jobs.db"
        code = execute(["check", str(csv), "-o", str(tmp_path / "out"), "--checkpoints", url, "--json", "--job", "j"])
        facts = json.loads(capsys.readouterr().out)
        assert (code, facts["exit_code"], facts["job"], facts["check_version"]) == (2, 2, "j", 1)
        assert facts["estimate"]["rows"] == 3
        (wrong,) = [finding for finding in facts["findings"] if finding["status"] == "fail"]
        assert wrong["name"] == "checkpoint store"
        assert wrong["exit_code"] == 2
        assert wrong["hint"]
        page = (Path(__file__).parents[2] / "docs" / "check.md").read_text()
        for name in [*facts, *facts["estimate"], *wrong]:
            assert f"`{name}`" in page
        for status in ("pass", "warn", "fail", "not checked"):
            assert f"`{status}`" in page

    def test_words_where_marks_cannot_be_shown(self) -> None:
        found = [
            Finding.passed("a", "well"),
            Finding.failed("b", ConfigError("wrong", "too", hint="mend it")),
            Finding.not_checked("c", "unknown"),
        ]
        assert [line(finding, marks=False).plain for finding in found] == [
            "ok      a: well",
            "FAILS   b: wrong\n    too\n    -> mend it",
            "-       c: not checked: unknown",
        ]
        assert "exit code 2 (1 fail, 1 well, 0 to look at, 1 not checked)" in summary(found, exit_code(found)).plain


def test_a_forecast_of_nothing() -> None:
    assert Forecast().value_bytes is None
