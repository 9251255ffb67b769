"""Sources at http:// addresses: a small server with ranges, and a proxy in front of it that spoils answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any

import pytest
from attrs import evolve

from csv2kafka.errors import ConfigError, Doubt, NotAuthorized, NotReachable, SourceChanged
from csv2kafka.model import SourceObject
from csv2kafka.sources import ranges
from csv2kafka.sources.http import HttpSource
from csv2kafka.testing import SourceConformance
from tests.aws.http_faults import WebServer, web_server
from tests.aws.http_proxy import HttpProxy, Request

MIB = 1 << 20
CONTENT = bytes(range(256)) * 4096 * 20 + b"the end"  # 20 MiB and a little: three ranges


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as web:
        yield web


@pytest.fixture
async def proxy(web: WebServer) -> AsyncIterator[HttpProxy]:
    async with HttpProxy(web.url) as proxy:
        yield proxy


class TestHttpSource(SourceConformance):
    """By ETag."""

    @pytest.fixture(autouse=True)
    def _web(self, web: WebServer) -> None:
        self.web = web
        self.made: list[HttpSource] = []

    def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        for name, content in objects:
            self.web.put(name, content)

    def make(self) -> HttpSource:
        self.made.append(HttpSource(*(f"{self.web.url}/{name}" for name in self.web.files)))
        return self.made[-1]

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        async def closing() -> None:
            try:
                await main
            finally:
                for source in self.made:
                    await source.close()

        asyncio.run(closing())


class TestHttpSourceByTime(TestHttpSource):
    """By Last-Modified, of a server that does not heed conditions."""

    @pytest.fixture(autouse=True)
    def _by_time(self, web: WebServer) -> None:
        web.etags = "weak"
        web.heeds_conditions = False


@pytest.fixture
async def made() -> AsyncIterator[list[HttpSource]]:
    """Sources to be closed when the test is over."""
    sources: list[HttpSource] = []
    yield sources
    for source in sources:
        await source.close()


async def content(source: HttpSource, obj: SourceObject, offset: int = 0) -> bytes:
    return b"".join([block async for block in source.read(obj, offset)])


async def pinned(source: HttpSource) -> SourceObject:
    (obj,) = [obj async for obj in source.objects()]
    return obj


async def read(made: list[HttpSource], *urls: str) -> bytes:
    made.append(HttpSource(*urls, draw=lambda: -1.0))
    return b"".join([await content(made[-1], obj) async for obj in made[-1].objects()])


async def refusal(made: list[HttpSource], *urls: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        await read(made, *urls)
    return caught.value


class TestFinding:
    async def test_several_in_the_order_given(self, web: WebServer, made: list[HttpSource]) -> None:
        web.put("b.csv", b"b")
        web.put("a.csv", b"a")
        assert await read(made, f"{web.url}/b.csv", f"{web.url}/a.csv") == b"ba"

    async def test_redirects_are_followed(self, web: WebServer, made: list[HttpSource]) -> None:
        web.put("a.csv", CONTENT)
        web.redirects["latest"] = "/a.csv"
        assert await read(made, f"{web.url}/latest") == CONTENT
        assert made[-1].uri == f"{web.url}/latest"

    async def test_all_that_is_wrong_is_told_at_once(self, web: WebServer, made: list[HttpSource]) -> None:
        web.put("a.csv", b"a")
        web.answers["closed.csv"] = 403
        error = await refusal(made, *(f"{web.url}/{name}" for name in ("missing.csv", "a.csv", "closed.csv")))
        assert ["404" in problem or "403" in problem for problem in error.problems] == [True, True]

    async def test_a_server_without_ranges(self, web: WebServer, made: list[HttpSource]) -> None:
        web.put("a.csv", CONTENT)
        web.ranges = False
        error = await refusal(made, f"{web.url}/a.csv")
        assert "gives no ranges" in error.message
        assert "csv2kafka run -" in error.hint

    async def test_a_server_that_does_not_tell_versions(self, web: WebServer, made: list[HttpSource]) -> None:
        web.put("a.csv", CONTENT)
        web.etags, web.modified = "weak", False
        assert "neither a strong ETag nor Last-Modified" in (await refusal(made, f"{web.url}/a.csv")).message

    async def test_nobody_there(self, proxy: HttpProxy, made: list[HttpSource]) -> None:
        await proxy.go_away()
        with pytest.raises(NotReachable):
            await read(made, f"{proxy.url}/a.csv")

    async def test_a_server_that_cannot_now(self, web: WebServer, made: list[HttpSource]) -> None:
        web.answers["a.csv"] = 503
        with pytest.raises(Doubt):
            await read(made, f"{web.url}/a.csv")

    async def test_through_a_proxy_of_the_environment(
        self, web: WebServer, proxy: HttpProxy, made: list[HttpSource], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        web.put("http://files.example/a.csv", CONTENT)  # what a proxy is asked for
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert await read(made, "http://files.example/a.csv") == CONTENT


class TestSecrets:
    async def test_a_password_is_used_and_not_shown(self, web: WebServer, made: list[HttpSource]) -> None:
        web.authorization = "Basic dXNlcjpzM2NyZXQ="  # user:s3cret
        web.put("a.csv", CONTENT)
        url = web.url.replace("http://", "http://user:s3cret@") + "/a.csv"
        assert await read(made, url) == CONTENT
        obj = await pinned(made[-1])
        assert made[-1].uri == obj.uri == f"{web.url}/a.csv"
        error = await refusal(made, url.replace("s3cret", "wr0ng"))
        assert isinstance(error, NotAuthorized)
        assert "wr0ng" not in str(error)

    async def test_a_signed_link_is_asked_for_as_it_is(self, web: WebServer, made: list[HttpSource]) -> None:
        web.put("a.csv", b"a")
        query = "v=1&X-Amz-Credential=A%2Fs3&X-Amz-Signature=abc&X-Amz-Expires=60"
        assert await read(made, f"{web.url}/a.csv?{query}") == b"a"
        assert made[-1].uri == f"{web.url}/a.csv?v=1"
        assert {path for path, _ in web.requests} == {f"/a.csv?{query}"}


class TestFaults:
    """The same bytes in the end, and of those only the ones that are missing are asked for again."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ranges, "FIRST_PAUSE_SECONDS", 0.01)

    async def test_what_breaks_is_taken_up_again(
        self, web: WebServer, proxy: HttpProxy, made: list[HttpSource]
    ) -> None:
        web.put("a.csv", CONTENT)

        def begins(first: int) -> Any:
            return lambda request: request.headers["range"].startswith(f"bytes={first}-")

        rules = [
            proxy.cut_body(begins(8 * MIB), at=5_000_000),
            proxy.slow_down(begins(8 * MIB + 5_000_000)),
            proxy.internal_error(begins(16 * MIB)),
            proxy.cut(begins(16 * MIB)),
        ]
        assert await read(made, f"{proxy.url}/a.csv") == CONTENT
        assert [rule.struck for rule in rules] == [1, 1, 1, 1]
        asked = [request.headers["range"] for request in proxy.requests]
        assert asked.count(f"bytes={8 * MIB}-{16 * MIB - 1}") == 1
        assert asked.count(f"bytes={8 * MIB + 5_000_000}-{16 * MIB - 1}") == 2
        assert asked.count(f"bytes={16 * MIB}-{len(CONTENT) - 1}") == 3

    async def test_a_stall(self, web: WebServer, proxy: HttpProxy, made: list[HttpSource]) -> None:
        web.put("a.csv", CONTENT)
        rule = proxy.stall(lambda request: request.headers["range"].startswith("bytes=8388608-"), at=1_000_000)
        source = HttpSource(f"{proxy.url}/a.csv")
        source._ranges = evolve(source._ranges, stall_seconds=0.5)
        made.append(source)
        assert await content(source, await pinned(source)) == CONTENT
        assert rule.struck == 1
        assert f"bytes={8 * MIB + 1_000_000}-{16 * MIB - 1}" in [each.headers["range"] for each in proxy.requests]

    @pytest.mark.parametrize("heeds", [True, False])
    async def test_a_change_is_told_with_both_versions(
        self, web: WebServer, proxy: HttpProxy, made: list[HttpSource], heeds: bool
    ) -> None:
        web.put("a.csv", CONTENT)
        web.heeds_conditions = heeds
        made.append(source := HttpSource(f"{proxy.url}/a.csv"))
        obj = await pinned(source)

        def change(request: Request) -> bool:
            if request.headers["range"].startswith("bytes=16777216-"):
                web.put("a.csv", CONTENT[::-1])
            return False

        proxy.cut(change)
        blocks: list[bytes] = []

        async def read() -> None:
            async for block in source.read(obj, 0):
                blocks.append(block)  # noqa: PERF401 (what came before the error counts, too)

        with pytest.raises(SourceChanged) as caught:
            await read()
        assert CONTENT.startswith(b"".join(blocks)), "nothing of the new version was given out"
        pin = obj.version.removeprefix("etag=")
        assert [each.headers.get("if-match") for each in proxy.requests[1:4]] == [pin] * 3
        assert obj.version in caught.value.message
        assert web.validators(CONTENT[::-1])["ETag"] in caught.value.message

    async def test_a_file_overwritten_while_it_is_sent_is_seen_before_the_commit(
        self, web: WebServer, made: list[HttpSource]
    ) -> None:
        """The answer had begun, with the first version's ETag; what came behind may be of either."""
        web.put("a.csv", CONTENT)
        made.append(source := HttpSource(f"{web.url}/a.csv"))
        obj = await pinned(source)
        blocks = source.read(obj, 0)
        await anext(blocks)
        await source.confirm(obj)
        web.put("a.csv", CONTENT[::-1])
        with pytest.raises(SourceChanged):
            await source.confirm(obj)
        await blocks.aclose()  # type: ignore[attr-defined]

    async def test_what_is_gone_is_told(self, web: WebServer, made: list[HttpSource]) -> None:
        web.put("a.csv", CONTENT)
        made.append(source := HttpSource(f"{web.url}/a.csv"))
        obj = await pinned(source)
        del web.files["a.csv"]
        for asked in (source.confirm(obj), content(source, obj)):
            with pytest.raises(SourceChanged, match="it is gone"):
                await asked


async def test_a_server_that_sends_without_end_is_not_listened_to() -> None:
    """For its first byte it was asked."""
    sent, over = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 206 Partial Content\r\nETag: "x"\r\nContent-Range: bytes 0-0/9\r\n\r\n')
            while sent < 256 * MIB:
                writer.write(bytes(MIB))
                await writer.drain()
                sent += MIB
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        source = HttpSource(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.csv")
        with pytest.raises(ConfigError, match="the server sends more"):
            [obj async for obj in source.objects()]
        await source.close()
        await asyncio.wait_for(over.wait(), 20)
    assert sent < 64 * MIB
