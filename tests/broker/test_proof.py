"""Receipts on a real broker: written by the installed command, and held against what has become of topic and source."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from csv2kafka.model.state import DIGEST_MASK, DIGEST_MULTIPLIER
from tests.broker.command import Job, ended
from tests.conftest import OwnKafka, create_topic
from tests.faults.installed import Installed, write_csv

SECONDS = 60.0
ROWS = 3000


@frozen(kw_only=True)
class Proved:
    """A job that is complete, and its receipt."""

    job: Job
    receipt: Path

    def check(self, *more: str, code: int = 0, servers: str | None = None) -> str:
        """What is said of the receipt, from another place than that of the run."""
        elsewhere = self.job.directory / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        arguments = ["verify", "--check-proof", str(self.receipt), "--progress", "none", *more]
        where = ["-b", servers or self.job.servers]
        return ended(Installed([*arguments, *where], elsewhere).start(), code)

    def checked(self, code: int = 0) -> dict[str, Any]:
        """The same for programs."""
        found: dict[str, Any] = json.loads(self.check("--json", code=code))
        return found

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.receipt.read_text())
        return found

    @property
    def last_offset(self) -> int:
        return int(self.said["destination"]["last_offset"])


@pytest.fixture
def proved(bootstrap_servers: str, topic: str, tmp_path: Path) -> Proved:
    source = tmp_path / "rows.csv"
    write_csv(source, ROWS)
    job = Job(source=source, servers=bootstrap_servers, topic=topic, directory=tmp_path)
    job.run("--key", "id,city", "--checkpoint-rows", "500")
    receipt = tmp_path / "receipt.json"
    assert f"receipt: {receipt}" in job.verify("--key", "id,city", "--proof", str(receipt))
    return Proved(job=job, receipt=receipt)


def admin_of(job: Job) -> AdminClient:
    return AdminClient({"bootstrap.servers": job.servers})


def delete_before(job: Job, offset: int) -> None:
    """As retention does, at once."""
    admin = admin_of(job)  # held on to: its answers go with it
    for each in admin.delete_records([TopicPartition(job.topic, 0, offset)]).values():
        assert each.result(SECONDS).low_watermark == offset


def test_it_holds_and_says_what_another_client_sees(proved: Proved) -> None:
    rows = proved.job.rows()
    content = 0
    for row in rows:
        hashed = xxh3_128_intdigest(row.value or b"", xxh3_64_intdigest(row.key or b""))
        content = (content * DIGEST_MULTIPLIER + hashed) & DIGEST_MASK
    said = proved.said
    side = said["destination"]
    assert (said["rows"], side["content_hash"], said["source"]["content_hash"]) == (ROWS, *[f"{content:032x}"] * 2)
    assert (side["first_offset"], side["last_offset"]) == (rows[0].offset, rows[-1].offset)
    assert said["checkpoint"]["content_hash"] == side["content_hash"]
    assert said["checkpoint"]["transactions"] == ROWS // 500 + 1
    assert side["topic_id"]
    assert side["cluster_id"] == admin_of(proved.job).list_topics(timeout=SECONDS).cluster_id
    assert proved.checked() == {
        "holds": True,
        "source": "holds",
        "destination": "holds",
        "differences": [],
        "rows": ROWS,
        "content_hash": side["content_hash"],
        "grown": 0,
        "seconds": pytest.approx(0, abs=60),
    }


def test_records_that_come_behind_are_no_difference(proved: Proved) -> None:
    producer = Producer({"bootstrap.servers": proved.job.servers})
    producer.produce(proved.job.topic, value=b"of somebody else")
    assert producer.flush(SECONDS) == 0
    assert "1 offset more behind them" in proved.check()
    assert proved.checked()["grown"] == 1


def test_rows_that_are_deleted_at_the_front(proved: Proved) -> None:
    delete_before(proved.job, 7)  # amid the first batch: brokers go on giving it whole
    assert proved.job.rows()[0].offset == 7
    told = proved.check(code=65)
    assert f"topic {proved.job.topic} partition 0: the rows from offset 0 to 6 are gone" in told
    assert "the topic now begins at 7" in told
    told = proved.job.verify("--key", "id,city", code=65)
    assert "the job began at offset 0, the topic now begins at 7" in told


def test_all_rows_are_deleted(proved: Proved) -> None:
    delete_before(proved.job, proved.last_offset + 1)
    assert "all rows are gone" in proved.check(code=65)


def test_a_topic_made_anew_with_the_same_rows(proved: Proved) -> None:
    job, admin = proved.job, admin_of(proved.job)
    admin.delete_topics([job.topic])[job.topic].result(SECONDS)
    deadline = time.monotonic() + SECONDS
    while job.topic in admin.list_topics(timeout=SECONDS).topics:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "is not there any more" in proved.check(code=65)
    create_topic(job.servers, job.topic)
    job.run("--key", "id,city", "--checkpoint-rows", "500", "--restart")
    (told,) = proved.checked(code=65)["differences"]
    assert told.startswith(f"topic {job.topic}: was deleted and made anew: its id was ")
    assert "source: 1 object, the same versions" in proved.check(code=65)


def test_a_source_that_was_touched_changed_or_is_gone(proved: Proved) -> None:
    source = proved.job.source
    os.utime(source, ns=(0, 0))
    assert "(only its modification time differs)" in proved.check("--only", "source", code=65)
    source.write_bytes(source.read_bytes() + b"x")
    told = proved.check(code=65)
    assert f"{source}: was changed: it was size=" in told
    assert f"topic {proved.job.topic} partition 0: 3,000 rows at offsets 0 to" in told
    source.unlink()
    assert f"{source}: it is gone" in proved.check(code=65)
    assert "source: not looked at" in proved.check("--only", "destination")


def test_another_cluster(proved: Proved, own_kafka: OwnKafka) -> None:
    """With the same rows in a topic of the same name."""
    other = own_kafka()
    create_topic(other.bootstrap_servers, proved.job.topic)
    told = proved.check(servers=other.bootstrap_servers, code=65)
    assert "this is another cluster" in told


def test_a_receipt_that_was_edited(proved: Proved) -> None:
    proved.receipt.write_text(proved.receipt.read_text().replace('"rows": 3000', '"rows": 3001'))
    assert "was changed after it was written" in proved.check(code=65)
    assert proved.checked(code=65)["holds"] is False


def test_no_receipt_of_what_differs_and_the_old_one_stays(proved: Proved) -> None:
    before = proved.receipt.read_bytes()
    proved.job.source.write_bytes(proved.job.source.read_bytes().replace(b"Y", b"N", 1))
    proved.job.verify("--key", "id,city", "--proof", str(proved.receipt), code=65)
    assert proved.receipt.read_bytes() == before
    new = proved.job.directory / "new.json"
    proved.job.verify("--key", "id,city", "--proof", str(new), code=65)
    assert not new.exists()


def test_what_contradicts_it_is_refused(proved: Proved) -> None:
    told = proved.check("-t", "another", code=2)
    assert f"the receipt is of topic {proved.job.topic} partition 0, found topic another partition 0" in told
