"""How AWS is asked over HTTP: what may answer in its place (a proxy, a login page, another host) is not believed.

- No redirect is followed. aiohttp would, and would carry session tokens and customers' keys to the other host. A bucket
  of another region is botocore's to find, by the region that S3 names.
- An answer that is held as a whole has a bound in bytes and one in time: longer where much is sent, where time-outs are
  long, and where S3 copies by itself, which can take minutes, while it sends spaces (CompleteMultipartUpload).
- What is taken for XML has no document type: entities that grow are made with one, and S3 never sends one.
- What is taken for JSON is an object of it, as whole as its sum says. botocore takes anything else for an answer in
  which nothing stands: a checkpoint that was there would not be.

Credentials of STS are asked for in this way too; an instance's or a task's own metadata is not.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

MOST_BYTES = 32 << 20  # a page of a thousand keys of 1,024 bytes, or a MiB of items, is a tenth of it
MOST_SECONDS = 60.0  # for the request and an answer's head, and again for a body that is held
COPYING_SECONDS = 900.0  # the same, where S3 copies up to 5 GiB
SENT_A_SECOND = 256 << 10  # bytes; slower is no connection
PIECE_BYTES = 64 << 10
REDIRECTS = frozenset({301, 302, 307})
REGION = "x-amz-bucket-region"

_DOCUMENT_TYPE = re.compile(rb"<!doctype|<\s*html", re.IGNORECASE)
_OTHER_UNICODE = (b"\xff\xfe", b"\xfe\xff", b"\0<", b"<\0")


class NoAnswer(Exception):
    """What came is none of AWS."""


class Session(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's, with these rules; for ``http_session_cls``."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _Asked(await super()._get_session(proxy_url), self._timeout)


class _Asked:
    """aiohttp's session, as aiobotocore asks it."""

    def __init__(self, session: aiohttp.ClientSession, timeout: aiohttp.ClientTimeout) -> None:
        self._session = session
        self._silent_seconds = (timeout.sock_connect or 0.0) + (timeout.sock_read or 0.0)

    async def request(self, method: str, *, url: Any, headers: Any, data: Any, **arguments: Any) -> Any:
        copies = "x-amz-copy-source" in headers or (method == "POST" and "uploadId" in str(url))
        sent = len(data) if isinstance(data, (bytes, bytearray)) else 0
        patience = max(COPYING_SECONDS if copies else MOST_SECONDS, self._silent_seconds) + sent / SENT_A_SECOND
        async with asyncio.timeout(patience):  # a server can go on saying that it has heard (100 Continue)
            response = await self._session.request(
                method, url=url, headers=headers, data=data, allow_redirects=False, **arguments
            )
        # botocore asks a HEAD for the region, and when that is sent elsewhere too, another, until its stack is full.
        if method == "HEAD" and response.status in REDIRECTS and REGION not in response.headers:
            response.close()
            raise NoAnswer(f"HTTP {response.status}, a redirect without a region, which is not followed")
        return _Response(response, is_json="X-Amz-Target" in headers, patience=patience)


class _Response:
    """aiohttp's response; ``read`` is what aiobotocore calls for all but the bodies of objects."""

    def __init__(self, response: aiohttp.ClientResponse, *, is_json: bool, patience: float) -> None:
        self._response = response
        self._is_json = is_json
        self._patience = patience

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    async def read(self) -> bytes:
        """The whole body. NoAnswer where it is none of AWS; empty then if the status says that it may pass (5xx)."""
        status = self._response.status
        try:
            body = await self._bounded()
            if _is_page(body):
                raise NoAnswer(f"HTTP {status} with a page for people ({self._response.content_type})")
            if self._is_json and status < 300:
                self._check_json(body)
        except NoAnswer:
            if status < 500:
                raise
            return b""  # S3 has such pages when it is overloaded
        return body

    async def _bounded(self) -> bytes:
        try:
            async with asyncio.timeout(self._patience) as patience:
                body = await held(self._response.content.read, MOST_BYTES)
            if len(body) > MOST_BYTES:
                raise NoAnswer(f"HTTP {self._response.status} with more than {MOST_BYTES:,} bytes")
        except BaseException as error:
            self._response.close()
            if isinstance(error, TimeoutError) and patience.expired():
                raise NoAnswer(f"HTTP {self._response.status} that was not over after {self._patience:g} s") from error
            raise
        self._response.release()
        return body

    def _check_json(self, body: bytes) -> None:
        kind = self._response.content_type
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise NoAnswer(f"HTTP {self._response.status} with {kind} that is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise NoAnswer(f"HTTP {self._response.status} with JSON that is no object")
        said = self._response.headers.get("x-amz-crc32")
        if said is not None and said.strip() != str(zlib.crc32(body)):
            raise NoAnswer(f"HTTP {self._response.status} with a body that its sum (x-amz-crc32) does not fit")


async def held(read: Callable[[int], Awaitable[bytes]], most: int) -> bytes:
    """What ``read`` gives, whole; some more than ``most`` bytes if there is more."""
    body = bytearray()
    while len(body) <= most and (piece := await read(PIECE_BYTES)):
        body += piece
    return bytes(body)


def _is_page(body: bytes) -> bool:
    """Whether it is HTML, or XML that may grow."""
    start = body.lstrip()[:3]
    return start.startswith(_OTHER_UNICODE) or (
        start.startswith((b"<", b"\xef\xbb\xbf")) and _DOCUMENT_TYPE.search(body) is not None
    )
