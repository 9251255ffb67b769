"""What a run goes on from, changed where it was kept: the right rows, or an error that says so. Never other rows.

``try_sqlite`` runs the command; the others read what a store or the checkpoint topic would have given.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from csv2kafka.checkpoints import dynamodb, s3
from csv2kafka.checkpoints.dynamodb_item import as_written, holder_of, packed, unpacked
from csv2kafka.errors import Csv2KafkaError, StateContradiction
from csv2kafka.kafka.checkpoint_topic import Claim, checkpoint_record
from csv2kafka.kafka.fetched import split
from csv2kafka.kafka.log import records_of
from csv2kafka.kafka.port import TopicPartition
from csv2kafka.model import (
    Checkpoint,
    Counts,
    Position,
    ResumePoint,
    SinkState,
    checkpoint_from_json,
    manifest_from_json,
    to_json,
)
from tests import compressed
from tests.hostile.forked import Forked
from tests.hostile.laws import hold
from tests.hostile.spoil import spoiled

POINT = Checkpoint(
    job="orders",
    run_id="r1",
    position=Position(uri="/a.csv", version="v", offset=5000, resume=ResumePoint(offset=5000), rows=100, line=101),
    header=("id", "name"),
    counts=Counts(rows=100, bytes=5000),
    sink=SinkState(offsets={"data": 777}, first_offset=0, destination_id="t", producer_ids=(7,), producer_epoch=1),
    settings={"format": "json"},
    manifest_digest="d" * 64,
    at=datetime(2026, 1, 2, tzinfo=UTC),
)
CLAIM = Claim(run_id="r1", store_id="s1", producer_id=7, producer_epoch=1, at="2026-01-02")
TARGET = TopicPartition("checkpoints", 0)


def try_json(seed: int) -> str:
    """A checkpoint's own bytes, in Kafka's record (whose CRC is made to fit) or as they are."""
    draw = random.Random(seed)
    kind = draw.randrange(5)
    try:
        if kind == 4:
            found = checkpoint_from_json(to_json(evolve(POINT, job="others")), job=POINT.job, where="here")
            raise AssertionError(found)
        if kind == 0:
            found = checkpoint_from_json(spoiled(draw, to_json(POINT)), job=POINT.job, where="here")
            assert found == POINT, found
        elif kind == 1:
            (batch,) = split(spoiled(draw, bytes(checkpoint_record(POINT))), TARGET)
            for record in records_of(batch):
                found = checkpoint_from_json(record.value or b"", job=POINT.job, where="here")
                assert found == POINT, found
        elif kind == 2:
            Claim.from_json(spoiled(draw, CLAIM.to_json()), where="here")
        else:
            manifest_from_json(spoiled(draw, b'{"objects":[["a.csv",10,"v1"],["-",null,"run=1"]]}'), where="here")
    except Csv2KafkaError as error:
        return type(error).__name__
    except ValueError:
        if kind != 1:
            raise
        return "another number of batches"
    return "as it was"


def try_stores(seed: int) -> str:
    """An item of DynamoDB, an object of S3."""
    draw = random.Random(seed)
    now = POINT.at.isoformat()
    try:
        if draw.random() < 0.5:
            document = s3._Document(
                job="orders", epoch=3, beat=9, owner="me", token="t", since=now, heartbeat=now, write="w",
                checkpoint=json.loads(to_json(POINT)), manifest="k",
            )  # fmt: skip
            body = json.dumps(asdict(document)).encode()
            found = s3._parsed(spoiled(draw, body), "here")
            s3._holder(found)
            if found.checkpoint is not None:
                point = checkpoint_from_json(json.dumps(found.checkpoint), job=POINT.job, where="here")
                assert point == POINT or "sum" not in found.checkpoint, point
        else:
            text = to_json(POINT)
            blob = draw.choice([{"S": text.decode()}, {"B": gzip.compress(text)}])
            item: dict[str, Any] = {"job": {"S": "orders"}, "epoch": {"N": "3"}, "beat": {"N": "4"}, "checkpoint": blob}
            item |= {name: {"S": now} for name in ("owner", "since", "heartbeat", "token")}
            _spoil_item(draw, item)
            with as_written("here"):
                holder_of(item)
                value = unpacked(item.get("checkpoint"))
            if value is not None:
                assert checkpoint_from_json(value, job=POINT.job, where="here") == POINT
            if {"job", "checkpoint"} <= item.keys():  # others are not asked for
                dynamodb.DynamoDBStore("table")._status(item)
    except StateContradiction:
        return "refused"
    return "as it was"


def _spoil_item(draw: random.Random, item: dict[str, Any]) -> None:
    name = draw.choice(list(item))
    kind, value = next(iter(item[name].items()))
    how = draw.randrange(5)
    if how == 0:
        del item[name]
    elif how == 1:
        item[name] = {draw.choice(["S", "N", "B", "M", "NULL"]): draw.choice(["", "x", "-1", b"\x1f\x8b", {}, True])}
    elif how == 2 and isinstance(value, str):
        item[name] = {kind: spoiled(draw, value.encode()).decode(errors="replace")}
    elif how == 3 and name == "checkpoint":
        item[name] = {"B": spoiled(draw, gzip.compress(to_json(POINT)))}
    elif name == "checkpoint":
        item[name] = packed(b"[" * 3000)


def try_states(seed: int) -> str:
    """A decoder's state from elsewhere, or changed (its sum apart): an error of ours, or text."""
    draw = random.Random(seed)
    codec = draw.choice(compressed.CODECS)
    text = b"".join(b"%d,%s\n" % (n, draw.randbytes(4).hex().encode()) for n in range(300))
    data = compressed.member(codec, text) * 2 if codec != "gzip" else compressed.many_blocks(text * 2)
    with compressed.small_points():
        blocks = asyncio.run(compressed.decoded(data, (512,)))
        block = draw.choice(blocks)
        state = (block.resume.state or "").encode()
        given = draw.choice([spoiled(draw, state).decode(errors="replace"), *STATES])
        offset = draw.choice([block.resume.offset, 0, len(data)])
        point = ResumePoint(offset=offset, state=given, skip=block.resume.skip)
        try:
            asyncio.run(compressed.decoded(data, (512,), start=point, offset=block.offset))
        except Csv2KafkaError as error:
            return type(error).__name__
    return "text"


STATES = (
    *("", "{", "{}", "x", "-1", "9" * 5000, "[" * 50_000, '{"codec":"gzip"}', '{"codec":"gzip","at":-1}', "1" * 40),
    *('{"codec":"zstd","at":NaN}', '{"codec":"gzip","at":0,"member":0}', '{"codec":"xz","at":0,"drop":-5}'),
    '{"codec":"gzip","at":0,"member":0,"bits":9,"crc":0,"length":0,"window":"eJwDAAAAAAE="}',
    '{"codec":"bzip2","at":0,"text":5}',
)


def try_sqlite(seed: int, command: Forked, base: Path) -> str:
    """A run that stopped half-way; then something happens to the store's file; then the same command again."""
    draw = random.Random(seed)
    place = base / f"sqlite-{seed}"
    place.mkdir()
    command.directory = place
    rows = b"".join(b"%d,%s\n" % (n, b"x" * (n % 7)) for n in range(300))
    (place / "a.csv").write_bytes(b"a,b\n" + rows + b'"' * 3 + b"\n9,9\n")  # a bad row stops it there
    run = ["run", "a.csv", "-o", "out", "--format", "raw", "--checkpoints", "sqlite:///c.db", "--job", "j"]
    run += ["--checkpoint-rows", "100", "--give-up-after", "3", "--connect-timeout", "3"]
    try:
        first = command.run(*run)
        hold(first, codes=frozenset({65}))
        there = (place / "out").read_bytes()
        assert rows.startswith(there)
        assert there
        how = draw.choice(HARMS)
        how(draw, place / "c.db")
        again = command.run(*run)
        hold(again)
        hold(command.run("status", "--checkpoints", "sqlite:///c.db"))
        written = (place / "out").read_bytes()
        assert written.startswith(there), f"gone: {again}"
        assert rows.startswith(written), f"other rows: {again}"
        return f"{how.__name__} {again.code}"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def flip(draw: random.Random, file: Path) -> None:
    """A bit."""
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def flip_checkpoint(draw: random.Random, file: Path) -> None:
    """A bit of the checkpoint's own."""
    data = bytearray(file.read_bytes())
    at = data.find(b'{"at":')
    assert at > 0
    data[draw.randrange(at, at + 500)] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def cut(draw: random.Random, file: Path) -> None:
    """Some of its end."""
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def empty(draw: random.Random, file: Path) -> None:
    """All of it."""
    file.write_bytes(b"")


def other(draw: random.Random, file: Path) -> None:
    """Another program's database, or none at all."""
    file.unlink()
    kind = draw.randrange(4)
    if kind == 0:
        with closing(sqlite3.connect(file)) as db:
            db.execute("CREATE TABLE jobs (x)")
    elif kind == 1:
        file.mkdir()
    elif kind == 2:
        file.write_bytes(b"SQLite format 3\0" + draw.randbytes(4000))
    else:
        file.symlink_to(file.name)


def another_jobs(draw: random.Random, file: Path) -> None:
    """A checkpoint that is whole, and of another job."""
    with closing(sqlite3.connect(file)) as db:
        ((text,),) = db.execute("SELECT checkpoint FROM jobs")
        point = checkpoint_from_json(text, job="j", where="here")
        db.execute(
            "UPDATE jobs SET checkpoint = ?", (to_json(evolve(point, job=draw.choice(["i", "", "J"]))).decode(),)
        )
        db.commit()


def columns(draw: random.Random, file: Path) -> None:
    """Its columns hold what no run has written."""
    values: list[Any] = [None, "", "x", -1, 2**62, b"\xff", 1.5, "[" * 3000, '{"format":1}', "2026", '{"format":2}']
    leases = ["epoch", "owner", "pid", "heartbeat", "since"]
    places = {"jobs": ["checkpoint", "manifest"], "leases": leases, "store": ["id"]}
    table = draw.choice(list(places))
    column = draw.choice(places[table])
    with closing(sqlite3.connect(file)) as db, suppress(sqlite3.IntegrityError):
        if draw.random() < 0.5:
            db.execute("UPDATE leases SET owner = 'somebody'")
        db.execute(f"UPDATE {table} SET {column} = ?", (draw.choice(values),))
        db.commit()


Harm = Callable[[random.Random, Path], None]
HARMS: tuple[Harm, ...] = (flip, flip, flip_checkpoint, flip_checkpoint, cut, empty, other, another_jobs, columns)
