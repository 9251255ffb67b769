"""S3 and DynamoDB, small enough to be seen through, in threads; and whatever is to come in the place of an answer.

    with aws_server() as aws:
        aws.objects["orders.csv"] = b"…"
        aws.instead = lambda asked: [b"HTTP/1.1 200 OK\r\n\r\n", b"<html>"] if asked.operation == "GetObject" else None

What it gives is what the package asks for, no more; conditions of DynamoDB are not looked at, as one run at a time is
tried. tests/aws has moto, which is more like AWS.
"""

from __future__ import annotations

import hashlib
import json
import re
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from attrs import Factory, define, frozen

BUCKET = "b"


@frozen(kw_only=True)
class Asked:
    """A request. ``operation``: as AWS calls it. ``headers``: names in small letters."""

    operation: str
    key: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    host: str


Instead = Callable[[Asked], Iterable[bytes] | None]


@define(eq=False)
class AwsServer:
    """``instead``: the bytes to send in an answer's place, or None for the right ones; behind them the connection ends.
    ``asked``: what came."""

    url: str
    objects: dict[str, bytes] = Factory(dict)
    items: dict[str, dict[str, Any]] = Factory(dict)
    instead: Instead = lambda asked: None
    asked: list[Asked] = Factory(list)

    @property
    def environment(self) -> dict[str, str]:
        """For a command that is to ask it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIDHOSTILE",
            "AWS_SECRET_ACCESS_KEY": "secretHOSTILE",
            "AWS_SESSION_TOKEN": "tokenHOSTILE",
            "AWS_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def right(self, asked: Asked) -> bytes:
        """What AWS would say."""
        if asked.operation in ("GetItem", "UpdateItem", "Scan", "DescribeTable", "DescribeTimeToLive"):
            return answer(200, json.dumps(self._dynamodb(asked)).encode(), "application/x-amz-json-1.0")
        if asked.operation == "ListObjectsV2":
            return answer(200, listing(self._keys(asked)), "application/xml")
        if asked.operation == "PutObject":
            return self._put(asked)
        content = self.objects.get(asked.key)
        if content is None:
            return answer(404, error("NoSuchKey", "The specified key does not exist."), "application/xml")
        if asked.headers.get("if-match", etag(content)) != etag(content):
            return answer(412, error("PreconditionFailed", "changed"), "application/xml")
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", ""))
        if match is None:
            return answer(200, content, ETag=etag(content))
        first, end = int(match[1]), min(int(match[2]) + 1, len(content))
        return answer(206, content[first:end], ETag=etag(content), **span(first, end, len(content)))

    def _keys(self, asked: Asked) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(asked.query.get("prefix", [""])[0]))

    def _put(self, asked: Asked) -> bytes:
        there = self.objects.get(asked.key)
        expected = None if asked.headers.get("if-none-match") else asked.headers.get("if-match", there and etag(there))
        if expected != (there and etag(there)):
            return answer(412, error("PreconditionFailed", "changed"), "application/xml")
        self.objects[asked.key] = asked.body
        return answer(200, b"", ETag=etag(asked.body))

    def _dynamodb(self, asked: Asked) -> Any:
        given = json.loads(asked.body)
        if asked.operation == "DescribeTimeToLive":
            return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}}
        if asked.operation == "DescribeTable":
            key = [{"AttributeName": "job", "KeyType": "HASH"}]
            types = [{"AttributeName": "job", "AttributeType": "S"}]
            return {"Table": {"TableStatus": "ACTIVE", "KeySchema": key, "AttributeDefinitions": types}}
        if asked.operation == "Scan":
            return {"Items": [item for item in self.items.values() if "checkpoint" in item]}
        key = given["Key"]["job"]["S"]
        if asked.operation == "GetItem":
            return {"Item": self.items[key]} if key in self.items else {}
        item = self.items.setdefault(key, {"job": {"S": key}})
        names, values = given["ExpressionAttributeNames"], given.get("ExpressionAttributeValues", {})
        sets, _, removes = given["UpdateExpression"].partition("REMOVE")
        for name, value in re.findall(r"(#\w+) = (:\w+)", sets):
            item[names[name]] = values[value]
        for name in re.findall(r"#\w+", removes):
            item.pop(names[name], None)
        return {"Attributes": item} if given["ReturnValues"] == "ALL_NEW" else {}


def answer(status: int, body: bytes, kind: str = "binary/octet-stream", **headers: str) -> bytes:
    """A whole one; ``Content_Length`` and others take the place of the right ones."""
    said = {"Content-Type": kind, "Content-Length": str(len(body))}
    if "json" in kind:
        said["x-amz-crc32"] = str(zlib.crc32(body))
    said |= {name.replace("_", "-"): text for name, text in headers.items()}
    lines = "".join(f"{name}: {text}\r\n" for name, text in said.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body


def span(first: int, end: int, size: object) -> dict[str, str]:
    return {"Content_Range": f"bytes {first}-{end - 1}/{size}"}


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def error(code: str, message: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>".encode()


def listing(keys: Iterable[str], more: str = "") -> bytes:
    """A page; ``more``: the token of the next one."""
    inside = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in keys)
    inside += f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    inside += f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inside}</ListBucketResult>'.encode()


@contextmanager
def aws_server() -> Iterator[AwsServer]:
    """A running one."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while self._one():
                    pass

        def _one(self) -> bool:
            line = self.rfile.readline()
            if not line.strip():
                return False
            headers: dict[str, str] = {}
            while text := self.rfile.readline().strip():
                name, _, value = text.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            if "expect" in headers:
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = _body(self.rfile, headers)
            asked = _asked(line.decode("latin-1"), headers, body)
            aws.asked.append(asked)
            given = aws.instead(asked)
            if given is None:
                right = aws.right(asked)
                self.wfile.write(
                    right.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if asked.operation == "HeadObject" else right
                )
                return True
            for part in given:
                self.wfile.write(part)
            return False

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = False
        block_on_close = True

        def handle_error(self, *_: object) -> None:
            pass  # a client went away

    server = Server(("127.0.0.1", 0), Handler)
    aws = AwsServer(f"http://127.0.0.1:{server.server_address[1]}")
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield aws
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def _body(stream: Any, headers: Mapping[str, str]) -> bytes:
    """As it was sent, also in pieces with a checksum behind them."""
    body: bytes = stream.read(int(headers.get("content-length", 0)))
    if "aws-chunked" not in headers.get("content-encoding", ""):
        return body
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            break
        found, body = found + body[:length], body[length + 2 :]
    return found


def _asked(line: str, headers: Mapping[str, str], body: bytes) -> Asked:
    method, target, *_ = line.split(" ")
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    key = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if not operation:
        operation = "ListObjectsV2" if "list-type" in query else f"{method.title()}Object"
    return Asked(operation=operation, key=key, query=query, headers=headers, body=body, host=headers.get("host", ""))
