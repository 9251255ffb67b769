"""The demo against a real Kafka: what it reads back, what it cleans up, and all of it as a newcomer calls it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from rich.console import Console

from csv2kafka.cli.demo import child, places
from csv2kafka.cli.demo.rows import Tally
from csv2kafka.errors import Stopped
from tests.conftest import RunningKafka, create_topic, need_local_kafka

ROWS = 20_000
DEMO_SECONDS = 110.0


def _topics(kafka: RunningKafka) -> set[str]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    return {name for name in admin.list_topics(timeout=20).topics if name.startswith("csv2kafka-demo-")}


def test_what_is_counted_is_what_a_read_committed_consumer_gets(kafka: RunningKafka, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions(20)
    for numbers, commit in (((1, 2), True), ((3, 4), False), ((3, 5, 4), True)):
        producer.begin_transaction()
        for number in numbers:
            producer.produce(topic, value=b'{"row": "%d"}' % number)
        producer.commit_transaction(20) if commit else producer.abort_transaction(20)
    tally = Tally(6)
    places._kafka(kafka.bootstrap_servers, topic, {}).count(tally)
    assert (tally.lost, tally.doubled, tally.out_of_order) == (1, 0, 1)


def test_its_topics_in_the_users_kafka_are_deleted(kafka: RunningKafka) -> None:
    text = io.StringIO()
    before = _topics(kafka)
    with places._their_kafka(Console(file=text, width=200), kafka.bootstrap_servers, {}) as where:
        name = where.flags[-1]
        create_topic(kafka.bootstrap_servers, name)  # the other was never made, as in a run that failed at once
        assert name in _topics(kafka)
    assert "deleted again" in text.getvalue()
    assert _topics(kafka) == before


def test_what_could_not_be_deleted_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(places, "_delete", refuse)
    text = io.StringIO()
    with places._their_kafka(Console(file=text, width=300), "127.0.0.1:1", {}) as where:
        pass
    assert re.search(
        f"could not be deleted.*please delete {where.flags[-1]} and {where.flags[-1]}-checkpoints", text.getvalue()
    )


def _processes_in(directory: Path) -> list[str]:
    """Those that work in the directory: the demo's Kafka and its runs do."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.fixture
def started_demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """``csv2kafka demo`` as a newcomer starts it; its temporary files are made in tmp_path."""
    need_local_kafka()
    process = subprocess.Popen(
        [*child.program(), "demo", "--rows", str(ROWS)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_a_newcomer_sees_it_work(started_demo: subprocess.Popen[str], tmp_path: Path) -> None:
    text, _ = started_demo.communicate(timeout=DEMO_SECONDS)
    assert started_demo.returncode == 0, text
    assert "$ csv2kafka run orders.csv -b 127.0.0.1:" in text
    table = dict(re.findall(r"│ ([a-z ]+?) +│ +([\d,]+) │", text))
    assert int(table.pop("rows a second").replace(",", "")) > 0
    assert table.pop("kills") in {"0", "1"}  # on a fast machine so few rows may be done too soon
    assert table == {"rows": f"{ROWS:,}", "lost": "0", "doubled": "0", "out of order": "0"}, text
    assert list(tmp_path.iterdir()) == []
    assert _processes_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_on_when_it_is_stopped(
    started_demo: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    assert started_demo.stdout is not None
    for line in started_demo.stdout:
        if line.startswith("  $ csv2kafka run"):
            break
    assert _processes_in(tmp_path) != []
    started_demo.send_signal(number)
    text, _ = started_demo.communicate(timeout=DEMO_SECONDS)
    deadline = time.monotonic() + 20
    while _processes_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _processes_in(tmp_path) == []
    if number != signal.SIGKILL:
        assert started_demo.returncode == Stopped.exit_code, text
        assert "nothing of it is left" in text
        assert list(tmp_path.iterdir()) == []
