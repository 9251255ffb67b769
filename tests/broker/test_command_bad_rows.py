"""Bad rows through the installed command: stopped at, skipped, and as dead letters that another client reads."""

from __future__ import annotations

import random
import time
from itertools import count
from pathlib import Path

import pytest
from attrs import evolve

from tests.broker.command import Job, ended
from tests.conftest import MakeTopic
from tests.reading import Row, read_partition

BAD = b'id,name\n1,one\n2\n3,"th\nree"\n4,four,x\n5,"fi"ve\n6,six\n'
GOOD = [b'{"id":"1","name":"one"}', b'{"id":"3","name":"th\\nree"}', b'{"id":"6","name":"six"}']
REFUSED = [(2, 3, 14, b"2"), (4, 6, 27, b"4,four,x"), (5, 7, 36, b'5,"fi"ve')]  # row, line, byte, bytes
KILLS = 4


@pytest.fixture
def job(bootstrap_servers: str, topic: str, tmp_path: Path) -> Job:
    source = tmp_path / "rows.csv"
    source.write_bytes(BAD)
    return Job(source=source, servers=bootstrap_servers, topic=topic, directory=tmp_path)


def place(letter: Row) -> tuple[int, int, int]:
    headers = dict(letter.headers)
    return tuple(int(headers[name] or b"") for name in ("row", "line", "byte"))  # type: ignore[return-value]


def test_fail_has_everything_before_committed_and_skip_goes_on(job: Job) -> None:
    for _ in range(2):  # run again it stops at the same row
        told = job.run(code=65)
        assert "rows.csv: row 2 (line 3, byte 14)" in told
        assert job.values() == GOOD[:1]
    told = job.run("--on-bad-row", "skip")
    assert job.values() == GOOD
    assert "3 bad rows refused" in told
    for row, line, byte, _value in REFUSED:
        assert f"row {row} (line {line}, byte {byte})" in told
    assert "3 rows" in job.verify()


def test_dead_letters_have_the_rows_bytes_and_their_place(job: Job, make_topic: MakeTopic) -> None:
    refused = make_topic()
    job.run(code=65)
    job.run("--on-bad-row", "dead-letter", "--dead-letter-topic", refused)
    assert job.values() == GOOD
    letters = read_partition(job.servers, refused)
    assert [(*place(letter), letter.value) for letter in letters] == REFUSED
    for letter in letters:
        headers = dict(letter.headers)
        assert set(headers) == {"source", "row", "line", "byte", "reason"}
        assert (headers["source"] or b"").endswith(b"rows.csv")
    reasons = [dict(letter.headers)["reason"] or b"" for letter in letters]
    assert b"few" in reasons[0]
    assert b"many" in reasons[1]
    assert b"quote" in reasons[2]


def test_a_row_over_the_topics_limit_is_a_bad_row(job: Job, make_topic: MakeTopic) -> None:
    """One fits into the dead-letter topic; the other goes there by its place alone."""
    small, larger = make_topic(config={"max.message.bytes": "2000"}), make_topic(config={"max.message.bytes": "5000"})
    job = evolve(job, topic=small)
    noise = random.Random(1).randbytes(6000).hex().encode()
    first, second = b"2," + noise[:3000], b"4," + noise
    job.source.write_bytes(b"\n".join([b"id,name", b"1,x", first, b"3,x", second, b"5,x", b""]))
    told = job.run("--compression", "none", code=65)
    assert "row 2 (line 3, byte 12)" in told
    assert "max.message.bytes is 2000" in told
    job.run("--compression", "none", "--on-bad-row", "dead-letter", "--dead-letter-topic", larger)
    assert job.values() == [b'{"id":"%d","name":"x"}' % row for row in (1, 3, 5)]
    letters = read_partition(job.servers, larger)
    assert [letter.value for letter in letters] == [first, None]
    assert [place(letter)[0] for letter in letters] == [2, 4]
    assert all(b"max.message.bytes" in (dict(letter.headers)["reason"] or b"") for letter in letters)


def test_killed_among_dead_letters_none_is_lost_or_doubled(job: Job, make_topic: MakeTopic) -> None:
    """Every third row is one; SIGKILL at random moments between and in transactions."""
    rows, refused, draw = 30_000, make_topic(), random.Random(7)
    lines = [b"%d" % row if row % 3 == 0 else b"%d,%d" % (row, row) for row in range(1, rows + 1)]
    job.source.write_bytes(b"\n".join([b"a,b", *lines, b""]))
    options = ("--on-bad-row", "dead-letter", "--dead-letter-topic", refused, "--checkpoint-rows", "100")
    committed = 0
    for _ in range(KILLS):
        run = job.start(*options, progress="json")
        for waited in count():
            if run.committed_rows() > committed:
                break
            assert run.process.poll() is None, run.output[-3000:]
            assert waited < 6000, run.output[-3000:]
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.1))
        assert run.process.poll() is None, "the run was over before it was killed"
        run.kill()
        committed = run.committed_rows()
    ended(job.start(*options), 0)
    assert job.values() == [b'{"a":"%d","b":"%d"}' % (row, row) for row in range(1, rows + 1) if row % 3]
    letters = read_partition(job.servers, refused)
    assert [(place(letter)[0], letter.value) for letter in letters] == [
        (row, b"%d" % row) for row in range(3, rows + 1, 3)
    ]
