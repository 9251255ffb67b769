"""A small web server with ranges, whose faults can be chosen, and more that can go wrong on the way to S3.

``WebServer`` is what ``HttpSource`` is tried against; ``S3Faults`` is the proxy in front of moto with some answers that
only S3 clients meet.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import Factory, define

from tests.aws.http_proxy import HttpProxy, Rule, Where, _Action, _Answer

MODIFIED = "Mon, 05 Oct 2026 07:00:%02d GMT"


@define(eq=False)
class WebServer:
    """``files``: by path without the slash. ``answers``: status for paths, in the files' place. ``redirects``: from
    path to URL. ``password``: that GET asks for. ``requests``: (path, headers in small letters) of what came."""

    url: str
    files: dict[str, bytes] = Factory(dict)
    answers: dict[str, int] = Factory(dict)
    redirects: dict[str, str] = Factory(dict)
    etags: str = "strong"  # or weak, or none
    modified: bool = True
    ranges: bool = True
    heeds_conditions: bool = True
    authorization: str = ""
    requests: list[tuple[str, Mapping[str, str]]] = Factory(list)
    _changes: int = 0

    def put(self, name: str, content: bytes) -> None:
        """Place a file, or replace it; its time of modification is another each time."""
        self._changes += 1
        self.files[name] = content

    def validators(self, content: bytes) -> dict[str, str]:
        """ETag and Last-Modified."""
        etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
        found = {"strong": {"ETag": etag}, "weak": {"ETag": f"W/{etag}"}, "none": {}}[self.etags]
        return found | ({"Last-Modified": MODIFIED % self._changes} if self.modified else {})

    def holds(self, headers: Mapping[str, str], content: bytes) -> bool:
        """Whether the request's conditions do."""
        found = self.validators(content)
        etag, since = headers.get("if-match"), headers.get("if-unmodified-since")
        return etag in (None, found.get("ETag")) and since in (None, found.get("Last-Modified"))


@contextmanager
def web_server() -> Iterator[WebServer]:
    """A running one, in threads of this process."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].lstrip("/")
            headers = {name.lower(): value for name, value in self.headers.items()}
            web.requests.append((self.path, headers))
            content = web.files.get(path)
            if path in web.redirects:
                self._send(302, b"", Location=web.redirects[path])
            elif path in web.answers:
                self._send(web.answers[path], b"no")
            elif web.authorization and headers.get("authorization") != web.authorization:
                self._send(401, b"who?")
            elif content is None:
                self._send(404, b"no such file")
            elif web.heeds_conditions and not web.holds(headers, content):
                self._send(412, b"")
            else:
                self._send_file(content, headers.get("range", "") if web.ranges else "")

        def _send_file(self, content: bytes, span: str) -> None:
            found = web.validators(content)
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", span)
            if not match:
                self._send(200, content, **found)
            elif int(match[1]) >= len(content):
                self._send(416, b"", **{"Content-Range": f"bytes */{len(content)}"})
            else:
                first, last = int(match[1]), min(int(match[2]), len(content) - 1)
                place = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
                self._send(206, content[first : last + 1], **place, **found)

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # they end with their connections, which the sources close

        def handle_error(self, *_: object) -> None:
            pass  # a client went away

    server = Server(("127.0.0.1", 0), Handler)
    web = WebServer(f"http://127.0.0.1:{server.server_address[1]}")
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield web
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class S3Faults(HttpProxy):
    """The proxy, with answers that S3 gives when it refuses, and ones that are not what was asked for."""

    def refuse(self, status: int, code: str, message: str, where: Where, *, times: int | None = 1) -> Rule:
        """An error of S3's, in its words."""
        return self._error(status, code, message, where, times)

    def answer(self, status: str, body: bytes, where: Where, *, times: int | None = None, **headers: str) -> Rule:
        """Anything at all: what a proxy says, or a server that is none of AWS. ``status``: ``200 OK``."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
        return self._add(Rule(_Action.ANSWER, where, times, answer=_Answer("\r\n".join(lines).encode(), body)))

    def answer_range(self, span: str, body: bytes, where: Where) -> Rule:
        """A range (``bytes 0-99/1000``) whose body and length are ``body``'s, whatever the span says."""
        head = f'HTTP/1.1 206 Partial Content\r\nETag: "x"\r\nContent-Range: {span}\r\nContent-Length: {len(body)}'
        return self._add(Rule(_Action.ANSWER, where, 1, answer=_Answer(head.encode(), body)))
