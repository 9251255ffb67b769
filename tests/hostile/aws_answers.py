"""What answers in the place of AWS: a proxy, a login page, a server that wishes us ill. Each as bytes of HTTP.

``ANSWERS`` by name; ``try_one`` draws one, or spoils a right one, at one kind of request of a command (``COMMANDS``).
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from tests.hostile.aws_server import Asked, AwsServer, Instead, answer, error, listing, span
from tests.hostile.forked import Ended, Forked
from tests.hostile.laws import hold
from tests.hostile.spoil import spoiled

MIB = 1 << 20
CONTENT = b"id,name\n" + b"".join(b"%d,name-%d\n" % (row, row) for row in range(2000))
PORTAL = b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Log in<br>first</body></html>"
PLAIN_PORTAL = b"<html><head><title>Welcome</title></head><body>Log in first</body></html>"
LAUGHS = b"<!DOCTYPE l [<!ENTITY a0 'ha'>%s]><l><Contents><Key>&a9;</Key></Contents></l>" % b"".join(
    b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10)
)
QUADRATIC = b"<!DOCTYPE l [<!ENTITY a '%s'>]><l><Contents><Key>%s</Key></Contents></l>" % (
    b"a" * 60_000,
    b"&a;" * 60_000,
)
OUTSIDE = b"<!DOCTYPE l [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><l><Contents><Key>&a;</Key></Contents></l>"
JSON = "application/x-amz-json-1.0"
GOOD = {"job": {"S": "x"}, "epoch": {"N": "3"}, "beat": {"N": "4"}}


def endless(status: int, kind: str, piece: bytes) -> Iterator[bytes]:
    """A body that does not end, as fast as it is read."""
    yield f'HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nETag: "x"\r\n\r\n'.encode()
    for _ in count():
        yield piece


def deep(levels: int) -> bytes:
    return b'{"Item":{"job":' + b'{"M":{"a":' * levels + b'{"S":"x"}' + b"}}" * levels + b"}}"


def _json(value: object) -> bytes:
    return answer(200, json.dumps(value).encode(), JSON)


def _raw(body: bytes, kind: str = JSON, status: int = 200, **headers: str) -> bytes:
    """Without a sum."""
    return answer(status, body, kind.replace("json", "Json"), **headers)


Made = Callable[[], Iterable[bytes]]
OF_ALL: dict[str, Made] = {
    "a page of HTML": lambda: [_raw(PORTAL, "text/html")],
    "a page of old HTML": lambda: [_raw(PLAIN_PORTAL, "text/html")],
    "HTML with 404": lambda: [_raw(PORTAL, "text/html", 404)],
    "HTML with 403": lambda: [_raw(PORTAL, "text/html", 403)],
    "HTML with 502": lambda: [_raw(PORTAL, "text/html", 502)],
    "nothing with 200": lambda: [_raw(b"")],
    "nothing with 204": lambda: [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "nothing with 404": lambda: [_raw(b"", status=404)],
    "a status of 999": lambda: [_raw(b"no", status=999)],
    "zeros": lambda: [bytes(2000)],
    "not HTTP": lambda: [b"220 mail ESMTP\r\n"],
    "a header that does not end": lambda: (b"HTTP/1.1 200 OK\r\nX: " if not n else b"a" * MIB for n in range(64)),
    "headers that do not end": lambda: (b"HTTP/1.1 200 OK\r\n" if not n else b"X: y\r\n" * 10_000 for n in range(200)),
    "a header of other letters": lambda: [b"HTTP/1.1 200 \xff\r\nETag: \xff\xfe\r\nContent-Length: 0\r\n\r\n"],
    "a length below nothing": lambda: [_raw(b"x", Content_Length="-1")],
    "a length that is none": lambda: [_raw(b"x", Content_Length="many")],
    "a length beyond all": lambda: [_raw(b"{}", Content_Length=str(2**70))],
    "two lengths": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}"],
    "a length too great": lambda: [_raw(b"{}", Content_Length="50")],
    "chunks that lie": lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", b"x"],
    "gzip that nobody asked for": lambda: [_raw(b"\x1f\x8b" + bytes(99), Content_Encoding="gzip")],
    "bytes without end": lambda: endless(200, "text/plain", b"x" * 65536),
    "an error without end": lambda: endless(500, "application/xml", b"<Error>" * 9000),
    "a refusal without end": lambda: endless(403, "application/xml", b"<Error>" * 9000),
    "laughs as an error": lambda: [_raw(LAUGHS, "application/xml", 400)],
    "a redirect without a place": lambda: [_raw(b"", status=301)],
    "a redirect to what is no place": lambda: [_raw(b"", status=307, Location="http://[::")],
    "a redirect to a file": lambda: [_raw(b"", status=302, Location="file:///etc/passwd")],
    "a redirect to another region": lambda: [_raw(b"", status=301, x_amz_bucket_region="evil.example/#")],
}
OF_LISTS: dict[str, Made] = {
    "laughs": lambda: [_raw(LAUGHS, "application/xml")],
    "laughs that square": lambda: [_raw(QUADRATIC, "application/xml")],
    "laughs in UTF-16": lambda: [_raw(LAUGHS.decode().encode("utf-16"), "application/xml")],
    "what is outside": lambda: [_raw(OUTSIDE, "application/xml")],
    "deep XML": lambda: [_raw(b"<a>" * 300_000 + b"</a>" * 300_000, "application/xml")],
    "XML that is cut": lambda: [_raw(listing(["k"])[:-30], "application/xml")],
    "XML of something else": lambda: [_raw(b"<a><b/></a>", "application/xml")],
    "a key that is none": lambda: [_raw(listing(["k"]).replace(b"<Key>k</Key>", b""), "application/xml")],
    "keys that are odd": lambda: [
        _raw(listing(["", "/", "p/../x", "p/\u202e.csv", "p/" + "a" * 5000]), "application/xml")
    ],
    "a page without the next": lambda: [
        _raw(listing(["p/a"], "x").replace(b"<NextC", b"<C").replace(b"</NextC", b"</C"))
    ],
    "pages without end": lambda: [_raw(listing(["p/a"], "x"), "application/xml")],
}
OF_OBJECTS: dict[str, Made] = {
    "no ETag": lambda: [_raw(b"i", status=206, **span(0, 1, 9))],
    "no range": lambda: [_raw(b"i", status=206, ETag='"x"')],
    "all of it": lambda: [_raw(CONTENT, ETag='"x"')],
    "without end, in place of a range": lambda: endless(200, "text/csv", b"1,2\n" * 9000),
    "a range of something": lambda: [_raw(b"i", status=206, ETag='"x"', Content_Range="bytes 0-0/many")],
    "a range of all there is": lambda: [_raw(b"i", status=206, ETag='"x"', Content_Range="bytes 0-0/*")],
    "a range below nothing": lambda: [_raw(b"i", status=206, ETag='"x"', Content_Range="bytes 0-0/-5")],
    "a range of too much": lambda: [_raw(b"i", status=206, ETag='"x"', **span(0, 1, 10**17))],
    "a range of much too much": lambda: [_raw(b"i", status=206, ETag='"x"', **span(0, 1, 10**40))],
    "another range": lambda: [_raw(b"i", status=206, ETag='"x"', **span(5, 6, 9))],
    "another object each time": lambda: [_raw(b"i", status=206, ETag=f'"{random.random()}"', **span(0, 1, 9))],
    "too much for its range": lambda: endless(206, "text/csv\r\nContent-Range: bytes 0-0/9", b"x" * 9000),
    "no range at all": lambda: [_raw(error("InvalidRange", "no"), "application/xml", 416)],
}
OF_ITEMS: dict[str, Made] = {
    "no JSON": lambda: [_raw(b"{'Item'")],
    "JSON that is cut": lambda: [_raw(json.dumps({"Item": GOOD}).encode()[:-9])],
    "a sum that does not fit": lambda: [_raw(b"{}", x_amz_crc32="1")],
    "a list": lambda: [_json([1])],
    "a number": lambda: [_json(1)],
    "null": lambda: [_json(None)],
    "an item that is a list": lambda: [_json({"Item": [1], "Items": 1, "Attributes": "x", "Table": 5})],
    "items that are a map": lambda: [
        _json({"Item": 1, "Items": {"a": 1}, "Attributes": [[]], "TimeToLiveDescription": 1})
    ],
    "an item of other things": lambda: [_json({"Item": {"job": 5, "epoch": "x", "owner": None, "id": {"N": 7}}})],
    "types that are none": lambda: [_json({"Item": {"job": {"Q": 1}, "id": {"S": 7}}, "Items": [{"job": {"S": 1}}]})],
    "bytes that are none": lambda: [_json({"Item": {"checkpoint": {"B": "!"}, "id": {"B": "%%%"}}, "Items": [5]})],
    "deep": lambda: [_raw(deep(400))],
    "deeper": lambda: [_raw(deep(3000))],
    "a million brackets": lambda: [_raw(b"[" * 1_000_000)],
    "a number of many digits": lambda: [_raw(b'{"Item":{"epoch":{"N":' + b"9" * 10_000 + b"}}}")],
    "JSON without end": lambda: endless(200, JSON, b"[1,2,3]," * 9000),
    "an error of no kind": lambda: [answer(400, b'{"__type":5,"message":[1]}', JSON)],
    "an error that is a list": lambda: [answer(400, b"[1]", JSON)],
    "an error with an item": lambda: [
        answer(400, b'{"__type":"x#ConditionalCheckFailedException","Item":[5],"message":"m"}', JSON)
    ],
}
ANSWERS: dict[str, dict[str, Made]] = {"list": OF_LISTS, "object": OF_OBJECTS, "item": OF_ITEMS}
KINDS = {"ListObjectsV2": "list", "GetObject": "object", "PutObject": "object"}
SOON = ["--connect-timeout", "1", "--give-up-after", "1"]
S3, STORE, TABLE = "s3://b/orders.csv", "s3://b/store", "dynamodb://table"
COMMANDS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "preview": (["preview", S3], ["GetObject"]),
    "a source": (["run", S3, "-o", "out", *SOON], ["GetObject"]),
    "a prefix": (["run", "s3://b/p/", "-o", "out", *SOON], ["ListObjectsV2", "GetObject"]),
    "a glob": (["check", "s3://b/p/*.csv", "-o", "out"], ["ListObjectsV2"]),
    "configuration": (["run", "--config", "s3://b/c.toml", "-o", "out"], ["GetObject"]),
    "objects": (["run", "a.csv", "-o", "out", "--checkpoints", STORE, *SOON], ["GetObject", "PutObject"]),
    "jobs of objects": (["status", "--checkpoints", STORE], ["GetObject", "ListObjectsV2"]),
    "items": (["run", "a.csv", "-o", "out", "--checkpoints", TABLE, *SOON], ["GetItem", "UpdateItem"]),
    "jobs of items": (["status", "--checkpoints", TABLE], ["GetItem", "Scan"]),
    "a table": (["init", TABLE], ["DescribeTable", "DescribeTimeToLive", "GetItem"]),
}


def cases() -> Iterator[tuple[str, str, str]]:
    """Every command, request of it, and answer to that."""
    for command, (_, operations) in COMMANDS.items():
        for operation in operations:
            for name in {**OF_ALL, **ANSWERS[KINDS.get(operation, "item")]}:
                yield command, operation, name


def laid_out(aws: AwsServer) -> None:
    """What there is: two sources, a configuration."""
    aws.objects |= {"orders.csv": CONTENT, "p/a.csv": CONTENT, "p/b.csv": CONTENT, "c.toml": b'sources = ["a.csv"]'}


def ask(
    command: str, instead: Instead, aws: AwsServer, forked: Forked, place: Path, *, before: Sequence[str] = ()
) -> Ended:
    """The command in a new folder, with ``instead`` in the place of answers."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "a.csv").write_bytes(CONTENT)
    (place / "out").write_bytes(b"")
    forked.directory = place
    aws.instead = instead
    aws.asked.clear()
    return forked.run(*COMMANDS[command][0], *before, environment=aws.environment, seconds=120)


def try_one(seed: int, aws: AwsServer, forked: Forked, base: Path) -> str:
    """One command, one of its requests answered by something else, from the first or a later time on; or spoiled.

    What was there before is there after; and what the command wrote is the start of the right thing."""
    draw = random.Random(seed)
    command = draw.choice(list(COMMANDS))
    operation = draw.choice(list(COMMANDS[command][1]))
    named = draw.choice([*(name for of, at, name in cases() if (of, at) == (command, operation)), *["spoiled"] * 8])
    return tried(command, operation, named, aws, forked, base, draw=draw)


def tried(
    command: str, operation: str, named: str, aws: AwsServer, forked: Forked, base: Path, *, draw: random.Random
) -> str:
    """AssertionError where the laws do not hold."""
    aws.items.clear()
    aws.objects.clear()
    laid_out(aws)
    made = {**OF_ALL, **ANSWERS[KINDS.get(operation, "item")]}.get(named)
    behind, met = draw.choice([0, 0, 1, 2]), 0

    def instead(asked: Asked) -> Iterable[bytes] | None:
        nonlocal met
        met += asked.operation == operation
        if asked.operation != operation or met <= behind:
            return None
        return made() if made is not None else [spoiled(draw, aws.right(asked))]

    ended = ask(command, instead, aws, forked, base / "run")
    hold(ended)
    assert (base / "run" / "a.csv").read_bytes() == CONTENT
    assert all(aws.objects[key] == CONTENT for key in ("orders.csv", "p/a.csv", "p/b.csv"))
    return f"{ended.code}"
