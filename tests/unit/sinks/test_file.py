"""The file sink: what it cuts, what it refuses to touch, what is on the disk when."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import evolve

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, StaleLease, StateContradiction, TakenOver, Unreachable
from csv2kafka.model import Checkpoint, DeadLetter, Payload, SinkState, Target
from csv2kafka.protocols import SinkSession
from csv2kafka.sinks import output
from csv2kafka.sinks.file import LOCK_SECONDS, FileSink, LinesPacker
from csv2kafka.testing import MemoryStore, example_job, records, run_virtual

BAD = DeadLetter(value=b"1,2,3", source="x.csv", row=7, line=9, byte=120, reason="3 fields, expected 2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


@asynccontextmanager
async def session(path: Path, stored: Checkpoint | None = None, *, restart: bool = False) -> AsyncIterator[SinkSession]:
    async with FileSink(path).open(example_job(restart=restart), stored, None) as opened:
        yield opened


def lines(*values: bytes) -> Payload:
    (payload,) = LinesPacker().pack(records((None, value) for value in values)).payloads
    return payload


async def committed(path: Path, *values: bytes, bad: tuple[DeadLetter, ...] = ()) -> Checkpoint:
    """A first run that commits the values."""
    async with session(path) as first:
        if values:
            await first.write(lines(*values))
        for payload in LinesPacker().pack_dead_letters(bad):
            await first.write(payload)
        return await first.commit(evolve(first.resume_from, transactions=1))


async def refused(path: Path, stored: Checkpoint | None, kind: type[Csv2KafkaError]) -> str:
    """The message with which opening is refused; what stands there stays as it is."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    with pytest.raises(kind) as caught:
        async with session(path, stored):
            pass
    assert {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()} == before
    assert type(caught.value) is kind
    return str(caught.value)


class TestLines:
    async def test_a_line_for_each_value_and_no_keys(self, path: Path) -> None:
        async with session(path) as opened:
            packed = opened.packer.pack(records([(b"k", b'{"a":"1"}'), (b"", b""), (b"k", b'{"a":"2"}')]))
            for payload in packed.payloads:
                await opened.write(payload)
            await opened.commit(opened.resume_from)
        assert path.read_bytes() == b'{"a":"1"}\n\n{"a":"2"}\n'

    async def test_dead_letters_have_place_reason_and_value_as_text_or_base64(self, path: Path) -> None:
        await committed(path, bad=(BAD, evolve(BAD, value=b"\xff,\xfc")))
        first, second = map(json.loads, Path(f"{path}.bad").read_text().splitlines())
        place = {"source": "x.csv", "row": 7, "line": 9, "byte": 120, "reason": "3 fields, expected 2"}
        assert first == {**place, "value": "1,2,3"}
        assert second == {**place, "value_base64": "/yz8"}

    async def test_no_bad_file_without_bad_rows(self, path: Path) -> None:
        await committed(path, b"one")
        assert not Path(f"{path}.bad").exists()

    async def test_the_checkpoint_says_how_far_and_which_file(self, path: Path) -> None:
        done = await committed(path, b"one", b"two", bad=(BAD,))
        status = path.stat()
        assert done.sink == SinkState(
            offsets={"data": 8, "dead-letter": Path(f"{path}.bad").stat().st_size},
            first_offset=0,
            destination_id=f"device={status.st_dev},inode={status.st_ino}",
            fingerprint=done.sink.fingerprint,
        )
        assert status.st_mode & 0o111 == 0


class TestOpening:
    async def test_what_is_not_committed_is_cut_off_both_files(self, path: Path) -> None:
        done = await committed(path, b"one", bad=(BAD,))
        bad = Path(f"{path}.bad")
        kept = bad.read_bytes()
        for file in (path, bad):
            with file.open("ab") as appended:
                appended.write(b"half a li")
        async with session(path, done) as opened:
            assert path.read_bytes() == b"one\n"
            assert bad.read_bytes() == kept
            assert opened.resume_from == done

    async def test_a_bad_file_begun_after_the_checkpoint_is_emptied(self, path: Path) -> None:
        done = await committed(path, b"one")
        Path(f"{path}.bad").write_bytes(b"{}\n")
        async with session(path, done):
            assert Path(f"{path}.bad").read_bytes() == b""

    async def test_foreign_content_is_not_touched(self, path: Path) -> None:
        path.write_bytes(b"precious\n")
        message = await refused(path, None, ConfigError)
        assert "has 9 bytes already" in message
        assert "--restart" in message

    async def test_a_foreign_bad_file_is_not_touched(self, path: Path) -> None:
        Path(f"{path}.bad").write_bytes(b"precious\n")
        assert ".bad has 9 bytes already" in await refused(path, None, ConfigError)

    async def test_an_empty_file_will_do(self, path: Path) -> None:
        path.touch()
        await committed(path, b"one")
        assert path.read_bytes() == b"one\n"

    async def test_restart_begins_both_files_anew(self, path: Path) -> None:
        done = await committed(path, b"one", bad=(BAD,))
        async with session(path, done, restart=True) as opened:
            assert opened.resume_from.generation == done.generation + 1
            assert opened.resume_from.sink.offsets == {"data": 0, "dead-letter": 0}
            await opened.commit(opened.resume_from)
            assert path.read_bytes() == b""
            assert Path(f"{path}.bad").read_bytes() == b""

    async def test_restart_cuts_off_nothing_before_its_checkpoint_can_be_saved(self, path: Path) -> None:
        """Killed there, the old checkpoint still has its content; killed behind, what goes on cuts."""
        done = await committed(path, b"one")
        async with session(path, done, restart=True) as opened:
            begun = opened.resume_from
        assert path.read_bytes() == b"one\n"
        async with session(path, done) as opened:
            assert opened.resume_from == done
        async with session(path, begun) as opened:
            assert opened.resume_from == begun
            assert path.read_bytes() == b""

    async def test_restart_has_cut_off_what_was_there_before_the_first_row_stands(self, path: Path) -> None:
        done = await committed(path, b"one", b"two")
        async with session(path, done, restart=True) as opened:
            await opened.write(lines(b"1"))
            assert path.read_bytes() == b"1\n"

    async def test_restart_overwrites_foreign_content(self, path: Path) -> None:
        path.write_bytes(b"old\n")
        async with session(path, restart=True) as opened:
            await opened.commit(opened.resume_from)
            assert path.read_bytes() == b""

    async def test_shorter_than_committed(self, path: Path) -> None:
        done = await committed(path, b"one", b"two")
        path.write_bytes(b"one\n")
        message = await refused(path, done, StateContradiction)
        assert "has 4 bytes, and the checkpoint says 8" in message
        assert "--restart" in message

    async def test_a_bad_file_shorter_than_committed(self, path: Path) -> None:
        done = await committed(path, b"one", bad=(BAD,))
        Path(f"{path}.bad").write_bytes(b"")
        assert ".bad: it has 0 bytes" in await refused(path, done, StateContradiction)

    async def test_gone(self, path: Path) -> None:
        done = await committed(path, b"one")
        path.unlink()
        assert "it is gone" in await refused(path, done, StateContradiction)

    async def test_gone_before_anything_was_committed_is_nothing_lost(self, path: Path) -> None:
        done = await committed(path)
        path.unlink()
        async with session(path, done) as opened:
            await opened.write(lines(b"one"))
            await opened.commit(opened.resume_from)
        assert path.read_bytes() == b"one\n"

    async def test_a_copy_is_another_file(self, path: Path) -> None:
        done = await committed(path, b"one")
        shutil.copy2(path, path.with_suffix(".copy"))
        path.with_suffix(".copy").rename(path)
        assert "another file" in await refused(path, done, StateContradiction)

    async def test_other_content_under_the_same_inode(self, path: Path) -> None:
        """A deleted file's inode goes to the next one made, very often."""
        done = await committed(path, b"one")
        for other in (b"precious\n", b"bne\n"):
            path.write_bytes(other)
            assert "do not end as this job wrote them" in await refused(path, done, StateContradiction)

    async def test_of_a_long_file_only_its_committed_end_is_looked_at(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(output, "TAIL_BYTES", 4)
        done = await committed(path, b"one", b"two")
        path.write_bytes(b"???\ntwo\nnot committed\n")
        async with session(path, done) as opened:
            assert opened.resume_from == done
        path.write_bytes(b"one\n???\n")
        assert "do not end as this job wrote them" in await refused(path, done, StateContradiction)

    async def test_other_content_where_nothing_was_committed(self, path: Path) -> None:
        done = await committed(path)
        other = path.with_suffix(".other")
        other.write_bytes(b"precious\n")
        other.rename(path)
        assert "another file" in await refused(path, done, StateContradiction)

    async def test_another_device_number_alone_is_no_other_file(self, path: Path) -> None:
        done = await committed(path, b"one")
        inode = done.sink.destination_id.partition(",")[2]
        moved = evolve(done, sink=evolve(done.sink, destination_id=f"device=99,{inode}"))
        async with session(path, moved) as opened:
            assert opened.resume_from == done

    @pytest.mark.parametrize("what", ["directory", "pipe", "/dev/null", "no directory", "under a file", "/"])
    async def test_what_cannot_be_cut_is_refused(self, path: Path, what: str) -> None:
        paths = {
            "directory": path.parent,
            "no directory": path.parent / "none" / "x",
            "under a file": path / "x",
            "pipe": path.parent / "pipe",
        }
        path.touch()
        os.mkfifo(path.parent / "pipe")
        with pytest.raises(ConfigError, match="--output"):
            async with session(paths.get(what, Path(what))):
                pass

    async def test_a_sleeper_cuts_nothing_of_what_another_run_wrote_meanwhile(self, path: Path) -> None:
        """Stopped between asking for its lease and taking the lock, it wakes when the other has done the work."""
        stored = await committed(path, b"1")

        class Sleeper:
            epoch, store_id, asked = 1, "store", 0

            async def renew(self) -> None:
                self.asked += 1
                if self.asked == 1:  # it is stopped behind the answer
                    async with session(path, stored) as other:
                        await other.write(lines(b"2", b"3"))
                        await other.commit(evolve(other.resume_from, complete=True))
                else:
                    raise StaleLease("another epoch has begun")

        with pytest.raises(StaleLease):
            async with FileSink(path).open(example_job(), stored, Sleeper()):
                pass
        assert path.read_bytes() == b"1\n2\n3\n"

    async def test_a_lease_lost_under_the_lock_leaves_no_file(self, path: Path) -> None:
        class Lost:
            epoch, store_id, asked = 1, "store", 0

            async def renew(self) -> None:
                self.asked += 1
                if self.asked == 2:
                    raise StaleLease("another epoch has begun")

        with pytest.raises(StaleLease):
            async with FileSink(path).open(example_job(), None, Lost()):
                pass
        assert not path.exists()

    async def test_the_lease_is_renewed_first(self, path: Path) -> None:
        store = MemoryStore(lease_seconds=0)
        async with store.lease("job", "old") as lease:
            assert lease is not None
            async with store.lease("job", "new"):
                with pytest.raises(TakenOver):
                    async with FileSink(path).open(example_job(), None, lease):
                        pass
        assert not path.exists()


class TestTwoRuns:
    async def test_the_second_is_refused_and_told_who_has_it(self, path: Path) -> None:
        async with session(path) as first:
            await first.write(lines(b"one"))
            message = await refused(path, first.resume_from, TakenOver)
            assert str(path) in message
            assert f"process {os.getpid()}" in message or "process unknown" in message

    def test_who_has_it_is_read_from_the_systems_locks(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.touch()
        status = path.stat()
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        locks = f"""\
1: FLOCK  ADVISORY  WRITE 11 {place}:{status.st_ino + 1} 0 EOF
2: POSIX  ADVISORY  WRITE 22 {place}:{status.st_ino} 0 EOF
3: FLOCK  ADVISORY  WRITE 33 {place}:{status.st_ino} 0 EOF
"""
        monkeypatch.setattr(Path, "read_text", lambda _: locks)
        assert output._holder(status) == "process 33"

    def test_one_that_has_the_lease_waits_for_one_that_slept_past_it(self, path: Path) -> None:
        """That one ends when it wakes and finds the lease lost. If both left, nobody would go on."""

        async def main() -> None:
            store, sink = MemoryStore(), FileSink(path)
            async with session(path), store.lease("job", "new") as lease:

                async def attempt() -> None:
                    async with sink.open(example_job(), None, lease):
                        pass

                with pytest.raises(Doubt, match="another run writes to it"):
                    await attempt()
                await asyncio.sleep(LOCK_SECONDS + 1)
                with pytest.raises(TakenOver, match="another run writes to it"):
                    await attempt()

        run_virtual(main())

    async def test_the_lock_ends_with_the_process_however_it_ends(self, path: Path) -> None:
        program = f"""
import asyncio
from csv2kafka.sinks.file import FileSink
from csv2kafka.testing import example_job

async def main():
    async with FileSink({str(path)!r}).open(example_job(), None, None):
        print("open", flush=True)
        await asyncio.sleep(100)

asyncio.run(main())
"""
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                assert await asyncio.to_thread(process.stdout.readline) == b"open\n"
                await refused(path, None, TakenOver)
            finally:
                process.kill()
            await asyncio.to_thread(process.wait, 30)
        await committed(path, b"one")

    async def test_the_lock_is_given_back(self, path: Path) -> None:
        done = await committed(path, b"one")
        with pytest.raises(StateContradiction):
            async with session(path, evolve(done, sink=evolve(done.sink, offsets={"data": 99}))):
                pass
        async with session(path, done):
            pass

    async def test_where_other_files_take_its_place_again_and_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.touch()
        monkeypatch.setattr(output, "_stands_at", lambda *_: False)
        assert "keeps putting other files in its place" in await refused(path, None, StateContradiction)

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of descriptors here")
    async def test_no_descriptor_is_left_open(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def opened() -> list[str]:
            links = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
            return [str(link) for link in links if str(link).startswith(str(path.parent))]

        done = await committed(path, b"one", bad=(BAD,))
        async with session(path, done) as first:
            before = sorted(opened())
            assert before == [str(path), f"{path}.bad"]
            await refused(path, first.resume_from, TakenOver)
            assert sorted(opened()) == before
        monkeypatch.setattr(output, "_stands_at", lambda *_: False)
        await refused(path, done, StateContradiction)
        assert opened() == []

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
    def test_what_may_not_be_written_is_a_wrong_option(self, path: Path, number: int) -> None:
        with pytest.raises(ConfigError, match=f"--output: {path}: "), output._explained(path):
            raise OSError(number, os.strerror(number))


class TestCommitting:
    async def test_a_commit_syncs_the_files_and_opening_the_directory(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        real = os.fsync

        def noted(fd: int) -> None:
            synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
            real(fd)

        monkeypatch.setattr(os, "fsync", noted)
        async with session(path) as opened:
            assert synced == [path.name, path.parent.name]
            await opened.write(lines(b"one"))
            (bad,) = opened.packer.pack_dead_letters([BAD])
            await opened.write(bad)
            assert synced == [path.name, path.parent.name, path.parent.name], "the new name, before it is relied on"
            await opened.commit(opened.resume_from)
            assert synced[3:] == [path.name, f"{path.name}.bad"]
            await opened.commit(opened.resume_from)
            assert len(synced) == 5, "nothing new, nothing to do"

    @pytest.mark.parametrize("how", ["append", "cut", "delete", "replace"])
    async def test_somebody_elses_hand_is_seen(self, path: Path, how: str) -> None:
        async with session(path) as opened:
            await opened.write(lines(b"one"))
            if how == "append":
                with path.open("ab") as file:
                    file.write(b"!")
            elif how == "cut":
                os.truncate(path, 1)
            else:
                path.unlink()
            if how == "replace":
                path.write_bytes(b"one\n")
            with pytest.raises(StateContradiction, match=str(path)) as caught:
                await opened.commit(opened.resume_from)
            told = "4 bytes are written, but it has" if how in ("append", "cut") else "another file has been put"
            assert told in caught.value.message

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
    async def test_a_full_disk_stops_the_run_and_the_next_goes_on(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        done = await committed(path, b"one")

        def full(fd: int, data: bytes, offset: int) -> int:
            os.truncate(path, offset + 1)  # a part of it went in
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            async with session(path, done) as opened:
                with pytest.raises(Unreachable, match=str(path)) as caught:
                    await opened.write(lines(b"two"))
                assert not caught.value.retryable
                assert caught.value.message == f"{path}: {os.strerror(number).lower()}"
                assert "run the same command again" in caught.value.hint
                assert ("make room" in caught.value.hint) == (number != errno.EIO)
        async with session(path, done) as opened:
            await opened.write(lines(b"two"))
            await opened.commit(opened.resume_from)
        assert path.read_bytes() == b"one\ntwo\n"

    async def test_a_short_write_goes_on(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:2], offset))
        await committed(path, b"one", b"two", b"three")
        assert path.read_bytes() == b"one\ntwo\nthree\n"

    async def test_a_cancelled_write_is_over_before_the_file_is_given_back(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else it could write into whatever gets its descriptor next."""
        going, go_on, real = threading.Event(), threading.Event(), os.pwrite

        def slow(fd: int, data: bytes, offset: int) -> int:
            going.set()
            assert go_on.wait(30)
            assert Path(f"/proc/self/fd/{fd}").readlink() == path
            return real(fd, data, offset)

        async def write() -> None:
            async with session(path) as opened:
                await opened.write(lines(b"one"))

        monkeypatch.setattr(os, "pwrite", slow)
        task = asyncio.ensure_future(write())
        assert await asyncio.to_thread(going.wait, 30)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        go_on.set()
        await asyncio.wait({task}, timeout=30)
        assert task.cancelled()
        monkeypatch.setattr(os, "pwrite", real)
        assert path.read_bytes() == b"one\n"

    async def test_a_write_that_hangs_does_not_hold_up_leaving(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        going, go_on = threading.Event(), threading.Event()

        def hangs(fd: int, data: bytes, offset: int) -> int:
            going.set()
            assert go_on.wait(30)
            return len(data)

        async def write() -> None:
            async with session(path) as opened:
                await opened.write(lines(b"one"))

        monkeypatch.setattr(os, "pwrite", hangs)
        monkeypatch.setattr("csv2kafka.sinks.file.CLOSE_SECONDS", 0.1)
        task = asyncio.ensure_future(write())
        assert await asyncio.to_thread(going.wait, 30)
        task.cancel()
        await asyncio.wait({task}, timeout=30)
        assert task.cancelled()
        await refused(path, None, TakenOver)  # still locked: its write may yet come
        go_on.set()
        for _ in range(300):
            await asyncio.sleep(0.01)
            try:
                async with session(path):
                    return
            except TakenOver:
                continue
        pytest.fail("the lock was not given back after the write had ended")


def test_packing_any_range() -> None:
    batch = records((None, b"%d" % n) for n in range(10))
    packed = LinesPacker().pack(batch, 3, 6)
    ((payload,), large) = packed.payloads, packed.too_large
    assert (payload.target, payload.first, payload.last, payload.body) == (Target.DATA, 3, 6, b"3\n4\n5\n")
    assert large == ()
    assert LinesPacker().pack(batch, 4, 4).payloads == ()
    assert LinesPacker().pack_dead_letters([]) == ()
