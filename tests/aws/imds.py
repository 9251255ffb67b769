"""A fake of EC2's instance metadata, version 2: nothing without a token, and tokens that end."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import Factory, define

TOKEN, TTL = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
SPOT = "spot/instance-action"
REBALANCE = "events/recommendations/rebalance"
LIFECYCLE = "autoscaling/target-lifecycle-state"
SPOT_TERMINATE = json.dumps({"action": "terminate", "time": "2026-09-18T08:22:00Z"})
REBALANCE_NOTICE = json.dumps({"noticeTime": "2026-09-18T08:20:00Z"})


@define(eq=False)
class Imds:
    """``entries``: what stands under /latest/meta-data/. ``lifetime``: of tokens, in seconds, as it tells them."""

    url: str = ""
    entries: dict[str, str] = Factory(dict)
    lifetime: int = 21600
    failing: int = 0  # the status of every answer, if set
    tokens: set[str] = Factory(set)
    given: int = 0  # tokens so far
    asked: list[str] = Factory(list)  # paths that were answered to a good token
    refused: int = 0  # requests without one

    def expire(self) -> None:
        """No token that was given is good any more."""
        self.tokens.clear()

    def put(self, path: str, ttl: str | None) -> tuple[int, str]:
        if self.failing:
            return self.failing, ""
        if path != "/latest/api/token":
            return 404, ""
        if ttl is None or not 1 <= int(ttl) <= 21600:
            return 400, ""
        self.given += 1
        token = uuid.uuid4().hex
        self.tokens.add(token)
        return 200, token

    def get(self, path: str, token: str | None) -> tuple[int, str]:
        if self.failing:
            return self.failing, ""
        if token not in self.tokens:
            self.refused += 1
            return 401, ""
        name = path.removeprefix("/latest/meta-data/")
        self.asked.append(name)
        return (200, self.entries[name]) if name in self.entries else (404, "")


@contextmanager
def imds() -> Iterator[Imds]:
    """A running one."""
    fake = Imds()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer(*fake.put(self.path, self.headers.get(TTL)))

        def do_GET(self) -> None:
            self._answer(*fake.get(self.path, self.headers.get(TOKEN)))

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.send_header(TTL, str(fake.lifetime))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as fake.url:
        yield fake


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of the test's own; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
