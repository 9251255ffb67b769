"""How AWS is asked over HTTP: what may answer in its place (a proxy, a login page, another host) is not believed.

- No redirect is followed. aiohttp would, and would carry session tokens and customers' keys to the other host. A bucket
  of another region is botocore's to find, by the region that S3 names.
- An answer that is held as a whole has a bound in bytes and one in time.
- What is taken for XML has no document type: entities that grow are made with one, and S3 never sends one.
- What is taken for JSON is an object of it, as whole as its sum says. botocore takes anything else for an answer in
  which nothing stands: a checkpoint that was there would not be.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from typing import Any

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

MOST_BYTES = 32 << 20  # a page of a thousand keys of 1,024 bytes, or a MiB of items, is a tenth of it
MOST_SECONDS = 60.0  # for the request and an answer's head, and again for a body that is held
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
        return _Asked(await super()._get_session(proxy_url))


class _Asked:
    """aiohttp's session, as aiobotocore asks it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def request(self, method: str, *, headers: Any, **arguments: Any) -> Any:
        async with asyncio.timeout(MOST_SECONDS):  # a server can go on saying that it has heard (100 Continue)
            response = await self._session.request(method, headers=headers, allow_redirects=False, **arguments)
        # botocore asks a HEAD for the region, and when that is sent elsewhere too, another, until its stack is full.
        if method == "HEAD" and response.status in REDIRECTS and REGION not in response.headers:
            response.close()
            raise NoAnswer(f"HTTP {response.status}, a redirect without a region, which is not followed")
        return _Response(response, is_json="X-Amz-Target" in headers)


class _Response:
    """aiohttp's response; ``read`` is what aiobotocore calls for all but the bodies of objects."""

    def __init__(self, response: aiohttp.ClientResponse, *, is_json: bool) -> None:
        self._response = response
        self._is_json = is_json

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    async def read(self) -> bytes:
        """The whole body; empty where a refusal's is no answer of AWS. NoAnswer where one that says yes is not."""
        try:
            body = await self._bounded()
        except NoAnswer:
            if self._response.status < 400:
                raise
            return b""
        if self._response.status >= 300:
            return b"" if _is_page(body) else body
        if _is_page(body):
            raise NoAnswer(f"HTTP {self._response.status} with a page for people ({self._response.content_type})")
        if self._is_json:
            self._check_json(body)
        return body

    async def _bounded(self) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(MOST_SECONDS) as patience:
                while piece := await self._response.content.read(PIECE_BYTES):
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise NoAnswer(f"HTTP {self._response.status} with more than {MOST_BYTES:,} bytes")
        except BaseException as error:
            self._response.close()
            if isinstance(error, TimeoutError) and patience.expired():
                raise NoAnswer(f"HTTP {self._response.status} that was not over after {MOST_SECONDS:g} s") from error
            raise
        self._response.release()
        return bytes(body)

    def _check_json(self, body: bytes) -> None:
        kind = self._response.content_type
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise NoAnswer(f"HTTP {self._response.status} with {kind} that is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise NoAnswer(f"HTTP {self._response.status} with JSON that is no object")
        said = self._response.headers.get("x-amz-crc32")
        if said is not None and said != str(zlib.crc32(body)):
            raise NoAnswer(f"HTTP {self._response.status} with a body that its sum (x-amz-crc32) does not fit")


def _is_page(body: bytes) -> bool:
    """Whether it is HTML, or XML that may grow."""
    start = body.lstrip()[:3]
    return start.startswith(_OTHER_UNICODE) or (
        start.startswith((b"<", b"\xef\xbb\xbf")) and _DOCUMENT_TYPE.search(body) is not None
    )
