"""``csv2kafka status`` over a real SQLite store."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from csv2kafka.checkpoints.sqlite import SQLiteStore
from csv2kafka.cli import redact
from csv2kafka.cli import status as status_command
from csv2kafka.cli.status import state
from csv2kafka.model import Checkpoint, Counts, JobStatus, Position, SinkState
from csv2kafka.model.report import local_time
from tests.unit.cli.conftest import Command


def checkpoint(job: str, *, complete: bool) -> Checkpoint:
    return Checkpoint(
        job=job,
        run_id="r1",
        position=Position(uri="/data/orders.csv", rows=1201, line=1300),
        counts=Counts(rows=1200, bad_rows=1, bytes=5000),
        sink=SinkState(offsets={"data": 1210}, first_offset=3),
        settings={"format": "json"},
        complete=complete,
        at=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    async def fill() -> None:
        store = SQLiteStore(tmp_path / "jobs.db")
        for job, complete in (("done", True), ("half", False)):
            async with store.lease(job, "me") as lease:
                assert lease is not None
                await store.save(lease, checkpoint(job, complete=complete))
        await store.close()

    asyncio.run(fill())
    return f"sqlite:///{tmp_path}/jobs.db"


def test_all_jobs(command: Command, url: str) -> None:
    at = local_time(checkpoint("half", complete=False).at)
    outcome = command("status", "--checkpoints", url)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        f"jobs in {url.removeprefix('sqlite:///')}",
        "done",
        f"  complete  1,200 rows, 1 bad  committed {at}",
        "  /data/orders.csv, line 1,300",
        "half",
        f"  resumable  1,200 rows, 1 bad  committed {at}",
        "  /data/orders.csv, line 1,300",
    ]


def test_secrets_are_not_shown(command: Command, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", [])
    redact.hide(tmp_path.name)
    redact.hide("orders.csv")
    for argv in ((), ("--json",), ("done",)):
        outcome = command("status", *argv, "--checkpoints", url)
        assert outcome.code == 0
        assert "***" in outcome.out
        assert tmp_path.name not in outcome.out + outcome.err


def test_what_the_library_warns_of_is_told_as_a_runs_is(
    command: Command, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(*_: object) -> list[JobStatus]:
        logging.getLogger("csv2kafka.checkpoints").warning("throttled by %s", "hunter2")
        return []

    monkeypatch.setattr(redact, "_known", [])
    redact.hide("hunter2")
    monkeypatch.setattr(status_command, "jobs", odd)
    assert "Z warning: throttled by ***\n" in command("status", "--checkpoints", url).err


@pytest.mark.parametrize("job", [(), ("x" * 200,)], ids=["all", "one"])
def test_names_stay_whole_on_a_narrow_terminal(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: tuple[str, ...]
) -> None:
    async def fill() -> None:
        store = SQLiteStore(tmp_path / "jobs.db")
        async with store.lease("x" * 200, "me") as lease:
            assert lease is not None
            await store.save(lease, checkpoint("x" * 200, complete=False))

    asyncio.run(fill())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "x" * 200 in command("status", *job, "--checkpoints", f"sqlite:///{tmp_path}/jobs.db").out


def test_a_broker_is_not_asked_for_the_jobs_of_a_file(command: Command, url: str) -> None:
    outcome = command("status", "-b", "host:1", "--checkpoints", url)
    assert outcome.code == 0
    assert outcome.err.startswith("-b is not used: the jobs of /")
    assert "-b" not in command("status", "--checkpoints", url).err


def test_it_says_where_the_users_own_store_is(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert command("status").err == f"no jobs in {tmp_path}/csv2kafka/checkpoints.sqlite\n"


def test_one_job(command: Command, url: str) -> None:
    outcome = command("status", "half", "--checkpoints", url)
    assert outcome.code == 0
    assert "resumable" in outcome.out
    assert "first offset" in outcome.out


def test_a_job_that_is_not_there(command: Command, url: str) -> None:
    outcome = command("status", "none", "--checkpoints", url)
    assert (outcome.code, outcome.out) == (2, "")
    assert "no job 'none'" in outcome.err


def test_as_json(command: Command, url: str) -> None:
    done, half = json.loads(command("status", "--json", "--checkpoints", url).out)
    assert (done["job"], done["state"], half["state"]) == ("done", "complete", "resumable")
    assert (half["rows"], half["last_offset"], half["owner"]) == (1200, 1209, None)
    assert half["settings"] == {"format": "json"}


def test_no_jobs_is_no_failure(command: Command, tmp_path: Path) -> None:
    outcome = command("status", "--checkpoints", f"sqlite:///{tmp_path}/new.db")
    assert (outcome.code, outcome.out) == (0, "")
    assert "no jobs" in outcome.err
    assert json.loads(command("status", "--json", "--checkpoints", f"sqlite:///{tmp_path}/new.db").out) == []


def test_the_checkpoint_topic_needs_a_broker(command: Command) -> None:
    outcome = command("status", "--checkpoints", "kafka://")
    assert outcome.code == 2
    assert "--bootstrap-servers" in outcome.err


def test_a_foreign_file_is_told_and_stays(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam")
    outcome = command("status", "--checkpoints", f"sqlite:///{path}")
    assert outcome.code != 0
    assert "letter.txt" in outcome.err
    assert "Traceback" not in outcome.err
    assert path.read_text() == "Dear Sir or Madam"


KILLED = """
import asyncio, os, sys
from csv2kafka.checkpoints.sqlite import SQLiteStore
from tests.unit.cli.test_status import checkpoint
async def hold():
    store = SQLiteStore(sys.argv[1])
    async with store.lease("half", "run 1") as lease:
        await store.save(lease, checkpoint("half", complete=False))
        os._exit(0)
asyncio.run(hold())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it is not certain")
def test_a_dead_holder_is_told(command: Command, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "jobs.db")], cwd=root, check=True, timeout=60)
    argv = ["status", "--checkpoints", f"sqlite:///{tmp_path}/jobs.db"]
    told = command(*argv).out
    assert "  resumable  " in told
    assert "  last held by run 1 (process gone), last heard " in told
    (facts,) = json.loads(command(*argv, "--json").out)
    assert (facts["state"], facts["owner"], facts["owner_gone"]) == ("resumable", "run 1", True)


def test_a_live_holder_is_told(command: Command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    told = []

    async def hold() -> None:
        store = SQLiteStore(tmp_path / "jobs.db")
        async with store.lease("half", "run 1") as lease:
            assert lease is not None
            await store.save(lease, checkpoint("half", complete=False))
            told.append(await asyncio.to_thread(command, "status", "--checkpoints", url))

    with pytest.MonkeyPatch.context() as patched:  # signals are the main thread's
        patched.setattr(status_command, "run_until_signalled", lambda work: asyncio.run(work()))
        asyncio.run(hold())
    assert "  held  " in told[0].out
    assert "  held by run 1, last heard " in told[0].out


def test_a_held_job() -> None:
    status = JobStatus(checkpoint=checkpoint("half", complete=False), owner="host:1")
    assert state(status) == "held"
