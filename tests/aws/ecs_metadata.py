"""A fake of an ECS task's metadata, version 4."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from attrs import define

from tests.aws.imds import serving


@define(eq=False)
class EcsMetadata:
    """``uri``: for ECS_CONTAINER_METADATA_URI_V4. ``desired``: what the task is to be."""

    uri: str = ""
    desired: str = "RUNNING"


@contextmanager
def ecs_metadata() -> Iterator[EcsMetadata]:
    """A running one."""
    fake = EcsMetadata()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/v4/id/task"
            text = json.dumps({"TaskARN": "arn", "DesiredStatus": fake.desired, "KnownStatus": "RUNNING"})
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as url:
        fake.uri = f"{url}/v4/id"
        yield fake
