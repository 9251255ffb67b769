"""What becomes of objects when every row is visible (``--after``): they get a tag, are moved, or deleted.

Each can be done again after any part of it: what is done or gone already is left, and so is, with an error at the
end, an object that is no longer the version the job began with. Of a bucket that keeps versions the latest has to be
the job's; it gets a delete marker.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import urlencode

from attrs import define, frozen
from botocore.exceptions import ClientError

from csv2kafka.aws.client import AwsClient, code_of, not_aws
from csv2kafka.errors import ConfigError, Csv2KafkaError, SourceChanged
from csv2kafka.model import SourceObject
from csv2kafka.sources.s3_errors import CHANGED, MISSING, arn
from csv2kafka.sources.s3_pin import Described
from csv2kafka.sources.s3_settings import S3Settings
from csv2kafka.sources.s3_urls import S3Url, parse

AT_ONCE = 8
PARTS_AT_ONCE = 4
COPY_LIMIT = 1 << 30  # S3 copies up to 5 GiB with one request, but answers that late
PART_BYTES = 256 << 20
MOST_PARTS = 10_000
MOST_TAGS = 10
TAG = ("csv2kafka", "done")
NOWHERE = S3Url("", "")
AFTER_HINT = "load what is there now with --restart, or as another job with --job"
EXPECTED = "expected tag, tag:KEY=VALUE, move:s3://BUCKET/PREFIX/ or delete"
KEPT_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
    "SSEKMSKeyId",
    "ServerSideEncryption",
    "StorageClass",
)
# What S3's answers never lack, and what one without it has not done. A 200 with nothing in it, or with something else,
# is a proxy's, or of a server that only seems to speak S3: believed, it would cost the only copy of an object.
PROOFS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "complete_multipart_upload": (("ETag",), "it copied nothing"),
    "copy_object": (("CopyObjectResult", "ETag"), "it copied nothing"),
    "create_multipart_upload": (("UploadId",), "it began no upload"),
    "get_object_tagging": (("TagSet",), "it says nothing of tags"),
    "head_object": (("ETag",), "it gives the object no ETag"),
    "upload_part_copy": (("CopyPartResult", "ETag"), "it copied nothing"),
}

_TAG = re.compile(r"(?!aws:)([\w\s+\-.:/@]{1,128})=([\w\s+\-=.:/@]{0,256})")  # S3's letters and lengths


@frozen
class After:
    """What is asked for. ``tag``: key and value. ``target``: where to move to."""

    kind: Literal["tag", "move", "delete"]
    tag: tuple[str, str] = TAG
    target: S3Url = NOWHERE


def parse_after(after: str) -> After:
    """ValueError says what was expected."""
    kind, colon, rest = after.partition(":")
    if after == "delete":
        return After("delete")
    if after == "tag":
        return After("tag")
    if kind == "tag" and (match := _TAG.fullmatch(rest)):
        return After("tag", tag=(match[1], match[2]))
    if kind == "move" and colon:
        target = parse(rest)
        if target.is_prefix:
            return After("move", target=target)
    raise ValueError(EXPECTED)


def check_after(urls: Sequence[str], after: str) -> None:
    """ConfigError where ``after`` is wrong, or would move objects to where the sources ``urls`` find them again."""
    label = "--after"
    try:
        asked = parse_after(after)
    except ValueError:
        raise ConfigError(f"{label}: {EXPECTED}, found {after!r}") from None
    problems = []
    for text in urls:
        try:
            url = parse(text)
        except ValueError as error:
            problems.append(f"{label}: is for sources in S3: {error}, found {text!r}")
            continue
        if asked.kind == "move" and _finds_again(url, asked.target):
            problems.append(f"{label}: expected a prefix that the source {text!r} does not read, found {after!r}")
    if problems:
        raise ConfigError(*problems)


def _finds_again(url: S3Url, target: S3Url) -> bool:
    if url.bucket != target.bucket:
        return False
    if not url.is_prefix and not url.is_glob:
        return target.key + _name(url.key) == url.key
    into_itself = target.key.startswith(url.fixed) or target.key == url.folder
    return into_itself or ("**" in url.key and url.folder.startswith(target.key))


def targets(urls: Sequence[S3Url], objects: Sequence[S3Url], prefix: S3Url) -> dict[S3Url, S3Url]:
    """Where each object goes: under the name that it has below its source's folder. ConfigError for equal names."""
    found: dict[S3Url, S3Url] = {}
    for obj in objects:
        folders = [url.folder for url in urls if url.bucket == obj.bucket and obj.key.startswith(url.folder)]
        found[obj] = S3Url(prefix.bucket, prefix.key + obj.key.removeprefix(max(folders, key=len, default="")))
    twice = {target for target, count in Counter(found.values()).items() if count > 1}
    if twice:
        raise ConfigError(
            *(
                f"--after: {' and '.join(str(o) for o in found if found[o] == target)} would both become {target}"
                for target in sorted(twice, key=str)
            ),
            hint="load them as jobs of their own",
        )
    if over := {obj: target for obj, target in found.items() if target in found}:
        raise ConfigError(
            *(
                f"--after: {obj} would be moved over {target}, which is of the source too"
                for obj, target in over.items()
            ),
            hint="move them elsewhere, or load them as jobs of their own",
        )
    return found


def _name(key: str) -> str:
    return key[key.rfind("/") + 1 :]


Describe = Callable[[S3Url], Awaitable[Described | None]]
"""The object as it is now; None if it is not there."""


async def finish(
    client: AwsClient,
    settings: S3Settings,
    describe: Describe,
    urls: Sequence[S3Url],
    objects: Sequence[SourceObject],
    after: str,
    *,
    copy_limit: int = COPY_LIMIT,
    part_bytes: int = PART_BYTES,
) -> None:
    """Do it for all ``objects``, then raise what went wrong with any: SourceChanged, NotAuthorized, ConfigError;
    Doubt if some could not be done now. ``copy_limit``: bytes above which an object is copied in parts."""
    check_after([str(url) for url in urls], after)
    asked = parse_after(after)
    places = {parse(obj.uri): obj for obj in objects}
    work = _Finishing(
        client=client,
        settings=settings,
        describe=describe,
        after=asked,
        targets=targets(urls, list(places), asked.target) if asked.kind == "move" else {},
        copy_limit=copy_limit,
        part_bytes=part_bytes,
    )
    few = asyncio.Semaphore(AT_ONCE)

    async def one(url: S3Url, obj: SourceObject) -> None:
        async with few:
            await work.one(url, obj)

    results = await asyncio.gather(*(one(url, obj) for url, obj in places.items()), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    told = [error for error in errors if isinstance(error, Csv2KafkaError) and not error.retryable]
    for error in errors:
        if error not in told:
            raise error
    if len(told) > 1 and all(isinstance(error, SourceChanged) for error in told):
        raise SourceChanged("\n".join(error.message for error in told), hint=AFTER_HINT)
    if told:
        raise told[0] if len(told) == 1 else ConfigError(*map(str, told))


@define(kw_only=True, eq=False)
class _Finishing:
    client: AwsClient
    settings: S3Settings
    describe: Describe
    after: After
    targets: Mapping[S3Url, S3Url]
    copy_limit: int
    part_bytes: int

    async def one(self, url: S3Url, obj: SourceObject) -> None:
        """SourceChanged if the latest version is not the job's; nothing if there is none any more."""
        now = await self.describe(url)
        if now is None:
            return
        if str(now.pin) != obj.version:
            raise _left_alone(obj, str(now.pin))
        try:
            if self.after.kind == "tag":
                await self._tag(url, now)
                return
            if self.after.kind == "move":
                await self._copy(url, now, self.targets[url])
            await self._delete(url, now)
        except ClientError as error:
            if code_of(error) in MISSING:
                return
            raise _left_alone(obj, "another") from error

    async def _tag(self, url: S3Url, now: Described) -> None:
        key, value = self.after.tag
        version = {"VersionId": now.version_id} if now.version_id else {}
        of_version = "Version" if now.version_id else ""
        found = await self._tags(url, f"s3:GetObject{of_version}Tagging", **version)
        tags = [*(tag for tag in found if tag["Key"] != key), {"Key": key, "Value": value}]
        if len(tags) > MOST_TAGS:
            raise ConfigError(
                f"--after: {url} has {MOST_TAGS} tags already, as many as S3 allows: {key} is one too many"
            )
        if tags[-1] not in found:
            action = f"s3:PutObject{of_version}Tagging"
            await self._ask("put_object_tagging", url, action, Tagging={"TagSet": tags}, **version)

    async def _tags(self, url: S3Url, action: str, **version: str) -> list[dict[str, str]]:
        answer = await self._ask("get_object_tagging", url, action, **version)
        tags: list[dict[str, str]] = answer["TagSet"]
        if not all("Key" in tag and "Value" in tag for tag in tags):
            raise not_aws(f"--after: {url}", "it gives a tag without key or value")
        return tags

    async def _delete(self, url: S3Url, now: Described) -> None:
        """Only if it is still that version: S3 compares, where it can; a moment ago it was."""
        try:
            await self._ask("delete_object", url, "s3:DeleteObject", {"NotImplemented"}, IfMatch=now.etag)
        except ClientError as error:
            if code_of(error) != "NotImplemented":  # some servers that speak S3
                raise
            await self._ask("delete_object", url, "s3:DeleteObject")

    async def _copy(self, url: S3Url, now: Described, target: S3Url) -> None:
        source = {
            "CopySource": {"Bucket": url.bucket, "Key": url.key}
            | ({"VersionId": now.version_id} if now.version_id else {}),
            "CopySourceIfMatch": now.etag,
        }
        if owner := self.settings.of_requests.get("ExpectedBucketOwner"):
            source["ExpectedSourceBucketOwner"] = owner
        source |= {f"CopySource{name}": value for name, value in self.settings.of_content.items()}
        if now.size <= self.copy_limit:
            await self._ask(
                "copy_object",
                target,
                "s3:PutObject",
                doing=f"copying {url} to {target}",
                **source,
                **self.settings.of_content,
            )
        else:
            await self._copy_parts(url, now, target, source)

    async def _copy_parts(self, url: S3Url, now: Described, target: S3Url, source: Mapping[str, Any]) -> None:
        """What ``copy_object`` keeps of an object has to be named here."""
        doing = f"copying {url} to {target}"
        secret = self.settings.of_content
        version = {"VersionId": now.version_id} if now.version_id else {}
        head = await self._ask("head_object", url, "s3:GetObject", **version, **secret)
        kept = {name: head[name] for name in KEPT_HEADERS if name in head}
        if tags := await self._tags(url, "s3:GetObjectTagging", **version):
            kept["Tagging"] = urlencode({tag["Key"]: tag["Value"] for tag in tags})
        upload = await self._ask("create_multipart_upload", target, "s3:PutObject", doing=doing, **kept, **secret)
        its = {"UploadId": upload["UploadId"]}
        size = max(self.part_bytes, -(-now.size // MOST_PARTS))
        few = asyncio.Semaphore(PARTS_AT_ONCE)

        async def part(number: int, first: int) -> dict[str, Any]:
            span = f"bytes={first}-{min(first + size, now.size) - 1}"
            async with few:
                answer = await self._ask(
                    "upload_part_copy",
                    target,
                    "s3:PutObject",
                    doing=doing,
                    PartNumber=number,
                    CopySourceRange=span,
                    **its,
                    **source,
                    **secret,
                )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part(*each)) for each in enumerate(range(0, now.size, size), 1)]
            parts = [task.result() for task in tasks]
            await self._ask(
                "complete_multipart_upload",
                target,
                "s3:PutObject",
                doing=doing,
                MultipartUpload={"Parts": parts},
                **its,
            )
        except BaseException as error:
            with suppress(Csv2KafkaError, ClientError):  # parts that nobody completes cost money until they are deleted
                await self._ask("abort_multipart_upload", target, "s3:AbortMultipartUpload", doing=doing, **its)
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise

    async def _ask(
        self,
        operation: str,
        url: S3Url,
        action: str,
        passing: Collection[str] = (),
        *,
        doing: str = "",
        **parameters: Any,
    ) -> Any:
        """The answer, with what ``PROOFS`` wants of it, or NotReachable. ClientError where the object is gone or has
        changed; else errors that name the permission."""
        doing = f"--after: {doing or url}"
        answer = await self.client.call(
            operation,
            doing=doing,
            action=action,
            resource=arn(url),
            passing=MISSING | CHANGED | set(passing),
            Bucket=url.bucket,
            Key=url.key,
            **self.settings.of_requests,
            **parameters,
        )
        names, lacking = PROOFS.get(operation, ((), ""))
        found: Any = answer
        for name in names:
            found = found.get(name) if found else None
        if found in (None, ""):
            raise not_aws(doing, lacking)
        return answer


def _left_alone(obj: SourceObject, found: str) -> SourceChanged:
    return SourceChanged(
        f"{obj.uri}: every row is loaded, but it has changed since, and stays as it is\n"
        f"  expected {obj.version}\n  found    {found}",
        hint=AFTER_HINT,
    )
