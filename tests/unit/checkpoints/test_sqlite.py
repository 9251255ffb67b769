"""The SQLite store: whose database it is, who is gone, and what SQLite's refusals become."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.checkpoints import sqlite
from csv2kafka.checkpoints.sqlite import SQLiteStore
from csv2kafka.checkpoints.watch import Holder
from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, LeaseHeld, StateContradiction
from csv2kafka.model import Checkpoint
from csv2kafka.protocols import HEARTBEAT_SECONDS, LEASE_SECONDS
from csv2kafka.testing import MemoryStore, run_virtual

CHECKPOINT = Checkpoint(job="orders", run_id="run-1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints.sqlite"


async def save(store: SQLiteStore) -> None:
    async with store.lease("orders", "run-1") as lease:
        assert lease is not None
        await store.save(lease, CHECKPOINT)


async def refused(path: Path, kind: type[Csv2KafkaError]) -> str:
    """Every call is refused in the same way, and the file stays as it is, with nothing new beside it."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    store = SQLiteStore(path)
    for call in (save(store), store.load("orders"), store.load_manifest("orders"), store.delete("orders")):
        with pytest.raises(kind) as caught:
            await call
        assert type(caught.value) is kind
        assert str(path) in caught.value.message
    with pytest.raises(kind):
        assert [status async for status in store.jobs()]
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before
    return str(caught.value)


class TestWhoseDatabase:
    async def test_not_a_database(self, path: Path) -> None:
        path.write_text("id,name\n1,one\n" * 100)
        assert "is not a SQLite database" in await refused(path, ConfigError)

    async def test_too_short_for_one(self, path: Path) -> None:
        path.write_bytes(sqlite.MAGIC)
        assert "is not a SQLite database" in await refused(path, ConfigError)

    @pytest.mark.parametrize("mode", ["DELETE", "WAL"])
    async def test_another_programs(self, path: Path, mode: str) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA journal_mode = {mode}")
            db.execute("CREATE TABLE mine (x)")
            db.commit()
        assert "another program's database" in await refused(path, ConfigError)

    async def test_another_programs_with_a_journal_is_not_recovered_by_us(self, path: Path) -> None:
        """Opening it with SQLite would roll its journal back: the other program's affair."""
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE mine (x)")
            db.commit()
            db.execute("PRAGMA cache_size = 1")
            db.execute("PRAGMA cache_spill = 1")
            db.execute(
                "INSERT INTO mine WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 9999) "
                "SELECT randomblob(100) FROM n"
            )
            crashed = path.parent / "crashed"
            crashed.mkdir()
            for name in (path.name, f"{path.name}-journal"):
                shutil.copy(path.parent / name, crashed / name)
        assert "another program's database" in await refused(crashed / path.name, ConfigError)

    async def test_of_a_later_version(self, path: Path) -> None:
        await save(SQLiteStore(path))
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 2")
        assert "schema version 2, this csv2kafka knows 1" in await refused(path, ConfigError)

    @pytest.mark.parametrize("page", [2, 3, 4, 5, 6])
    async def test_damaged_anywhere(self, path: Path, page: int) -> None:
        await save(SQLiteStore(path))
        data = bytearray(path.read_bytes())
        assert len(data) == 6 * 4096
        data[(page - 1) * 4096 : page * 4096] = b"\x55" * 4096
        path.write_bytes(data)
        assert "is damaged" in await refused(path, StateContradiction)

    async def test_cut_short(self, path: Path) -> None:
        await save(SQLiteStore(path))
        os.truncate(path, 3 * 4096)
        assert "is damaged" in await refused(path, StateContradiction)

    async def test_an_empty_file_becomes_one(self, path: Path) -> None:
        path.touch()
        await save(SQLiteStore(path))
        assert await SQLiteStore(path).load("orders") == CHECKPOINT

    async def test_its_own_checkpoint_unreadable(self, path: Path) -> None:
        await save(SQLiteStore(path))
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE jobs SET checkpoint = '{}'")
            db.commit()
        with pytest.raises(StateContradiction, match="checkpoint format None"):
            await SQLiteStore(path).load("orders")

    async def test_another_jobs_checkpoint(self, path: Path) -> None:
        await save(SQLiteStore(path))
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE jobs SET job = 'renamed'")
            db.commit()
        store = SQLiteStore(path)
        for call in (store.load("renamed"), anext(store.jobs())):
            with pytest.raises(StateContradiction, match="job 'renamed': expected the checkpoint of job 'renamed'"):
                await call

    @pytest.mark.parametrize("what", ["directory", "no directory", "under a file"])
    async def test_no_place_for_one(self, path: Path, what: str) -> None:
        (path.parent / "file").touch()
        paths = {
            "directory": path.parent,
            "no directory": path.parent / "none" / "x",
            "under a file": path.parent / "file" / "x",
        }
        with pytest.raises(ConfigError, match="--checkpoints"):
            await save(SQLiteStore(paths[what]))

    async def test_deleted_during_the_run(self, path: Path) -> None:
        store = SQLiteStore(path)
        async with store.lease("orders", "run-1") as lease:
            assert lease is not None
            path.unlink()
            with pytest.raises(StateContradiction, match="deleted during the run"):
                await store.save(lease, CHECKPOINT)
        assert not path.exists(), "a new one in its place would know nothing of the job"

    async def test_replaced_during_the_run(self, path: Path) -> None:
        store = SQLiteStore(path)
        async with store.lease("orders", "run-1") as lease:
            assert lease is not None
            path.unlink()
            await save(SQLiteStore(path))
            with pytest.raises(StateContradiction, match="another database"):
                await lease.renew()

    async def test_the_lease_of_another_store(self, path: Path) -> None:
        store, other = SQLiteStore(path), MemoryStore()
        await store.load("orders")
        async with other.lease("orders", "run-1") as lease:
            assert lease is not None
            with pytest.raises(StateContradiction, match="the lease is of store"):
                await store.save(lease, CHECKPOINT)

    async def test_status_makes_none(self, path: Path) -> None:
        assert [status async for status in SQLiteStore(path).jobs()] == []
        assert not path.exists()


class TestUrls:
    def test_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for url, expected in {
            "sqlite:////var/lib/x y%20.db": Path("/var/lib/x y%20.db"),
            "sqlite:///some/where.db": tmp_path / "some" / "where.db",
            "sqlite:///x.db": tmp_path / "x.db",
        }.items():
            assert SQLiteStore.from_url(url)._path == expected

    async def test_memory_is_in_the_users_state_directory_for_his_eyes_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        store = SQLiteStore.from_url("memory://")
        await save(store)
        directory = tmp_path / "state" / "csv2kafka"
        assert [each.name for each in directory.iterdir()] == ["checkpoints.sqlite"]
        assert directory.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize(
        "url", ["sqlite://", "sqlite:///", "sqlite://x.db", "memory://name", "postgres://x", "sqlite"]
    )
    def test_others_are_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="expected sqlite:///PATH or memory://"):
            SQLiteStore.from_url(url)

    def test_two_slashes_are_told_what_was_meant(self) -> None:
        with pytest.raises(ConfigError) as caught:
            SQLiteStore.from_url("sqlite://jobs.db")
        hint = "sqlite:///jobs.db is in the current directory, sqlite:////jobs.db is absolute"
        assert caught.value.hint == hint

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_state_directory_that_cannot_be_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tmp_path.chmod(0o500)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        with pytest.raises(ConfigError, match="cannot make"):
            SQLiteStore.from_url("memory://")


HOLDER = """
import asyncio, sys
from csv2kafka.checkpoints.sqlite import SQLiteStore
from csv2kafka.checkpoints.watch import Holder

async def main():
    async with SQLiteStore(sys.argv[1]).lease("orders", "the holder"):
        print("held", flush=True)
        await asyncio.sleep(1000)

asyncio.run(main())
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the lease of job orders, and never renews it."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def taking_takes(path: Path) -> float:
    """Seconds of the loop's own time until another run has the lease."""

    async def main() -> float:
        async with SQLiteStore(path).lease("orders", "run-2") as lease:
            assert lease is not None
            return asyncio.get_running_loop().time()

    return run_virtual(main())


class TestProcesses:
    @pytest.mark.parametrize("reaped", [False, True])
    def test_a_killed_holder_is_succeeded_at_once(self, path: Path, reaped: bool) -> None:
        with holder(path) as process:
            process.send_signal(signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
            if reaped:
                process.wait()
            assert taking_takes(path) == 0

    def test_a_stopped_holder_is_not_gone_but_it_is_silent(self, path: Path) -> None:
        with holder(path) as process:
            process.send_signal(signal.SIGSTOP)
            assert taking_takes(path) == pytest.approx(LEASE_SECONDS)

    @pytest.mark.parametrize(
        ("gone", "column", "value"),
        [
            (True, "pid", 2**22 + 1),  # no process has such a number
            (True, "started", "1"),  # our own number, given to us after the holder had ended
            (False, "space", "another machine"),
            (False, "space", ""),
        ],
    )
    async def test_only_a_process_of_the_same_space_can_be_gone(
        self, path: Path, gone: bool, column: str, value: str | int
    ) -> None:
        async with SQLiteStore(path).lease("orders", "run-1"):
            with closing(sqlite3.connect(path)) as db:
                if column == "space":
                    db.execute("UPDATE leases SET pid = ?", (2**22 + 1,))
                db.execute(f"UPDATE leases SET {column} = ?", (value,))
                db.commit()
            seconds = await asyncio.to_thread(taking_takes, path)
            assert seconds == (0 if gone else pytest.approx(LEASE_SECONDS))


class TestRefusals:
    async def test_a_database_that_stays_locked_is_a_doubt(self, path: Path) -> None:
        store = SQLiteStore(path, busy_seconds=0.05)
        async with store.lease("orders", "run-1") as lease:
            assert lease is not None
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("BEGIN EXCLUSIVE")
                for call in (store.save(lease, CHECKPOINT), lease.renew(), store.load("orders")):
                    with pytest.raises(Doubt, match="locked"):
                        await call
                assert lease.epoch == 1
            await store.save(lease, CHECKPOINT)

    async def test_reading_does_not_wait_for_a_writer(self, path: Path) -> None:
        """Nor does it need the right to write: `status` may be another user's."""
        await save(SQLiteStore(path))
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            store = SQLiteStore(path, busy_seconds=0.05)
            assert await store.load("orders") == CHECKPOINT
            assert [status.checkpoint async for status in store.jobs()] == [CHECKPOINT]

    async def test_a_lease_that_was_not_taken_in_the_end_is_not_given_back(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A reader holds up the commit of its taking, or the disk is full. Another run takes it, as the same epoch."""
        first, second = SQLiteStore(path, busy_seconds=0.2), SQLiteStore(path)
        other = second.lease("orders", "run-2")
        await second.load("orders")
        release, write = sqlite._release, SQLiteStore._write
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM leases").fetchall()

            async def written(self: SQLiteStore, work: Any, *arguments: Any) -> Any:
                if work is release and self is first:
                    reader.execute("COMMIT")
                    await other.__aenter__()
                return await write(self, work, *arguments)

            monkeypatch.setattr(SQLiteStore, "_write", written)
            with pytest.raises(Doubt):
                await first.lease("orders", "run-1").__aenter__()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT epoch, owner FROM leases").fetchall() == [(1, "run-2")]
        await other.__aexit__(None, None, None)

    async def test_a_lease_that_cannot_be_given_back_hides_no_error(self, path: Path) -> None:
        async def fail_while_locked() -> None:
            async with SQLiteStore(path, busy_seconds=0.05).lease("orders", "run-1"):
                db.execute("BEGIN EXCLUSIVE")
                raise ZeroDivisionError

        with closing(sqlite3.connect(path, isolation_level=None)) as db, pytest.raises(ZeroDivisionError):
            await fail_while_locked()

    async def test_cancelled_while_a_thread_takes_the_lease_it_is_given_back(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        going, go_on, real = threading.Event(), threading.Event(), sqlite._take

        def slow(*args: Any) -> int | Holder:
            going.set()
            assert go_on.wait(30)
            return real(*args)

        monkeypatch.setattr(sqlite, "_take", slow)
        taking = asyncio.ensure_future(SQLiteStore(path).lease("orders", "run-1").__aenter__())
        assert await asyncio.to_thread(going.wait, 30)
        taking.cancel()
        await asyncio.sleep(0.05)
        go_on.set()
        await asyncio.wait({taking}, timeout=30)
        assert taking.cancelled()
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT epoch, owner FROM leases").fetchall() == [(1, None)]

    async def test_cancelled_what_the_thread_ran_into_is_not_shown_as_a_traceback(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = SQLiteStore(path, busy_seconds=0.2)
        await save(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            loading = asyncio.create_task(store.load("orders"))
            await asyncio.sleep(0.05)
            loading.cancel()
            await asyncio.wait({loading}, timeout=30)
            assert loading.cancelled()
        del loading
        gc.collect()
        assert [record.message for record in caplog.records] == []

    async def test_a_save_that_fails_changes_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = SQLiteStore(path)
        await save(store)
        real = sqlite._save

        def half(*args: object) -> None:
            real(*args)  # type: ignore[arg-type]
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(sqlite, "_save", half)
        async with store.lease("orders", "run-2") as lease:
            assert lease is not None
            with pytest.raises(Csv2KafkaError):
                await store.save(lease, Checkpoint(job="orders", run_id="run-2"))
        assert await store.load("orders") == CHECKPOINT

    async def test_every_commit_is_synced(self, path: Path) -> None:
        store = SQLiteStore(path)
        await store.load("orders")
        settings = await store._read(
            lambda db: [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
        )
        assert settings == [3, "delete"], "EXTRA: the directory, too, so that the journal does not come back"

    def test_the_holder_is_named_with_the_time(self, path: Path) -> None:
        async def main() -> None:
            one = SQLiteStore(path, now=lambda: datetime(2024, 2, 29, 12, tzinfo=UTC))
            async with one.lease("orders", "host 1, run 7") as lease:
                assert lease is not None
                taking = asyncio.ensure_future(SQLiteStore(path).lease("orders", "run-2").__aenter__())
                while not taking.done():
                    await lease.renew()
                    await asyncio.wait({taking}, timeout=HEARTBEAT_SECONDS)
                with pytest.raises(LeaseHeld) as caught:
                    taking.result()
                assert "host 1, run 7" in caught.value.message
                assert "since 2024-02-29T12:00:00+00:00" in caught.value.message

        run_virtual(main())
