"""Files on this machine: which are found, in what order, what is read of them, and which changes are seen."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from csv2kafka.errors import ConfigError, Doubt, SourceChanged, StateContradiction
from csv2kafka.model import SourceObject
from csv2kafka.sources.local import BLOCK_BYTES, FINGERPRINT_BYTES, LocalSource

MIB = 1 << 20


def put(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name\n{name}\n")


async def names(*patterns: str | Path) -> list[str]:
    """The names of what is found, after the common directory."""
    return [Path(obj.uri).name async for obj in LocalSource(*patterns).objects()]


async def problems(*patterns: str | Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        await names(*patterns)
    return list(caught.value.problems)


async def the_object(source: LocalSource) -> SourceObject:
    (obj,) = [obj async for obj in source.objects()]
    return obj


async def content(source: LocalSource, obj: SourceObject, offset: int = 0) -> bytes:
    return b"".join([block async for block in source.read(obj, offset)])


class TestFinding:
    async def test_a_directory_gives_its_files_in_natural_order(self, tmp_path: Path) -> None:
        put(tmp_path, "part-10.csv", "part-2.csv", "part-1.csv.gz", "part-02.csv", "README", "part-1.csv")
        found = await names(tmp_path)
        assert found == ["README", "part-1.csv", "part-1.csv.gz", "part-02.csv", "part-2.csv", "part-10.csv"]

    async def test_a_directory_is_not_searched_deeper_and_hides_what_others_hide(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv", ".hidden.csv", "_SUCCESS", "_temporary/b.csv", "below/c.csv")
        assert await names(tmp_path) == ["a.csv"]

    async def test_a_glob_can_go_to_any_depth(self, tmp_path: Path) -> None:
        put(tmp_path, "2/x-9.csv", "2/x-10.csv", "10/x-1.csv", "x.csv", "2/x.txt", ".git/x.csv", "y.csv/z.txt")
        found = [obj.uri async for obj in LocalSource(f"{tmp_path}/**/*.csv").objects()]
        assert [str(Path(uri).relative_to(tmp_path)) for uri in found] == [
            "2/x-9.csv",
            "2/x-10.csv",
            "10/x-1.csv",
            "x.csv",
        ]

    async def test_several_stay_in_the_order_given(self, tmp_path: Path) -> None:
        put(tmp_path, "b.csv", "a/2.csv", "a/1.csv", "c-1.csv", "c-2.csv")
        assert await names(tmp_path / "c-*.csv", tmp_path / "b.csv", tmp_path / "a") == [
            "c-1.csv",
            "c-2.csv",
            "b.csv",
            "1.csv",
            "2.csv",
        ]

    async def test_a_name_with_magic_letters_is_the_file_if_it_is_there(self, tmp_path: Path) -> None:
        put(tmp_path, "a[1].csv", "a1.csv")
        assert await names(tmp_path / "a[1].csv") == ["a[1].csv"]

    async def test_paths_are_absolute_and_links_are_followed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(tmp_path, "real/a.csv")
        (tmp_path / "link.csv").symlink_to("real/a.csv")
        monkeypatch.chdir(tmp_path / "real")
        obj = await the_object(LocalSource("../link.csv"))
        assert obj.uri == str(tmp_path / "link.csv")
        assert LocalSource("../link.csv", "b*").uri == f"{tmp_path}/link.csv {tmp_path}/real/b*"

    async def test_all_that_is_wrong_is_told_at_once(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv", "deep/down/b.csv")
        (tmp_path / "empty").mkdir()
        os.mkfifo(tmp_path / "pipe")
        found = await problems(
            tmp_path / "a.csv",
            tmp_path / "missing.csv",
            tmp_path / "*.tsv",
            tmp_path / "empty",
            tmp_path / "deep",
            tmp_path / "pipe",
            tmp_path / "a*",
        )
        assert len(found) == 6
        for problem, words in zip(
            found,
            ["no such file", "no file matches", "without files", "1 subdirectories", "`-`", "come twice"],
            strict=True,
        ):
            assert words in problem
        assert all(problem.startswith("SOURCE '") for problem in found)

    async def test_nothing_named_is_wrong_too(self) -> None:
        assert await problems() == ["SOURCE: no file is named"]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    async def test_no_permission(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        (tmp_path / "a.csv").chmod(0)
        assert "no permission" in (await problems(tmp_path / "a.csv"))[0]

    async def test_a_name_that_is_not_text(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")).write_bytes(b"a\n")
        assert "not text in UTF-8" in (await problems(tmp_path))[0]


class TestReading:
    async def test_resuming_reads_nothing_of_what_is_done_but_the_fingerprint(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, size = tmp_path / "large.csv", 64 * MIB
        with path.open("wb") as file:
            file.truncate(size)
        ranges: list[tuple[int, int]] = []
        real = os.pread

        def counted(fd: int, count: int, offset: int) -> bytes:
            ranges.append((offset, offset + count))
            return real(fd, count, offset)

        monkeypatch.setattr(os, "pread", counted)
        source, start = LocalSource(path), size * 9 // 10
        obj = await the_object(source)
        await source.confirm(obj)
        assert len(await content(source, obj, start)) == size - start
        assert {read for read in ranges if read[0] < start} == {(0, FINGERPRINT_BYTES)}
        assert sum(last - first for first, last in ranges) <= size - start + 4 * FINGERPRINT_BYTES

    async def test_confirm_reads_nothing_of_a_file_that_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(tmp_path, "a.csv")
        source = LocalSource(tmp_path / "a.csv")
        obj = await the_object(source)
        monkeypatch.setattr(os, "pread", lambda *_: pytest.fail("read"))
        await source.confirm(obj)

    async def test_beyond_the_end_is_a_contradiction(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        source = LocalSource(tmp_path / "a.csv")
        obj = await the_object(source)
        with pytest.raises(StateContradiction, match="asked to go on at byte 1000"):
            await content(source, obj, 1000)

    async def test_a_disk_that_does_not_answer_is_a_doubt(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(tmp_path, "a.csv")
        source = LocalSource(tmp_path / "a.csv")
        obj = await the_object(source)

        def fails(*_: int) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pread", fails)
        with pytest.raises(Doubt, match="input/output error"):
            await content(source, obj)


class TestChanges:
    async def test_versions_name_size_time_and_fingerprint(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        os.utime(tmp_path / "a.csv", ns=(1, 123456789))
        obj = await the_object(LocalSource(tmp_path / "a.csv"))
        assert obj.version.startswith("size=11,mtime=123456789,fingerprint=")

    async def test_a_touched_file_is_another_version_and_both_are_named(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        path = tmp_path / "a.csv"
        source = LocalSource(path)
        obj = await the_object(source)
        os.utime(path, ns=(1, 1))
        found = await the_object(LocalSource(path))
        with pytest.raises(SourceChanged) as caught:
            await source.confirm(obj)
        assert obj.version in caught.value.message
        assert found.version in caught.value.message
        assert "--restart" in caught.value.hint

    async def test_one_moved_away_and_back_or_restored_is_the_same(self, tmp_path: Path) -> None:
        put(tmp_path, "a.csv")
        path = tmp_path / "a.csv"
        source = LocalSource(path)
        obj = await the_object(source)
        path.rename(tmp_path / "b.csv")
        with pytest.raises(SourceChanged, match="gone"):
            await source.confirm(obj)
        shutil.copy2(tmp_path / "b.csv", path)
        await source.confirm(obj)
        assert await content(source, obj) == b"name\na.csv\n"
        path.chmod(0o600)
        await source.confirm(obj)

    @pytest.mark.parametrize("at", [0, FINGERPRINT_BYTES - 1, 5 * MIB - FINGERPRINT_BYTES, 5 * MIB - 1])
    async def test_other_content_under_the_same_time_is_seen_by_the_fingerprint(self, tmp_path: Path, at: int) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(bytes(5 * MIB))
        source = LocalSource(path)
        obj, before = await the_object(source), path.stat()
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"!")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(SourceChanged, match="no longer the version"):
            await source.confirm(obj)

    async def test_a_change_in_the_middle_is_seen_by_its_time(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(bytes(8 * MIB))
        os.utime(path, ns=(1, 1))
        source = LocalSource(path)
        obj = await the_object(source)
        blocks = [block async for block in source.read(obj, 0)]
        assert [len(block) for block in blocks] == [BLOCK_BYTES] * 4
        with path.open("r+b") as file:
            file.seek(4 * MIB)
            file.write(b"!")
        with pytest.raises(SourceChanged):
            await source.confirm(obj)

    @pytest.mark.parametrize("how", ["grown", "cut", "in place"])
    async def test_no_block_is_given_that_was_read_after_a_change(self, tmp_path: Path, how: str) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(bytes(8 * MIB))
        os.utime(path, ns=(1, 1))
        source = LocalSource(path)
        obj = await the_object(source)
        reading = source.read(obj, 0)
        await anext(reading)
        with path.open("r+b") as file:
            file.seek(0, os.SEEK_END if how == "grown" else os.SEEK_SET)
            file.truncate(3 * MIB) if how == "cut" else file.write(b"!")
        with pytest.raises(SourceChanged):
            await anext(reading)

    async def test_a_change_that_the_clock_does_not_show_is_seen_at_the_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Times move in steps of up to 2 s: a change within the step in which the file was pinned moves none."""
        path = tmp_path / "a.csv"
        path.write_bytes(bytes(8 * MIB))
        source = LocalSource(path)
        obj, before = await the_object(source), path.stat()
        reading = source.read(obj, 0)
        await anext(reading)
        with path.open("r+b") as file:
            file.seek(8 * MIB - 1)
            file.write(b"!")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        monkeypatch.setattr("csv2kafka.sources.local._shape", lambda status: source._pins[obj.uri].status)
        with pytest.raises(SourceChanged):
            assert [block async for block in reading]

    async def test_a_file_put_in_its_place_while_it_is_read_is_seen_at_the_commit(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(bytes(8 * MIB))
        source = LocalSource(path)
        obj = await the_object(source)
        reading = source.read(obj, 0)
        await anext(reading)
        (tmp_path / "new").write_bytes(b"!" * 8 * MIB)
        (tmp_path / "new").rename(path)
        assert [set(block) async for block in reading] == [{0}] * 3, "what is open stays what it was"
        with pytest.raises(SourceChanged):
            await source.confirm(obj)

    async def test_reading_does_not_block_the_loop(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "a.csv"
        path.write_bytes(b"a\n")
        source = LocalSource(path)
        obj = await the_object(source)
        loop, real = asyncio.get_running_loop(), os.pread

        def asks_the_loop(fd: int, count: int, offset: int) -> bytes:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(10)  # it must turn meanwhile
            return real(fd, count, offset)

        monkeypatch.setattr(os, "pread", asks_the_loop)
        assert await content(source, obj) == b"a\n"


async def test_a_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(ConfigError, match="a path has no zero byte in it"):
        [obj async for obj in LocalSource("a\0b").objects()]
