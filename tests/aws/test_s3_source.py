"""S3 sources over HTTP: what is found, how it is pinned, read, and taken up again where a range broke."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.errors import ConfigError, Doubt, NotAuthorized, NotReachable, SourceChanged, StateContradiction
from csv2kafka.model import SourceObject
from csv2kafka.sources import ranges, s3
from csv2kafka.sources.s3 import S3Source
from csv2kafka.sources.s3_errors import ELSEWHERE
from csv2kafka.testing import SourceConformance
from csv2kafka.testing.source_conformance import LARGE
from tests.aws.conftest import Aws
from tests.aws.http_faults import S3Faults
from tests.aws.http_proxy import Request, Where

MIB = 1 << 20
CONTENT = bytes(range(256)) * 4096 * 4 + b"the end"  # 4 MiB and a little: five ranges of 1 MiB


class TestS3Source(SourceConformance):
    """By ETag: the bucket keeps no versions."""

    versioned = False

    @pytest.fixture(autouse=True)
    def _bucket(self, aws: Aws, make_bucket: Callable[..., str]) -> None:
        self.s3, self.bucket = aws.client("s3"), make_bucket(versioned=self.versioned)
        self.made: list[S3Source] = []

    def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        for name, content in objects:
            self.s3.put_object(Bucket=self.bucket, Key=f"in/{name}", Body=content)

    def make(self) -> S3Source:
        self.made.append(S3Source(f"s3://{self.bucket}/in/"))
        return self.made[-1]

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        async def closing() -> None:
            try:
                await main
            finally:
                for source in self.made:
                    await source.close()

        asyncio.run(closing())


class TestS3SourceOfVersions(TestS3Source):
    """By VersionId: what was replaced is still there, and is read to its end."""

    versioned = True

    def test_a_change_is_seen_by_confirm_and_by_read(self) -> None:
        self.put([("part-1.csv", b"a,b\n1,2\n")])

        async def main() -> None:
            source = self.make()
            (obj,) = [obj async for obj in source.objects()]
            await asyncio.to_thread(self.put, [("part-1.csv", b"a,b\n1,3\n")])
            for asked in (source, self.make()):
                await asked.confirm(obj)
                assert b"".join([block async for block in asked.read(obj, 4)]) == b"1,2\n"
            (new,) = [obj async for obj in source.objects()]
            assert new.version != obj.version, "the next run sees that it was replaced"

        self.run(main())

    def test_a_change_while_reading_is_seen_before_the_end(self) -> None:
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            source = self.make()
            (obj,) = [obj async for obj in source.objects()]
            reading = source.read(obj, 0)
            blocks = [await anext(reading)]
            await asyncio.to_thread(self.put, [("part-1.csv", LARGE[:-1] + b"!")])
            blocks += [block async for block in reading]
            assert b"".join(blocks) == LARGE

        self.run(main())


class Bench:
    """A bucket, a proxy in front of it, and sources that go through it and are closed at the end."""

    def __init__(self, aws: Aws, bucket: str, proxy: S3Faults) -> None:
        self.s3, self.bucket, self.proxy = aws.client("s3"), bucket, proxy
        self.made: list[S3Source] = []

    def put(self, *keys: str, content: bytes = b"a,b\n1,2\n", **more: Any) -> None:
        for key in keys:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, **more)

    def source(self, *keys: str, **options: Any) -> S3Source:
        """Through the proxy, with small ranges and without pauses that are felt."""
        settings = {"endpoint_url": self.proxy.url, "range_bytes": MIB, "read_timeout": 5, **options}
        self.made.append(S3Source(*(f"s3://{self.bucket}/{key}" for key in keys), draw=lambda: -1.0, **settings))
        return self.made[-1]

    async def keys(self, *patterns: str) -> list[str]:
        found = [obj.uri async for obj in self.source(*patterns).objects()]
        return [uri.removeprefix(f"s3://{self.bucket}/") for uri in found]

    async def problems(self, *patterns: str) -> Sequence[str]:
        with pytest.raises(ConfigError) as caught:
            await self.keys(*patterns)
        return caught.value.problems

    async def pinned(self, source: S3Source) -> SourceObject:
        (obj,) = [obj async for obj in source.objects()]
        return obj

    def spans(self) -> list[tuple[int, int]]:
        """The ranges that were asked for, the first byte for a pin left out."""
        found = [re.findall(r"\d+", request.headers.get("range", "")) for request in self.proxy.requests]
        return [(int(span[0]), int(span[1]) + 1) for span in found if span and span[1] != "0"]


@pytest.fixture
async def bench(aws: Aws, bucket: str) -> AsyncIterator[Bench]:
    async with S3Faults(aws.url) as proxy:
        bench = Bench(aws, bucket, proxy)
        yield bench
        for source in bench.made:
            await source.close()


@pytest.fixture
async def versions(aws: Aws, make_bucket: Callable[..., str]) -> AsyncIterator[Bench]:
    """The same, of a bucket that keeps versions."""
    async with S3Faults(aws.url) as proxy:
        bench = Bench(aws, make_bucket(versioned=True), proxy)
        yield bench
        for source in bench.made:
            await source.close()


async def content(source: S3Source, obj: SourceObject, offset: int = 0) -> bytes:
    return b"".join([block async for block in source.read(obj, offset)])


def from_byte(first: int, last: int = 0) -> Where:
    """Requests for a range that begins there (and ends there)."""
    return lambda request: request.headers.get("range", "").startswith(f"bytes={first}-{last - 1 if last else ''}")


def ranges_only(request: Request) -> bool:
    return request.operation == "GET" and request.headers.get("range", "bytes=0-0") != "bytes=0-0"


class TestFinding:
    async def test_a_prefix_gives_what_is_directly_under_it_in_natural_order(self, bench: Bench) -> None:
        bench.put(
            "in/part-10.csv", "in/part-2.csv", "in/README", "in/deeper/x.csv", "in/.x.csv", "in/_SUCCESS", "out.csv"
        )
        bench.put("in/", content=b"")  # as consoles mark a folder
        assert await bench.keys("in/") == ["in/README", "in/part-2.csv", "in/part-10.csv"]
        assert await bench.keys("") == ["out.csv"]

    async def test_a_glob_gives_the_keys_it_matches(self, bench: Bench) -> None:
        bench.put("in/2024-02/part-1.csv", "in/2024-01/part-10.csv", "in/2024-01/part-9.csv", "in/2024-01/a/part-1.csv")
        assert await bench.keys("in/2024-*/part-*.csv") == [
            "in/2024-01/part-9.csv",
            "in/2024-01/part-10.csv",
            "in/2024-02/part-1.csv",
        ]
        assert len(await bench.keys("in/**/*.csv")) == 4

    async def test_several_stay_in_the_order_given(self, bench: Bench) -> None:
        bench.put("b.csv", "a/2.csv", "a/1.csv")
        assert await bench.keys("b.csv", "a/") == ["b.csv", "a/1.csv", "a/2.csv"]

    @pytest.mark.parametrize("key", ["a[1]*.csv", "ä ö+%20&=;.csv", "a//b.csv"])
    async def test_a_key_that_is_there_is_taken_as_it_stands(self, bench: Bench, key: str) -> None:
        bench.put(key, "a1.csv", "a[1]2.csv")
        assert await bench.keys(key) == [key]
        source = bench.source(key)
        assert await content(source, await bench.pinned(source)) == b"a,b\n1,2\n"

    async def pages_of_two(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, *names: str) -> S3Source:
        source = bench.source(*names)
        client = await source._client.raw()
        real = client.list_objects_v2
        monkeypatch.setattr(client, "list_objects_v2", lambda **asked: real(MaxKeys=2, **asked))
        return source

    async def test_listings_of_several_pages(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        bench.put(*(f"in/{number}.csv" for number in range(12)))
        source = await self.pages_of_two(bench, monkeypatch, "in/")
        found = [obj.uri.rpartition("/")[2] async for obj in source.objects()]
        assert found == [f"{number}.csv" for number in range(12)]

    async def test_more_than_a_job_can_have(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(s3, "MOST_OBJECTS", 4)
        bench.put(*(f"in/{number}.csv" for number in range(5)), *(f"in/{number}.tsv" for number in range(4)))
        source = await self.pages_of_two(bench, monkeypatch, "in/*.tsv")
        assert len([obj async for obj in source.objects()]) == 4
        source = await self.pages_of_two(bench, monkeypatch, "in/*.csv")
        with pytest.raises(ConfigError, match="names more than 4 objects"):
            _ = [obj async for obj in source.objects()]

    async def test_all_that_is_wrong_is_told_at_once(self, bench: Bench) -> None:
        bench.put("a.csv", "deep/down/b.csv")
        found = await bench.problems("a.csv", "missing.csv", "deep", "deep/", "empty/", "*.tsv")
        assert len(found) == 5
        for problem, words in zip(
            found, ["missing.csv': no such object", "under s3://", "deeper is not", "no objects", "no key"], strict=True
        ):
            assert words in problem
        assert "come twice" in (await bench.problems("a.csv", "a*"))[0]

    async def test_no_such_bucket(self, bench: Bench) -> None:
        bench.bucket = "bucket-that-is-not"
        assert "there is no bucket 'bucket-that-is-not'" in (await bench.problems("a.csv"))[0]


class TestPinning:
    async def test_by_version_where_there_are_versions(self, versions: Bench) -> None:
        versions.put("a.csv")
        put = versions.s3.put_object(Bucket=versions.bucket, Key="a.csv", Body=b"new")
        obj = await versions.pinned(versions.source("a.csv"))
        assert (obj.version, obj.size) == (f"versionId={put['VersionId']}", 3)

    async def test_what_was_there_before_versions_is_pinned_by_its_etag(self, bench: Bench) -> None:
        bench.put("a.csv")
        bench.s3.put_bucket_versioning(Bucket=bench.bucket, VersioningConfiguration={"Status": "Enabled"})
        obj = await bench.pinned(bench.source("a.csv"))
        assert re.fullmatch(r'etag="[0-9a-f]{32}"', obj.version)

    async def test_a_replaced_object_is_told_with_both_versions(self, bench: Bench) -> None:
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv", parallel=1)
        obj = await bench.pinned(source)
        reading = source.read(obj, 0)
        await anext(reading)
        bench.put("a.csv", content=CONTENT[::-1])
        with pytest.raises(SourceChanged) as caught:
            [block async for block in reading]
        new = await bench.pinned(source)
        assert obj.version in caught.value.message
        assert new.version in caught.value.message

    async def test_a_deleted_object_is_told(self, bench: Bench) -> None:
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv", parallel=1)
        obj = await bench.pinned(source)
        reading = source.read(obj, 0)
        await anext(reading)
        bench.s3.delete_object(Bucket=bench.bucket, Key="a.csv")
        with pytest.raises(SourceChanged, match="it is gone"):
            [block async for block in reading]

    async def test_a_replaced_version_is_read_to_its_end_and_a_deleted_one_is_told(self, versions: Bench) -> None:
        versions.put("a.csv", content=CONTENT)
        source = versions.source("a.csv", parallel=1)
        obj = await versions.pinned(source)
        versions.put("a.csv")
        versions.s3.delete_object(Bucket=versions.bucket, Key="a.csv")  # a marker
        assert await content(source, obj) == CONTENT
        version = obj.version.removeprefix("versionId=")
        versions.s3.delete_object(Bucket=versions.bucket, Key="a.csv", VersionId=version)
        with pytest.raises(SourceChanged, match="it is gone"):
            await content(source, obj)

    async def test_a_404_without_a_word_is_not_gone(self, bench: Bench) -> None:
        """S3 says what is missing; a proxy that has lost its way does not."""
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv", parallel=1, max_attempts=1)
        obj = await bench.pinned(source)
        rule = bench.proxy.answer("404 Not Found", b"no such host", lambda request: request.operation == "GET")
        asks: tuple[Callable[[], Coroutine[Any, Any, object]], ...] = (
            lambda: source.confirm(obj),
            lambda: content(source, obj),
            lambda: bench.pinned(bench.source("a.csv")),
        )
        for ask in asks:
            with pytest.raises(NotReachable, match="404"):
                await ask()
        rule.times = 0
        assert await content(source, obj) == CONTENT

    async def test_nothing_is_asked_before_a_commit_where_reading_proved_it(self, bench: Bench) -> None:
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv")
        obj = await bench.pinned(source)
        reading = source.read(obj, 0)
        await anext(reading)
        asked = sum(not ranges_only(request) for request in bench.proxy.requests)
        await source.confirm(obj)
        assert sum(not ranges_only(request) for request in bench.proxy.requests) == asked
        await reading.aclose()  # type: ignore[attr-defined]

    async def test_a_checkpoint_of_another_object(self, bench: Bench) -> None:
        bench.put("a.csv")
        source = bench.source("a.csv")
        obj = await bench.pinned(source)
        with pytest.raises(StateContradiction, match="asked to go on at byte 9, but it has 8"):
            await content(source, obj, 9)


class TestOneVersion:
    """``version_id`` and ``if_match``: that version of the object, or none."""

    @pytest.mark.parametrize("key", ["a.csv", "a[1]*?.csv"])
    async def test_an_older_one_is_read_however_many_came_after(self, versions: Bench, key: str) -> None:
        old = versions.s3.put_object(Bucket=versions.bucket, Key=key, Body=b"old")
        versions.put(key, "a1x.csv")
        versions.s3.delete_object(Bucket=versions.bucket, Key=key)  # only a mark: the versions are there
        source = versions.source(key, version_id=old["VersionId"])
        obj = await versions.pinned(source)
        assert (obj.version, obj.size) == (f"versionId={old['VersionId']}", 3)
        assert await content(source, obj) == b"old"
        await source.confirm(obj)
        assert {request.operation for request in versions.proxy.requests} == {"GET"}

    async def test_one_that_is_gone(self, versions: Bench) -> None:
        old = versions.s3.put_object(Bucket=versions.bucket, Key="a.csv", Body=b"old")
        new = versions.s3.put_object(Bucket=versions.bucket, Key="a.csv", Body=b"new")
        versions.s3.delete_object(Bucket=versions.bucket, Key="a.csv", VersionId=old["VersionId"])
        with pytest.raises(SourceChanged, match="not the version that was asked for") as caught:
            await versions.pinned(versions.source("a.csv", version_id=old["VersionId"]))
        assert f"expected versionId={old['VersionId']}" in caught.value.message
        assert f"found    versionId={new['VersionId']}" in caught.value.message

    @pytest.mark.parametrize("key", ["a.csv", "a[1]*?.csv"])
    async def test_by_etag(self, bench: Bench, key: str) -> None:
        put = bench.s3.put_object(Bucket=bench.bucket, Key=key, Body=CONTENT)
        bench.put("a1x.csv")
        for etag in (put["ETag"], put["ETag"].strip('"')):
            source = bench.source(key, if_match=etag)
            obj = await bench.pinned(source)
            assert (obj.version, obj.size) == (f"etag={put['ETag']}", len(CONTENT))
            assert await content(source, obj) == CONTENT

    async def test_by_etag_where_it_was_replaced_or_is_gone(self, bench: Bench) -> None:
        old = bench.s3.put_object(Bucket=bench.bucket, Key="a.csv", Body=b"old")["ETag"]
        new = bench.s3.put_object(Bucket=bench.bucket, Key="a.csv", Body=b"new")["ETag"]
        with pytest.raises(SourceChanged) as caught:
            await bench.pinned(bench.source("a.csv", if_match=old))
        assert f"expected etag={old}" in caught.value.message
        assert f"found    etag={new}" in caught.value.message
        bench.s3.delete_object(Bucket=bench.bucket, Key="a.csv")
        with pytest.raises(SourceChanged, match="found    nothing"):
            await bench.pinned(bench.source("a.csv", if_match=old))

    async def test_by_etag_where_there_are_versions_that_version_is_pinned(self, versions: Bench) -> None:
        put = versions.s3.put_object(Bucket=versions.bucket, Key="a.csv", Body=b"")
        obj = await versions.pinned(versions.source("a.csv", if_match=put["ETag"]))
        assert (obj.version, obj.size) == (f"versionId={put['VersionId']}", 0)


class TestRanges:
    async def test_only_what_is_not_done_is_asked_for_each_byte_once(self, bench: Bench) -> None:
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv")
        obj = await bench.pinned(source)
        start = MIB // 2
        assert await content(source, obj, start) == CONTENT[start:]
        spans = sorted(bench.spans())
        assert [first for first, _ in spans] == [start, *(last for _, last in spans[:-1])]
        assert spans[-1][1] == len(CONTENT)

    async def test_no_more_ranges_are_ahead_than_is_allowed(self, bench: Bench) -> None:
        bench.put("a.csv", content=CONTENT * 2)
        source = bench.source("a.csv", parallel=2)
        reading = source.read(await bench.pinned(source), 0)
        await anext(reading)
        async with asyncio.timeout(10):
            while len(bench.spans()) < 2:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(bench.spans()) == 2
        await reading.aclose()  # type: ignore[attr-defined]

    async def test_blocks_come_before_their_range_is_complete(self, bench: Bench) -> None:
        bench.put("a.csv", content=CONTENT)
        bench.proxy.stall(from_byte(0, len(CONTENT)), at=3 * MIB)
        source = bench.source("a.csv", range_bytes=8 * MIB, read_timeout=30)
        reading = source.read(await bench.pinned(source), 0)
        async with asyncio.timeout(20):
            block = await anext(reading)
        assert CONTENT.startswith(block)
        await reading.aclose()  # type: ignore[attr-defined]

    async def test_a_closed_source_is_usable_again(self, bench: Bench) -> None:
        bench.put("a.csv")
        source = bench.source("a.csv")
        obj = await bench.pinned(source)
        await source.close()
        assert await content(source, obj) == b"a,b\n1,2\n"


class TestFaults:
    """The same bytes in the end, and of those only the ones that are missing are asked for again."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ranges, "FIRST_PAUSE_SECONDS", 0.01)

    async def read(self, bench: Bench, **options: Any) -> None:
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv", **options)
        assert await content(source, await bench.pinned(source)) == CONTENT

    async def test_a_body_that_is_cut(self, bench: Bench) -> None:
        rules = [bench.proxy.cut_body(from_byte(at, at + MIB), at=700_000) for at in (0, MIB, 3 * MIB)]
        rules.append(bench.proxy.cut_body(from_byte(2 * MIB), at=0))
        await self.read(bench)
        assert [rule.struck for rule in rules] == [1, 1, 1, 1]
        again = [span for span in bench.spans() if span[0] % MIB]
        assert [first % MIB for first, _ in again] == [700_000] * 3
        assert all(last == min(-(-first // MIB) * MIB, len(CONTENT)) for first, last in again)

    async def test_a_body_that_is_cut_again_and_again(self, bench: Bench) -> None:
        rule = bench.proxy.cut_body(ranges_only, at=100_000, times=None)
        await self.read(bench, max_attempts=2)  # each brings something, so each counts as the first
        assert rule.struck > 40
        assert max(last - first for first, last in bench.spans() if first % MIB) < MIB

    async def test_a_body_that_stalls(self, bench: Bench) -> None:
        rule = bench.proxy.stall(from_byte(MIB), at=500_000)
        await self.read(bench, read_timeout=0.5)
        assert rule.struck == 1
        assert (MIB + 500_000, 2 * MIB) in bench.spans()

    async def test_no_answer_at_all(self, bench: Bench) -> None:
        rule = bench.proxy.delay(5, from_byte(MIB))
        await self.read(bench, read_timeout=0.5)
        assert rule.struck == 1

    async def test_a_connection_that_closes_without_an_answer(self, bench: Bench) -> None:
        rule = bench.proxy.cut(ranges_only, times=4)
        await self.read(bench)
        assert rule.struck == 4

    @pytest.mark.parametrize(
        ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")]
    )
    async def test_an_answer_that_may_pass(self, bench: Bench, status: int, code: str) -> None:
        rule = bench.proxy.refuse(
            status, code, "Please try again.", from_byte(2 * MIB), times=4
        )  # botocore asks 3 times
        await self.read(bench)
        assert rule.struck == 4
        assert [span for span in bench.spans() if span[0] != 2 * MIB] == [
            (first, min(first + MIB, len(CONTENT))) for first in range(0, len(CONTENT), MIB) if first != 2 * MIB
        ]

    async def test_a_404_without_a_word(self, bench: Bench) -> None:
        rule = bench.proxy.answer("404 Not Found", b"", from_byte(2 * MIB), times=2)
        await self.read(bench)
        assert rule.struck == 2

    async def test_a_body_that_is_shorter_than_its_range(self, bench: Bench) -> None:
        span = f"bytes {MIB}-{2 * MIB - 1}/{len(CONTENT)}"
        rule = bench.proxy.answer_range(span, CONTENT[MIB : MIB + 1000], from_byte(MIB))
        await self.read(bench)
        assert rule.struck == 1
        assert (MIB + 1000, 2 * MIB) in bench.spans()

    async def test_another_range_than_was_asked_for(self, bench: Bench) -> None:
        rule = bench.proxy.answer_range(f"bytes 0-{MIB - 1}/{len(CONTENT)}", b"!" * MIB, from_byte(MIB))
        await self.read(bench)
        assert rule.struck == 1

    async def test_credentials_that_are_renewed_in_a_file(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "credentials"
        file.write_text("[default]\naws_access_key_id = OLD\naws_secret_access_key = x\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        def is_old(request: Request) -> bool:
            if ranges_only(request) and "OLD" in request.headers["authorization"]:
                file.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = x\n")
                return True
            return False

        rule = bench.proxy.refuse(400, "ExpiredToken", "The provided token has expired.", is_old, times=None)
        await self.read(bench)
        assert rule.struck >= 1

    async def test_the_object_is_taken_up_where_another_session_begins(self, bench: Bench) -> None:
        """What came before the doubt is given out; the rest is the next session's."""
        bench.put("a.csv", content=CONTENT)
        rule = bench.proxy.refuse(503, "SlowDown", "Please reduce your request rate.", from_byte(2 * MIB), times=None)
        source = bench.source("a.csv", max_attempts=2)
        obj = await bench.pinned(source)
        blocks: list[bytes] = []

        async def read() -> None:
            async for block in source.read(obj, 0):
                blocks.append(block)  # noqa: PERF401 (what came before the error counts, too)

        with pytest.raises(Doubt, match="SlowDown"):
            await read()
        got = b"".join(blocks)
        assert got == CONTENT[: 2 * MIB]
        rule.times = 0
        assert got + await content(source, obj, len(got)) == CONTENT

    async def test_nobody_there(self, bench: Bench) -> None:
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv", max_attempts=1)
        obj = await bench.pinned(source)
        await bench.proxy.go_away()
        with pytest.raises(NotReachable):
            await content(source, obj)


class TestRefusals:
    """These stop at once, and say what to do."""

    async def refused(self, bench: Bench, code: str, message: str = "Access Denied", status: int = 403) -> Any:
        bench.put("a.csv", content=CONTENT)
        rule = bench.proxy.refuse(status, code, message, ranges_only, times=None)
        source = bench.source("a.csv", parallel=1)
        obj = await bench.pinned(source)
        with pytest.raises(ConfigError) as caught:
            await content(source, obj)
        assert rule.struck == (2 if code in ELSEWHERE else 1)  # botocore asks once where the bucket is, and again
        return caught.value

    async def test_access_denied_names_the_permission(self, bench: Bench) -> None:
        error = await self.refused(bench, "AccessDenied")
        assert isinstance(error, NotAuthorized)
        assert f"allow s3:GetObject on arn:aws:s3:::{bench.bucket}/a.csv" in error.hint
        assert "without s3:ListBucket" in error.hint

    async def test_of_a_version(self, versions: Bench) -> None:
        assert "s3:GetObjectVersion on" in (await self.refused(versions, "AccessDenied")).hint

    async def test_of_a_key(self, bench: Bench) -> None:
        message = "User: arn:aws:iam::1:user/a is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:…"
        assert "kms:Decrypt" in (await self.refused(bench, "AccessDenied", message)).hint

    async def test_of_the_listing(self, bench: Bench) -> None:
        bench.proxy.refuse(403, "AccessDenied", "Access Denied", lambda request: "list-type" in request.path)
        with pytest.raises(NotAuthorized) as caught:
            await bench.keys("in/")
        assert caught.value.hint == f"allow s3:ListBucket on arn:aws:s3:::{bench.bucket} for this role or user"

    async def test_archived(self, bench: Bench) -> None:
        message = "The operation is not valid for the object's storage class"
        error = await self.refused(bench, "InvalidObjectState", message)
        assert "restore" in error.hint
        assert not isinstance(error, NotAuthorized)

    async def test_another_region(self, bench: Bench) -> None:
        message = "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'eu-west-3'"
        error = await self.refused(bench, "IllegalLocationConstraintException", message, 400)
        assert "--s3 region=" in error.hint


class TestOptions:
    async def heads(self, bench: Bench, **options: Any) -> dict[str, str]:
        """The headers of one read's request for a range."""
        bench.put("a.csv", content=CONTENT)
        source = bench.source("a.csv", **options)
        assert await content(source, await bench.pinned(source)) == CONTENT
        return dict(next(filter(ranges_only, bench.proxy.requests)).headers)

    async def test_requester_pays_and_the_owner_that_is_expected(self, bench: Bench) -> None:
        found = await self.heads(bench, request_payer="requester", expected_bucket_owner="123456789012")
        assert found["x-amz-request-payer"] == "requester"
        assert found["x-amz-expected-bucket-owner"] == "123456789012"

    async def test_anonymous(self, bench: Bench) -> None:
        bench.s3.put_bucket_acl(Bucket=bench.bucket, ACL="public-read")
        bench.put("a.csv", content=CONTENT, ACL="public-read")
        source = bench.source("a.csv", anonymous=True)
        obj = await bench.pinned(source)
        assert await content(source, obj) == CONTENT
        assert all("authorization" not in request.headers for request in bench.proxy.requests)

    async def test_a_customers_own_key(self, bench: Bench) -> None:
        key = "0123456789abcdef0123456789abcdef"
        found = await self.heads(bench, sse_customer_key=key)
        assert found["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
        assert found["x-amz-server-side-encryption-customer-key"] == "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

    async def test_the_ranges_are_signed_for_the_region(self, bench: Bench) -> None:
        found = await self.heads(bench, region="eu-west-3")
        assert "/eu-west-3/s3/aws4_request" in found["authorization"]

    @pytest.mark.parametrize(
        ("url", "options", "asked"),
        [
            ("s3://bucket-a/k.csv", {"region": "eu-west-1"}, "https://bucket-a.s3.eu-west-1.amazonaws.com/k.csv"),
            (
                "s3://bucket-a/k.csv",
                {"region": "eu-west-1", "addressing_style": "path"},
                "https://s3.eu-west-1.amazonaws.com/bucket-a/k.csv",
            ),
            (
                "s3://bucket-a/k.csv",
                {"region": "eu-west-1", "use_dualstack_endpoint": "true"},
                "https://bucket-a.s3.dualstack.eu-west-1.amazonaws.com/k.csv",
            ),
            (
                "s3://bucket-a/k.csv",
                {"region": "eu-west-1", "use_accelerate_endpoint": True},
                "https://bucket-a.s3-accelerate.amazonaws.com/k.csv",
            ),
            (
                "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/finance/in/k.csv",
                {"region": "eu-west-1"},
                "https://finance-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/in/k.csv",
            ),
        ],
    )
    async def test_where_requests_go(
        self, monkeypatch: pytest.MonkeyPatch, url: str, options: dict[str, Any], asked: str
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
        source = S3Source(url, **options)
        found: list[str] = []

        class _Seen(Exception):
            pass

        def seen(request: Any, **_: Any) -> None:
            found.append(request.url)
            raise _Seen

        client = await source._client.raw()
        client.meta.events.register("before-send.s3", seen)
        with pytest.raises(_Seen):
            [obj async for obj in source.objects()]
        assert found == [asked]
        await source.close()
