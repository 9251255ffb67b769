"""Files at http:// and https:// addresses, by ranges: several on the way at once, taken up again where they break.

Each is pinned by its strong ETag, else by its modification time and size. The pin goes with every request (If-Match,
If-Unmodified-Since), and is compared with what every answer says, since not every server heeds it. A server that
gives neither, or no ranges, is refused: such a job could not go on after a stop.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from yarl import URL

from csv2kafka.errors import (
    ConfigError,
    Csv2KafkaError,
    Doubt,
    NotAuthorized,
    NotReachable,
    SourceChanged,
    StateContradiction,
)
from csv2kafka.model import SourceObject
from csv2kafka.sources.ranges import RangeSettings, Read, read_ranges

CONNECT_SECONDS = 10.0
EXPECTED = "expected an address such as https://example.org/orders.csv"
CHANGED_HINT = "put that version back, or begin anew with --restart, or as another job with --job"
OTHER_WAY = "fetch it into a file first, or pipe it: curl … | csv2kafka run -"

# Parts of a query that let somebody in, of S3, CloudFront, Google and Azure among them: neither shown nor kept, and
# a job whose link was signed anew is the same job.
_SECRET = re.compile(
    r"x-(amz|goog)-.*|.*(signature|token|secret|password|passwd|credential|api[-_]?key).*|auth.*|key-pair-id|policy|expires"
    r"|awsaccesskeyid|googleaccessid|sig|se|sp|sr|sv|st|spr|sip|sks|ske|skt|skv|skoid|sktid",
    re.IGNORECASE,
)
_PASSING = frozenset({408, 425, 429})
_MISSING = frozenset({404, 410})
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")


class _NotThere(ConfigError):
    """The server says that there is no such file."""


class HttpSource:
    """The files at ``urls``, in the order given. Redirects are followed, proxies are those of the environment.

    Memory: 4 ranges of 8 MiB, and a block or two. A user and password in an address, and the signed parts of a
    query, are used but are no part of ``uri``.
    """

    def __init__(self, *urls: str, draw: Callable[[], float] = random.random) -> None:
        self._urls: dict[str, URL] = {}  # by what is shown of them
        problems: list[str] = [] if urls else ["SOURCE: no address is given"]
        for url in urls:
            try:
                shown, asked = _shown(url), URL(url, encoded=url.isascii() and " " not in url)
            except ValueError:
                problems.append(f"SOURCE: {EXPECTED}, found one that is none")
                continue
            if shown in self._urls:
                problems.append(f"SOURCE {shown!r}: is given twice")
            self._urls[shown] = asked
        if problems:
            raise ConfigError(*problems)
        self._ranges = RangeSettings(draw=draw)
        self._session: aiohttp.ClientSession | None = None

    @property
    def uri(self) -> str:
        """What was asked for, without secrets; several separated by spaces."""
        return " ".join(self._urls)

    def names(self, uri: str) -> bool:
        """Whether the object, which may be gone, is one of those that were asked for."""
        return uri in self._urls

    async def objects(self) -> AsyncIterator[SourceObject]:
        """The files, pinned. ConfigError names all that is wrong; Doubt where a server cannot answer now."""
        found: list[SourceObject] = []
        problems: list[ConfigError] = []
        for shown in self._urls:
            try:
                found.append(await self._described(shown))
            except ConfigError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise ConfigError(*map(str, problems))
        for obj in found:
            yield obj

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        """Blocks of 1 to 4 MiB from ``offset`` on.

        Raises SourceChanged where that version is no longer there, at the end at the latest; NotAuthorized; Doubt
        when a range could not be had after some attempts.
        """
        if obj.size is None or offset > obj.size:
            raise StateContradiction(
                f"{obj.uri}: asked to go on at byte {offset}, but it has {obj.size}",
                hint="the checkpoint is not of this file: --restart begins at row 0",
            )

        def opening(first: int, end: int) -> AbstractAsyncContextManager[Read]:
            return self._opened(obj, first, end)

        blocks = read_ranges(opening, offset, obj.size, of=f"reading {obj.uri}", settings=self._ranges)
        async with aclosing(blocks):
            async for block in blocks:
                yield block
        await self._look(obj)

    async def confirm(self, obj: SourceObject) -> None:
        """SourceChanged if it is no longer that version. An answer that began with that version's ETag may go on with
        another's bytes, where a file is overwritten in place while it is sent."""
        await self._look(obj)

    async def close(self) -> None:
        """Give back connections; the next use opens others."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _look(self, obj: SourceObject) -> None:
        """SourceChanged unless that version is there."""
        try:
            found = await self._described(obj.uri)
        except _NotThere as error:
            raise _gone(obj) from error
        if found != obj:
            raise _changed(obj, f"{found.version} of {found.size} bytes")

    async def _described(self, uri: str) -> SourceObject:
        """The file as it is now, by a request for its first byte (a signed link is often for GET only)."""
        async with self._asked(uri, {"Range": "bytes=0-0"}, f"SOURCE {uri!r}", passing={416}) as answer:
            if answer.status != 416:
                return await _pinned(uri, answer)
        async with self._asked(uri, {}, f"SOURCE {uri!r}") as answer:  # nothing is in it; but what is its version?
            return await _pinned(uri, answer)

    @asynccontextmanager
    async def _opened(self, obj: SourceObject, first: int, end: int) -> AsyncIterator[Read]:
        doing = f"reading {obj.uri}"
        headers = {"Range": f"bytes={first}-{end - 1}", **_condition(obj.version)}
        async with self._asked(obj.uri, headers, doing, passing={*_MISSING, 412, 416}) as answer:
            if answer.status in _MISSING:
                raise _gone(obj)
            if answer.status in (412, 416):
                await self._look(obj)
                raise Doubt(f"{doing}: the server answered {answer.status}, but that version is there")
            found = _version(answer.headers)
            if found != obj.version:
                raise _changed(obj, found or "one without ETag and Last-Modified")
            span, expected = answer.headers.get("Content-Range"), f"bytes {first}-{end - 1}/{obj.size}"
            if span != expected:
                raise Doubt(f"{doing}: expected the range {expected}, found {span or 'an answer without one'}")
            yield answer.content.read

    @asynccontextmanager
    async def _asked(
        self, uri: str, headers: Mapping[str, str], doing: str, passing: Collection[int] = ()
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer to a GET; every failure, also amid the body, is raised as this package's error."""
        if uri not in self._urls:
            raise StateContradiction(
                f"{uri}: it is not among the sources given", hint="the checkpoint is of another job: see --job"
            )
        try:
            async with self._opened_session().get(self._urls[uri], headers=headers) as answer:
                if not 200 <= answer.status < 300 and answer.status not in passing:
                    raise _refusal(answer.status, answer.reason or "", doing)
                yield answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotReachable(f"{doing}: {_told(error)}", hint="see that the address is right") from error
        except (aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
            raise ConfigError(f"{doing}: {type(error).__name__}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Doubt(f"{doing}: {_told(error)}") from error

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,  # the object's own bytes; decoding knows what to do with them
                headers={"Accept-Encoding": "identity", "User-Agent": "csv2kafka"},
                timeout=aiohttp.ClientTimeout(
                    sock_connect=CONNECT_SECONDS, sock_read=self._ranges.stall_seconds, total=None
                ),
                trust_env=True,
            )
        return self._session


def _shown(url: str) -> str:
    """The address without user, password, fragment and what is secret in its query. ValueError if it is none."""
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ValueError(url)
    pieces = parts.query.split("&")
    query = "&".join(piece for piece in pieces if not _SECRET.fullmatch(piece.partition("=")[0]))
    return urlunsplit((parts.scheme.lower(), parts.netloc.rpartition("@")[2], parts.path or "/", query, ""))


async def _pinned(uri: str, answer: aiohttp.ClientResponse) -> SourceObject:
    """From the answer to a request for the first byte. ConfigError where it says too little."""
    span = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == 206 and span:
        size = int(span[3])
    elif answer.content_length == 0:
        size = 0
    else:
        raise ConfigError(
            f"SOURCE {uri!r}: the server gives no ranges, which a run needs to go on after a stop", hint=OTHER_WAY
        )
    version = _version(answer.headers)
    if version is None:
        raise ConfigError(
            f"SOURCE {uri!r}: the server gives neither a strong ETag nor Last-Modified, so that a change could not be "
            "seen",
            hint=OTHER_WAY,
        )
    # To its end, so that the connection can be used again; but not if it has none.
    if await answer.content.read(1) and await answer.content.read(1):
        raise ConfigError(f"SOURCE {uri!r}: asked for its first byte, the server sends more", hint=OTHER_WAY)
    return SourceObject(uri=uri, size=size, version=version)


def _version(headers: Mapping[str, str]) -> str | None:
    """``etag="…"`` or ``last-modified=…``; None without either."""
    etag = headers.get("ETag", "")
    if etag.startswith('"'):  # a weak one (W/"…") says only that the meaning is the same
        return f"etag={etag}"
    modified = headers.get("Last-Modified")
    return f"last-modified={modified}" if modified else None


def _condition(version: str) -> dict[str, str]:
    kind, _, value = version.partition("=")
    return {"If-Match" if kind == "etag" else "If-Unmodified-Since": value}


def _refusal(status: int, reason: str, doing: str) -> Csv2KafkaError:
    told = f"{doing}: the server answered {status} {reason}".rstrip()
    if status in _PASSING or status >= 500:
        return Doubt(told)
    if status in (401, 403, 407):
        return NotAuthorized(told, hint="a signed link may have expired: make it anew and run the same command again")
    return (_NotThere if status in _MISSING else ConfigError)(told)


def _told(error: BaseException) -> str:
    """Without the address, in which a password may stand."""
    text = error.message if isinstance(error, aiohttp.ClientResponseError) else " ".join(str(error).split())
    return text or type(error).__name__


def _gone(obj: SourceObject) -> SourceChanged:
    return SourceChanged(f"{obj.uri}: it is gone; this job began with {obj.version}", hint=CHANGED_HINT)


def _changed(obj: SourceObject, found: str) -> SourceChanged:
    return SourceChanged(
        f"{obj.uri}: it is no longer the version this job began with\n"
        f"  expected {obj.version} of {obj.size} bytes\n  found    {found}",
        hint=CHANGED_HINT,
    )
