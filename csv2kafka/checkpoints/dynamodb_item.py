"""The items of a DynamoDB checkpoint table: their shape, and DynamoDB's limits.

One item for each job, its partition key alone is ``job`` (S). In docs/checkpoints.md for people:

    job          S       the job's name; one that begins with ``:`` has another ``:`` before it
    epoch        N       rises by 1 with each taking of the lease; stays when it is given back or the job deleted
    beat         N       rises with each renewal and each save: what a newcomer watches
    owner, token S       who has the lease, and the taking's own mark; absent while it is free
    since, heartbeat  S  for people: ISO 8601, by the holder's clock
    checkpoint   S or B  JSON as ``model.to_json`` writes it; gzip (B) where it is longer than COMPRESS_FROM
    manifest     S or B  the same
    expires_at   N       seconds since the epoch; only while the checkpoint is complete, and where a ttl was given

The item ``:store`` has the store's ``id`` (S).
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from csv2kafka.checkpoints.watch import Holder
from csv2kafka.errors import ConfigError, StateContradiction

KEY = "job"
STORE_KEY = ":store"
EXPIRES = "expires_at"
LEASE = ("epoch", "beat", "owner", "token", "since", "heartbeat", EXPIRES)
COMPRESS_FROM = 2048  # bytes: below, people can read it in the console; above, each KB costs a write unit
MAX_KEY_BYTES = 2048  # DynamoDB's
MAX_ITEM_BYTES = 400 * 1024  # DynamoDB's: names and values of all attributes
GROWTH_BYTES = (
    64 * 1024
)  # what a checkpoint may come to take, with a decoder's state in it: a run begins with room for it
MAX_UNPACKED_BYTES = 64 << 20  # what an item of 400 KB cannot say but to fill the memory
LEASE_BYTES = 2048  # what the lease's attributes may take, without the owner's name

TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
ARN = re.compile(rf"arn:[a-z-]+:dynamodb:([a-z0-9-]+):\d+:table/{TABLE.pattern}")

Value = Mapping[str, Any]  # as DynamoDB has it: {"S": "text"}
Item = Mapping[str, Value]


def key_of(job: str) -> str:
    """The partition key of a job's item. ConfigError for a name that DynamoDB has no key for."""
    key = f":{job}" if job.startswith(":") else job
    if not 0 < len(key.encode(errors="surrogatepass")) <= MAX_KEY_BYTES:
        raise ConfigError(f"job {job[:50]!r}...: expected a name of 1 to {MAX_KEY_BYTES} bytes", hint="give --job NAME")
    return key


def job_of(key: str) -> str:
    """The job that ``key_of`` gives the key of."""
    return key[1:] if key.startswith("::") else key


def wrong_key(place: str, found: str) -> ConfigError:
    return ConfigError(
        f"{place} is not a checkpoint table: expected the partition key {KEY!r} (S) and no sort key: {found}",
        hint="give a table of its own; csv2kafka init makes it",
    )


def table_problem(table: str) -> str:
    if TABLE.fullmatch(table) or ARN.fullmatch(table):
        return ""
    return f"expected a table's name (3 to 255 letters, digits, '_', '.', '-') or ARN, found {table!r}"


def packed(text: bytes) -> Value:
    if len(text) <= COMPRESS_FROM:
        return {"S": text.decode()}
    return {"B": gzip.compress(text, 6, mtime=0)}


def unpacked(value: Value | None) -> bytes | None:
    """None where there is none. ValueError for what ``packed`` has not made."""
    if value is None:
        return None
    if "S" in value:
        return str(value["S"]).encode()
    if "B" not in value:
        raise ValueError(f"expected S or B, found {', '.join(value)}")
    try:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        text = stream.decompress(bytes(value["B"]), MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from error
    if not stream.eof:
        raise ValueError(f"cut off, or more than {MAX_UNPACKED_BYTES:,} bytes")
    return text


def check_size(place: str, key: str, owner: str, values: Mapping[str, Value], *, room: int) -> None:
    """ConfigError if an item with these large ``values`` would not fit, with ``room`` bytes left for it to grow."""
    sizes = {name: len(name) + size_of(value) for name, value in values.items()}
    total = sum(sizes.values()) + len(key.encode()) + len(owner.encode()) + LEASE_BYTES
    if total + room > MAX_ITEM_BYTES:
        parts = ", ".join(f"{name} {size:,}" for name, size in sorted(sizes.items()))
        limit = f"{MAX_ITEM_BYTES:,} bytes{f', {room:,} of them free' if room else ''}"
        raise too_large(place, f"expected at most {limit}, found {total:,} after compression ({parts})")


def too_large(place: str, found: str) -> ConfigError:
    return ConfigError(
        f"{place}: a job's item in DynamoDB cannot hold this: {found}",
        hint="give the job fewer source objects, or keep checkpoints in s3://BUCKET/PREFIX, which has no such limit",
    )


def size_of(value: Value) -> int:
    return len(value["B"]) if "B" in value else len(value["S"].encode())


def holder_of(item: Item) -> Holder | None:
    if "owner" not in item:
        return None
    return Holder(
        owner=item["owner"]["S"],
        epoch=int(item["epoch"]["N"]),
        beat=int(item["beat"]["N"]),
        since=datetime.fromisoformat(item["since"]["S"]),
        heartbeat=datetime.fromisoformat(item["heartbeat"]["S"]),
    )


@contextmanager
def as_written(where: str) -> Iterator[None]:
    """For what reads an item: StateContradiction where it is not as this store writes them."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateContradiction(
            f"{where}: not an item of a checkpoint store: {type(error).__name__}: {error}",
            hint="see what has written it, and restore it from a copy or delete it",
        ) from error
