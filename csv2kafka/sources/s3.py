"""Objects in S3: a key, a prefix, a glob of keys, or several of them, one after another in the order given.

Each object is pinned by its VersionId where the bucket keeps versions, else by its ETag, which goes with every read
as If-Match. So what is read is the version the job began with, or the read is refused: of a version that was
replaced the rest can still be read, of an object that is not versioned nothing more. Ranges that break are taken up
again at the byte where they broke (``ranges``).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any

from botocore.exceptions import ClientError

from csv2kafka.aws.client import EXPIRED, FAILURES, code_of, not_aws
from csv2kafka.aws.listing import keys_of, next_page
from csv2kafka.errors import ConfigError, Doubt, SourceChanged, StateContradiction
from csv2kafka.model import SourceObject
from csv2kafka.sources.ranges import RangeSettings, Read, read_ranges
from csv2kafka.sources.s3_errors import (
    CHANGED,
    MISSING,
    NO_RANGE,
    REFUSED,
    all_of,
    changed,
    client_for,
    gone,
    not_that,
    told,
)
from csv2kafka.sources.s3_pin import Described, Pin
from csv2kafka.sources.s3_settings import not_one, s3_settings
from csv2kafka.sources.s3_urls import S3Url, in_order, named_by, parse

PINNED_AT_ONCE = 16
MOST_OBJECTS = 1_000_000  # of one URL; each is asked for, and stands in the job's list, which has a bound of its own
NAMELESS = "it gives an object no ETag, or no length"
_FIRST_BYTE = re.compile(r"bytes 0-0/([0-9]{1,18})")


class S3Source:
    """The objects that ``urls`` name; ``options`` as in ``s3_settings.OPTIONS``.

    ``s3://BUCKET/PREFIX/`` gives the objects directly under it, those excepted whose names begin with ``.`` or
    ``_``. A glob gives the keys it matches (``**`` for any depth). Both in natural order: ``part-2.csv`` before
    ``part-10.csv``. A key that exists is taken as it stands, even with ``*`` or ``[`` in it. With ``version_id`` or
    ``if_match`` that version of the one object is read, or none. Memory: ``parallel`` ranges of ``range_bytes``
    (4 × 8 MiB), and a block or two.
    """

    def __init__(self, *urls: str, draw: Callable[[], float] = random.random, **options: Any) -> None:
        self._urls: list[S3Url] = []
        problems: list[str] = [] if urls else ["SOURCE: no object is named"]
        for url in urls:
            try:
                self._urls.append(parse(url))
            except ValueError as error:
                problems.append(f"SOURCE {url!r}: {error}")
        try:
            self._settings = s3_settings(options)
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            problems.extend(not_one(self._urls, self._settings))
        if problems:
            raise ConfigError(*problems)
        values = self._settings.values
        self._ranges = RangeSettings(
            range_bytes=values["range_bytes"],
            parallel=values["parallel"],
            attempts=values["max_attempts"],
            stall_seconds=values["read_timeout"],
            draw=draw,
        )
        self._client = client_for(self._settings)
        self._used: Any = None  # the client that was opened last
        self._proved: set[SourceObject] = set()

    @property
    def uri(self) -> str:
        """What was asked for; several separated by spaces."""
        return " ".join(map(str, self._urls))

    def names(self, uri: str) -> bool:
        """Whether the object, which may be gone, is one of those that were asked for."""
        try:
            url = parse(uri)
        except ValueError:
            return False
        several = [asked for asked in self._urls if asked.bucket == url.bucket and (asked.is_prefix or asked.is_glob)]
        return url in self._urls or any(named_by(asked, [url.key]) for asked in several)

    async def objects(self) -> AsyncIterator[SourceObject]:
        """The objects in reading order. ConfigError names all that is wrong; Doubt where S3 cannot answer now."""
        few = asyncio.Semaphore(PINNED_AT_ONCE)
        named = await all_of([self._found(url, few) for url in self._urls])
        found: dict[SourceObject, S3Url] = {}
        twice: list[str] = []
        for asked, objects in zip(self._urls, named, strict=True):
            for obj in objects:
                if obj in found:
                    already = f"{obj.uri} is in {str(found[obj])!r} already, and would come twice"
                    twice.append(f"SOURCE {str(asked)!r}: {already}")
                found[obj] = asked
        if twice:
            raise ConfigError(*twice)
        for obj in found:
            yield obj

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        """Blocks of 1 to 4 MiB from ``offset`` on, by ranges, several on their way at once.

        Raises SourceChanged where S3 no longer has that version, at the end at the latest; NotAuthorized; Doubt when
        a range could not be had after some attempts.
        """
        if obj.size is None or offset > obj.size:
            raise StateContradiction(
                f"{obj.uri}: asked to go on at byte {offset}, but it has {obj.size}",
                hint="the checkpoint is not of this object: --restart begins at row 0",
            )

        def opening(first: int, end: int) -> AbstractAsyncContextManager[Read]:
            return self._opened(obj, first, end)

        blocks = read_ranges(opening, offset, obj.size, of=f"reading {obj.uri}", settings=self._ranges)
        async with aclosing(blocks):
            async for block in blocks:
                yield block
        await self._look(obj)

    async def confirm(self, obj: SourceObject) -> None:
        """SourceChanged if it is no longer that version. Asks nothing where a read was answered: S3 compared."""
        if obj not in self._proved:
            await self._look(obj)

    async def finish(self, objects: Sequence[SourceObject], after: str) -> None:
        """What ``--after`` asks for; see ``s3_after.finish``."""
        from csv2kafka.sources import s3_after  # late, because few runs ask for it

        async def describe(url: S3Url) -> Described | None:
            try:
                return await self._described(url, "s3:GetObject", MISSING)
            except ClientError:
                return None

        await s3_after.finish(self._client, self._settings, describe, self._urls, objects, after)

    async def close(self) -> None:
        """Give back connections; the next use opens others."""
        await self._client.close()

    async def _found(self, url: S3Url, few: asyncio.Semaphore) -> list[SourceObject]:
        return await all_of([self._pinned(key, few) for key in await self._keys(url)])

    async def _keys(self, url: S3Url) -> list[S3Url]:
        """The keys that one of the URLs names. With a version named it is a key as it stands."""
        if self._settings.exact:
            return [url]
        if not url.is_prefix and (not url.is_glob or await self._is_there(url)):
            return [url]
        found: list[str] = []
        more: dict[str, str] = {} if url.is_glob else {"Delimiter": "/"}
        while True:
            page = await self._ask("list_objects_v2", url, "s3:ListBucket", Prefix=url.fixed, **more)
            found.extend(named_by(url, keys_of(page, f"SOURCE {str(url)!r}")))
            if len(found) > MOST_OBJECTS:
                raise ConfigError(
                    f"SOURCE {str(url)!r}: names more than {MOST_OBJECTS:,} objects",
                    hint="name fewer of them at a time: a longer prefix, or a narrower pattern",
                )
            if not page.get("IsTruncated"):
                break
            more["ContinuationToken"] = next_page(page, more, f"SOURCE {str(url)!r}")
        if found:
            return [S3Url(url.bucket, key) for key in in_order(found)]
        if url.is_glob:
            raise ConfigError(f"SOURCE {str(url)!r}: no key matches")
        below = bool(page.get("CommonPrefixes"))
        raise ConfigError(
            f"SOURCE {str(url)!r}: no objects are directly under it"
            + (f" (what is deeper is not looked into: {url}**/*.csv would)" if below else "")
        )

    async def _is_there(self, url: S3Url) -> bool:
        try:
            await self._described(url, "s3:GetObject", passing=MISSING | REFUSED)
        except ClientError:
            return False  # or it may not be asked for; the listing tells
        return True

    async def _pinned(self, url: S3Url, few: asyncio.Semaphore) -> SourceObject:
        """The object as it is now, or that version of it. ConfigError if it is not there or cannot be read;
        SourceChanged if it is no more what was named."""
        exact = self._settings.exact
        action = "s3:GetObjectVersion" if "VersionId" in exact else "s3:GetObject"
        async with few:
            try:
                said = await self._described(url, action, MISSING | CHANGED, **exact)
            except ClientError as error:
                if exact:
                    raise await self._other(url, exact) from error
                raise ConfigError(f"SOURCE {str(url)!r}: no such object{await self._meant(url)}") from error
        return SourceObject(uri=str(url), size=said.size, version=str(said.pin))

    async def _other(self, url: S3Url, exact: Mapping[str, str]) -> SourceChanged:
        """What to say where the version that was named is not there."""
        try:
            found = str((await self._described(url, "s3:GetObject", MISSING)).pin)
        except ClientError:
            found = "nothing"
        return not_that(str(url), exact, found)

    async def _meant(self, url: S3Url) -> str:
        """What else there is where an object is not: ``; …`` or nothing."""
        try:
            page = await self._ask("list_objects_v2", url, "s3:ListBucket", Prefix=f"{url.key}/", MaxKeys=1)
        except ConfigError:
            return ""
        return f"; did you mean what is under {url}/?" if page.get("Contents") else ""

    async def _described(self, url: S3Url, action: str, passing: Collection[str] = (), **version: str) -> Described:
        """The object's version and size, from its first byte: unlike to a HEAD, S3 answers why it refuses."""
        try:
            answer = await self._ask(
                "get_object",
                url,
                action,
                passing=NO_RANGE | frozenset(passing),
                Key=url.key,
                Range="bytes=0-0",
                **version,
                **self._settings.of_content,
            )
            # The byte itself is not wanted, but a body that was read leaves its connection. Another may be endless.
            async with answer["Body"] as body:
                with suppress(*FAILURES):
                    if await body.read(2):
                        await body.read(1)
            size = _size(url, answer)
        except ClientError as error:
            if code_of(error) not in NO_RANGE:
                raise
            answer = await self._ask(
                "head_object", url, action, passing=passing, Key=url.key, **version, **self._settings.of_content
            )
            size = answer.get("ContentLength", -1)
            if "ETag" not in answer or size < 0:
                raise not_aws(f"SOURCE {str(url)!r}", NAMELESS) from None
        version_id = answer.get("VersionId", "null")  # what was put before versions were kept has "null"
        return Described(size=size, etag=answer["ETag"], version_id="" if version_id == "null" else version_id)

    async def _look(self, obj: SourceObject) -> None:
        """SourceChanged unless the pinned version is there."""
        url, pin = parse(obj.uri), Pin.of(obj.version)
        try:
            if pin.version_id:
                await self._described(url, pin.action, MISSING, VersionId=pin.version_id)
                return
            said = await self._described(url, pin.action, MISSING)
        except ClientError as error:
            raise gone(obj.uri, obj.version) from error
        if said.etag != pin.etag:
            raise changed(obj.uri, obj.version, str(said.pin))

    @asynccontextmanager
    async def _opened(self, obj: SourceObject, first: int, end: int) -> AsyncIterator[Read]:
        """A range's body. Every failure, also amid the body, is raised as this package's error."""
        url, pin, doing = parse(obj.uri), Pin.of(obj.version), f"reading {obj.uri}"
        try:
            answer = await self._ask(
                "get_object",
                url,
                pin.action,
                passing=CHANGED | MISSING | NO_RANGE,
                doing=doing,
                Key=url.key,
                Range=f"bytes={first}-{end - 1}",
                **pin.parameters,
                **self._settings.of_content,
            )
            found, expected = answer.get("ContentRange"), f"bytes {first}-{end - 1}/{obj.size}"
            try:
                if found != expected:
                    raise Doubt(f"{doing}: expected the range {expected}, found {found or 'an answer without one'}")
                self._proved.add(obj)
                yield answer["Body"].read
            finally:
                answer["Body"].close()
        except ClientError as error:
            await self._look(obj)
            raise Doubt(f"{doing}: S3 answered {code_of(error)}, but that version is there") from error
        except FAILURES as error:
            raise told(error, url, pin.action, doing) from error

    async def _ask(
        self,
        operation: str,
        url: S3Url,
        action: str,
        *,
        doing: str = "",
        passing: Collection[str] = (),
        **parameters: Any,
    ) -> Any:
        """The answer, or an error that says what was done (``SOURCE …``) and the permission that is missing."""
        client: Any = None
        try:
            client = self._used = await self._client.raw()
            return await getattr(client, operation)(Bucket=url.bucket, **self._settings.of_requests, **parameters)
        except FAILURES as error:
            if isinstance(error, ClientError) and code_of(error) in passing:
                raise
            if isinstance(error, ClientError) and code_of(error) in EXPIRED and client is self._used:
                self._used = None  # only one of the ranges that are refused together does this
                await self._client.close()  # the next finds credentials anew: those in files may have been renewed
            raise told(error, url, action, doing or f"SOURCE {str(url)!r}") from error


def _size(url: S3Url, answer: Mapping[str, Any]) -> int:
    """The object's, from the answer to a request for its first byte."""
    if "ETag" not in answer:
        raise not_aws(f"SOURCE {str(url)!r}", NAMELESS)
    if "ContentRange" in answer:
        match = _FIRST_BYTE.fullmatch(answer["ContentRange"])
        if match is None:
            raise not_aws(f"SOURCE {str(url)!r}", f"for its first byte it gives the range {answer['ContentRange']!r}")
        return int(match[1])
    if answer.get("ContentLength", -1):
        raise ConfigError(f"SOURCE {str(url)!r}: the server gives no ranges, which a run needs to go on after a stop")
    return 0
