"""What becomes of S3 objects after a run: done once, done again, and left alone where something has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from csv2kafka.errors import ConfigError, Doubt, NotAuthorized, NotReachable, SourceChanged
from csv2kafka.model import SourceObject
from csv2kafka.sources import s3_after
from csv2kafka.sources.s3 import S3Source
from tests.aws.conftest import Aws
from tests.aws.http_faults import S3Faults
from tests.aws.http_proxy import Request, Where

MIB = 1 << 20
AFTER = ("tag", "move", "delete")


class Loaded:
    """A bucket with objects under in/, a source over them through a proxy, and another bucket."""

    def __init__(self, aws: Aws, bucket: str, other: str, proxy: S3Faults) -> None:
        self.s3, self.bucket, self.other, self.proxy = aws.client("s3"), bucket, other, proxy
        self.source = S3Source(f"s3://{bucket}/in/", endpoint_url=proxy.url)

    def put(self, key: str, content: bytes = b"a,b\n1,2\n", **more: Any) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, **more)

    async def objects(self) -> list[SourceObject]:
        return [obj async for obj in self.source.objects()]

    def keys(self, bucket: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=bucket or self.bucket)
        return [each["Key"] for each in found.get("Contents", ())]

    def tags(self, key: str, **more: str) -> dict[str, str]:
        found = self.s3.get_object_tagging(Bucket=self.bucket, Key=key, **more)
        return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}

    def after(self, kind: str) -> str:
        return f"move:s3://{self.other}/done/" if kind == "move" else kind

    def is_done(self, kind: str, *names: str) -> bool:
        """Whether that and nothing else has become of all of them."""
        if kind == "tag":
            return all(self.tags(f"in/{name}") == {"csv2kafka": "done"} for name in names)
        there = self.keys(self.other) == [f"done/{name}" for name in names]
        return self.keys() == [] and there is (kind == "move")


@pytest.fixture(params=[False, True], ids=["plain", "versions"])
async def loaded(aws: Aws, make_bucket: Callable[..., str], request: pytest.FixtureRequest) -> AsyncIterator[Loaded]:
    async with S3Faults(aws.url) as proxy:
        loaded = Loaded(aws, make_bucket(versioned=request.param), make_bucket(), proxy)
        yield loaded
        await loaded.source.close()


@pytest.mark.parametrize("kind", AFTER)
class TestEachKind:
    async def test_done_to_all_and_again(self, loaded: Loaded, kind: str) -> None:
        loaded.put("in/1.csv")
        loaded.put("in/2.csv")
        objects = await loaded.objects()
        for _ in range(2):
            await loaded.source.finish(objects, loaded.after(kind))
            assert loaded.is_done(kind, "1.csv", "2.csv")

    async def test_done_again_after_a_part_of_it(self, loaded: Loaded, kind: str) -> None:
        """Every request once goes without an answer, done or not; then it is tried again."""
        loaded.put("in/1.csv")
        loaded.put("in/2.csv")
        objects = await loaded.objects()
        done: set[tuple[str, str]] = set()

        def is_new(request: Request) -> bool:
            place = (request.operation, request.path)
            return place not in done and not done.add(place)  # type: ignore[func-returns-value]

        loaded.proxy.cut(is_new, after=True, times=None)
        for _ in range(6):
            try:
                await loaded.source.finish(objects, loaded.after(kind))
                break
            except Doubt:
                continue
        assert loaded.is_done(kind, "1.csv", "2.csv")
        assert len(done) > 2

    async def test_a_changed_object_is_left_alone_and_told(self, loaded: Loaded, kind: str) -> None:
        loaded.put("in/1.csv")
        loaded.put("in/2.csv")
        objects = await loaded.objects()
        loaded.put("in/1.csv", b"a,b\n3,4\n")
        with pytest.raises(SourceChanged) as caught:
            await loaded.source.finish(objects, loaded.after(kind))
        assert objects[0].uri in caught.value.message
        assert objects[0].version in caught.value.message
        assert loaded.s3.get_object(Bucket=loaded.bucket, Key="in/1.csv")["Body"].read() == b"a,b\n3,4\n"
        assert loaded.tags("in/1.csv") == {}
        if kind == "tag":
            assert loaded.tags("in/2.csv") == {"csv2kafka": "done"}
        else:
            assert loaded.keys() == ["in/1.csv"]

    async def test_what_is_gone_is_no_concern(self, loaded: Loaded, kind: str) -> None:
        loaded.put("in/1.csv")
        loaded.put("in/2.csv")
        objects = await loaded.objects()
        loaded.s3.delete_object(Bucket=loaded.bucket, Key="in/1.csv")
        await loaded.source.finish(objects, loaded.after(kind))
        assert loaded.is_done(kind, "2.csv") if kind != "tag" else loaded.tags("in/2.csv")

    async def test_what_is_not_allowed_is_named(self, loaded: Loaded, kind: str) -> None:
        loaded.put("in/1.csv")
        objects = await loaded.objects()
        loaded.proxy.refuse(
            403, "AccessDenied", "Access Denied", lambda request: request.operation != "GET", times=None
        )
        with pytest.raises(NotAuthorized) as caught:
            await loaded.source.finish(objects, loaded.after(kind))
        versions = "Version" if objects[0].version.startswith("versionId") else ""
        action = {"tag": f"s3:PutObject{versions}Tagging", "move": "s3:PutObject", "delete": "s3:DeleteObject"}[kind]
        assert f"allow {action} on arn:aws:s3:::" in caught.value.hint


class TestTag:
    async def test_of_the_users_choice_beside_others(self, loaded: Loaded) -> None:
        loaded.put("in/1.csv", Tagging="team=a&state=new")
        await loaded.source.finish(await loaded.objects(), "tag:state=loaded by csv2kafka")
        assert loaded.tags("in/1.csv") == {"team": "a", "state": "loaded by csv2kafka"}

    async def test_nothing_is_written_where_it_is_there(self, loaded: Loaded) -> None:
        loaded.put("in/1.csv", Tagging="csv2kafka=done")
        await loaded.source.finish(await loaded.objects(), "tag")
        assert [request.operation for request in loaded.proxy.requests if request.operation != "GET"] == []

    async def test_no_room_for_one_more(self, loaded: Loaded) -> None:
        loaded.put("in/1.csv", Tagging="&".join(f"t{number}=x" for number in range(10)))
        with pytest.raises(ConfigError, match="has 10 tags already"):
            await loaded.source.finish(await loaded.objects(), "tag")


class TestMove:
    async def test_names_below_the_sources_folder_are_kept(self, loaded: Loaded) -> None:
        for key in ("in/a/1.csv", "in/b/1.csv"):
            loaded.put(key)
        source = S3Source(f"s3://{loaded.bucket}/in/*/*.csv", endpoint_url=loaded.proxy.url)
        await source.finish([obj async for obj in source.objects()], f"move:s3://{loaded.other}/done/")
        await source.close()
        assert loaded.keys(loaded.other) == ["done/a/1.csv", "done/b/1.csv"]
        assert loaded.keys() == []

    async def test_in_parts_with_all_that_belongs_to_it(self, loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
        large = bytes(range(256)) * 4096 * 11 + b"the end"  # parts of 5 MiB, S3's least
        kept = {"ContentType": "text/csv", "ContentEncoding": "identity", "Metadata": {"made-by": "us"}}
        loaded.put("in/1.csv", large, Tagging="team=a", **kept)
        objects = await loaded.objects()
        real = s3_after.finish

        async def in_parts(*arguments: Any) -> None:
            await real(*arguments, copy_limit=MIB, part_bytes=5 * MIB)

        monkeypatch.setattr(s3_after, "finish", in_parts)
        await loaded.source.finish(objects, f"move:s3://{loaded.other}/")
        found = loaded.s3.get_object(Bucket=loaded.other, Key="1.csv")
        assert found["Body"].read() == large
        assert {name: found[name] for name in kept} == kept
        tags = loaded.s3.get_object_tagging(Bucket=loaded.other, Key="1.csv")["TagSet"]
        assert tags == [{"Key": "team", "Value": "a"}]
        assert loaded.keys() == []
        assert sum("partNumber" in request.path for request in loaded.proxy.requests) == 3

    async def test_parts_of_a_copy_that_fails_are_given_up(
        self, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded.put("in/1.csv", b"x" * 11 * MIB)
        objects = await loaded.objects()
        real = s3_after.finish

        async def in_parts(*arguments: Any) -> None:
            await real(*arguments, copy_limit=MIB, part_bytes=5 * MIB)

        monkeypatch.setattr(s3_after, "finish", in_parts)
        loaded.proxy.refuse(
            403, "AccessDenied", "Access Denied", lambda request: "partNumber=2" in request.path, times=None
        )
        with pytest.raises(NotAuthorized):
            await loaded.source.finish(objects, f"move:s3://{loaded.other}/")
        assert "Uploads" not in loaded.s3.list_multipart_uploads(Bucket=loaded.other)
        assert loaded.keys() == ["in/1.csv"]
        assert loaded.keys(loaded.other) == []


def _copy(request: Request) -> bool:
    return "x-amz-copy-source" in request.headers


def _begin(request: Request) -> bool:
    return request.operation == "POST" and "uploads" in request.path


def _complete(request: Request) -> bool:
    return request.operation == "POST" and "uploadId" in request.path


def _tagging(request: Request) -> bool:
    return request.operation == "GET" and "tagging" in request.path


def _head(request: Request) -> bool:
    return request.operation == "HEAD"


class TestWhatAnswersInItsPlace:
    """A proxy, or a server that only seems to speak S3: nothing is deleted by its word, and nothing counts as done."""

    @pytest.fixture
    def in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = s3_after.finish

        async def in_parts(*arguments: Any) -> None:
            await real(*arguments, copy_limit=1)

        monkeypatch.setattr(s3_after, "finish", in_parts)

    async def refused(self, loaded: Loaded, after: str, says: str) -> None:
        objects = await loaded.objects()
        with pytest.raises(NotReachable, match=f"--after: .*{says}"):
            await loaded.source.finish(objects, after)
        assert loaded.keys() == ["in/1.csv"]
        assert "DELETE" not in {r.operation for r in loaded.proxy.requests if "uploadId" not in r.path}

    @pytest.mark.parametrize("body", [b"", b"<a/>", b"<CopyObjectResult><ETag/></CopyObjectResult>"])
    async def test_a_copy_that_nobody_confirmed(self, loaded: Loaded, body: bytes) -> None:
        loaded.put("in/1.csv")
        loaded.proxy.answer("200 OK", body, _copy)
        await self.refused(loaded, loaded.after("move"), "copying .* it copied nothing")
        assert loaded.keys(loaded.other) == []

    @pytest.mark.parametrize("body", [b"", b"<a/>"])
    @pytest.mark.parametrize(
        ("where", "says"),
        [
            (_copy, "it copied nothing"),
            (_begin, "it began no upload"),
            (_complete, "it copied nothing"),
            (_tagging, "it says nothing of tags"),
            (_head, "it gives the object no ETag"),
        ],
    )
    async def test_a_copy_in_parts(self, loaded: Loaded, in_parts: None, where: Where, says: str, body: bytes) -> None:
        loaded.put("in/1.csv")
        loaded.proxy.answer("200 OK", b"" if where is _head else body, where)
        await self.refused(loaded, loaded.after("move"), says)
        assert "Uploads" not in loaded.s3.list_multipart_uploads(Bucket=loaded.other)
        assert loaded.keys(loaded.other) == []

    @pytest.mark.parametrize("body", [b"", b"<a/>", b"<Tagging><TagSet><Tag/></TagSet></Tagging>"])
    async def test_tags(self, loaded: Loaded, body: bytes) -> None:
        """Others' would be lost: S3 takes tags as a whole."""
        loaded.put("in/1.csv", Tagging="team=a")
        loaded.proxy.answer("200 OK", body, _tagging)
        await self.refused(loaded, "tag", "it (says nothing of tags|gives a tag without)")
        assert loaded.tags("in/1.csv") == {"team": "a"}

    @pytest.mark.parametrize("kind", AFTER)
    @pytest.mark.parametrize("reads", [True, False], ids=["reads", "writes"])
    async def test_a_404_without_a_word_is_not_gone(self, loaded: Loaded, kind: str, reads: bool) -> None:
        loaded.put("in/1.csv")
        objects = await loaded.objects()
        rule = loaded.proxy.answer("404 Not Found", b"", lambda request: (request.operation == "GET") is reads)
        with pytest.raises(NotReachable, match="404"):
            await loaded.source.finish(objects, loaded.after(kind))
        rule.times = 0
        await loaded.source.finish(objects, loaded.after(kind))
        assert loaded.is_done(kind, "1.csv")

    async def test_a_head_has_no_word_to_say_it_with(self, loaded: Loaded, in_parts: None) -> None:
        """Gone or not: the next run asks in a way that is answered in words."""
        loaded.put("in/1.csv")
        objects = await loaded.objects()
        rule = loaded.proxy.answer("404 Not Found", b"", _head)
        with pytest.raises(NotReachable, match="404"):
            await loaded.source.finish(objects, loaded.after("move"))
        rule.times = 0
        await loaded.source.finish(objects, loaded.after("move"))
        assert loaded.is_done("move", "1.csv")


class TestDelete:
    async def test_of_a_version_leaves_a_marker(self, aws: Aws, make_bucket: Callable[..., str]) -> None:
        s3, bucket = aws.client("s3"), make_bucket(versioned=True)
        s3.put_object(Bucket=bucket, Key="a.csv", Body=b"1")
        source = S3Source(f"s3://{bucket}/a.csv")
        (obj,) = objects = [obj async for obj in source.objects()]
        await source.finish(objects, "delete")
        await source.close()
        with pytest.raises(ClientError):
            s3.get_object(Bucket=bucket, Key="a.csv")
        version = obj.version.removeprefix("versionId=")
        assert s3.get_object(Bucket=bucket, Key="a.csv", VersionId=version)["Body"].read() == b"1"

    async def test_s3_is_asked_to_compare(self, loaded: Loaded) -> None:
        """What changes between looking and deleting is not deleted."""
        loaded.put("in/1.csv")
        objects = await loaded.objects()
        loaded.proxy.refuse(
            412,
            "PreconditionFailed",
            "…",
            lambda request: request.operation == "DELETE" and "if-match" in request.headers,
        )
        with pytest.raises(SourceChanged):
            await loaded.source.finish(objects, "delete")
        assert loaded.keys() == ["in/1.csv"]

    async def test_a_server_that_cannot_compare(self, loaded: Loaded) -> None:
        loaded.put("in/1.csv")
        loaded.proxy.refuse(
            501,
            "NotImplemented",
            "…",
            lambda request: "if-match" in request.headers and request.operation == "DELETE",
            times=None,
        )
        await loaded.source.finish(await loaded.objects(), "delete")
        assert loaded.keys() == []
