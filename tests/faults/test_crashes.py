"""The promise, shown on the installed command and a real broker: whatever crashes, each row once, in order.

Every test ends with another client reading the partition with read_committed.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.conftest import OwnKafka
from tests.faults.installed import Installed, expected_values, write_csv
from tests.reading import read_partition

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]

MILLION = 1_000_000
KILLS = 10
DELIVERIES = ["exactly-once", "at-least-once"]


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("million") / "rows.csv"
    write_csv(path, MILLION)
    yield path
    path.unlink()


@pytest.fixture
def smaller(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    write_csv(path, 300_000)
    return path


def run_of(source: Path, servers: str, topic: str, directory: Path, *more: str) -> Installed:
    arguments = ["run", str(source), "-b", servers, "-t", topic, "--progress", "json", "--checkpoint-interval", "0.2"]
    return Installed([*arguments, *more], directory)


def assert_holds_exactly(servers: str, topic: str, source: Path) -> None:
    """The partition is the CSV: each row once, in order, nothing besides."""
    rows = read_partition(servers, topic, seconds=120)
    for number, (row, expected) in enumerate(zip_longest(rows, expected_values(source)), 1):
        found = row.value if row else None
        assert found == expected, f"row {number}: expected {expected!r}, found {found!r} of {len(rows)} records"


def wait_until(done: Callable[[], bool], run: Installed, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert run.process.poll() is None, f"ended with {run.process.poll()}:\n{run.output[-3000:]}"
        assert time.monotonic() < deadline, f"waited {seconds} s:\n{run.output[-3000:]}"
        time.sleep(0.01)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_killed_ten_times_and_more(
    million: Path, bootstrap_servers: str, topic: str, tmp_path: Path, delivery: str
) -> None:
    """SIGKILL at random moments: some while opening, most while rows are under way."""
    draw = random.Random(delivery)
    short = ("--delivery", delivery, "--kafka", "request_timeout_ms=3000")
    rows, kills = 0, 0
    while kills < KILLS + 2:
        run = run_of(million, bootstrap_servers, topic, tmp_path, *short).start()
        if kills % 4 == 3:
            time.sleep(draw.uniform(0.2, 1.0))
        else:
            before = rows
            wait_until(lambda run=run, before=before: run.committed_rows() > before, run)  # type: ignore[misc]
            time.sleep(draw.uniform(0, 0.25))
        assert run.process.poll() is None, run.output[-3000:]
        run.kill()
        kills += 1
        rows = max(rows, run.committed_rows())
        assert rows < MILLION, "the job was done before it was killed often enough"
    last = run_of(million, bootstrap_servers, topic, tmp_path, *short).start()
    assert last.end() == 0, last.output[-3000:]
    assert_holds_exactly(bootstrap_servers, topic, million)


def test_a_run_that_sleeps_past_its_lease_changes_nothing(
    smaller: Path, bootstrap_servers: str, topic: str, tmp_path: Path
) -> None:
    first = run_of(smaller, bootstrap_servers, topic, tmp_path).start()
    wait_until(lambda: first.committed_rows() > 0, first)
    first.signal(signal.SIGSTOP)
    second = run_of(smaller, bootstrap_servers, topic, tmp_path).start()
    assert second.end() == 0, second.output[-3000:]
    before = read_partition(bootstrap_servers, topic)
    first.signal(signal.SIGCONT)
    assert first.end(60) == 76, first.output[-3000:]
    assert read_partition(bootstrap_servers, topic) == before
    assert_holds_exactly(bootstrap_servers, topic, smaller)


def test_a_second_live_run_is_refused_naming_the_first(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    """The first waits for more input, so it is surely alive when the second looks."""
    stdin = Path("-")
    first = run_of(stdin, bootstrap_servers, topic, tmp_path, "--job", "shared").start(subprocess.PIPE)
    pipe = first.process.stdin
    assert pipe is not None
    pipe.write(b"id\n1\n2\n")
    pipe.flush()
    wait_until(lambda: '"session' in first.output, first)
    second = run_of(stdin, bootstrap_servers, topic, tmp_path, "--job", "shared").start()
    assert second.end(30) == 76, second.output
    assert f"process {first.process.pid} on" in second.output
    pipe.close()
    assert first.end() == 0, first.output
    assert [row.value for row in read_partition(bootstrap_servers, topic)] == [b'{"id":"1"}', b'{"id":"2"}']


def test_two_runs_on_stores_that_do_not_know_each_other(
    million: Path, bootstrap_servers: str, topic: str, tmp_path: Path
) -> None:
    runs = [
        run_of(million, bootstrap_servers, topic, tmp_path, "--checkpoints", f"sqlite:///{tmp_path}/{name}.db").start()
        for name in ("one", "other")
    ]
    assert sorted(run.end() for run in runs) == [0, 76], "\n---\n".join(run.output[-2000:] for run in runs)
    assert_holds_exactly(bootstrap_servers, topic, million)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_broker_goes_away_and_comes_back(smaller: Path, own_kafka: OwnKafka, tmp_path: Path, delivery: str) -> None:
    node = own_kafka()
    more = ("--create-topic", "--delivery", delivery, "--kafka", "request_timeout_ms=5000")
    run = run_of(smaller, node.bootstrap_servers, "orders", tmp_path, *more).start()
    wait_until(lambda: run.committed_rows() > 0, run)
    node.kill()
    time.sleep(20)
    assert run.process.poll() is None, run.output[-3000:]
    assert '"waiting"' in run.output
    node.restart()
    assert run.end() == 0, run.output[-3000:]
    assert_holds_exactly(node.bootstrap_servers, "orders", smaller)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_commits_and_goes_on_later(
    smaller: Path, bootstrap_servers: str, topic: str, tmp_path: Path, number: signal.Signals
) -> None:
    run = run_of(smaller, bootstrap_servers, topic, tmp_path).start()
    wait_until(lambda: run.committed_rows() > 0, run)
    run.signal(number)
    assert run.end(10) == 75, run.output[-3000:]
    committed = run.committed_rows()
    assert len(read_partition(bootstrap_servers, topic)) == committed
    again = run_of(smaller, bootstrap_servers, topic, tmp_path).start()
    assert again.end() == 0, again.output[-3000:]
    assert_holds_exactly(bootstrap_servers, topic, smaller)


def test_asked_to_stop_while_the_broker_is_away(smaller: Path, own_kafka: OwnKafka, tmp_path: Path) -> None:
    node = own_kafka()
    run = run_of(smaller, node.bootstrap_servers, "orders", tmp_path, "--create-topic").start()
    wait_until(lambda: run.committed_rows() > 0, run)
    node.kill()
    time.sleep(1)
    run.signal(signal.SIGTERM)
    assert run.end(10) == 75, run.output[-3000:]


def test_started_again_after_success_it_says_so(
    smaller: Path, bootstrap_servers: str, topic: str, tmp_path: Path
) -> None:
    assert run_of(smaller, bootstrap_servers, topic, tmp_path).start().end() == 0
    again = run_of(smaller, bootstrap_servers, topic, tmp_path).start()
    assert again.end() == 0
    assert "complete" in again.output
    assert_holds_exactly(bootstrap_servers, topic, smaller)
