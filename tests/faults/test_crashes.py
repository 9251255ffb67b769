"""The promise, shown on the installed command and a real broker: whatever crashes, each row once, in order.

Every test ends with another client reading the partition with read_committed.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.conftest import OwnKafka
from tests.faults.installed import KERNEL, Installed, Killing, expected_values, write_csv
from tests.reading import each_row, read_partition

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(600)]

KILLED_ROWS = 1_200_000
KILLS = 10  # that hit the run amid rows
DELIVERIES = ["exactly-once", "at-least-once"]
# Many commits, commits of several batches, and commits by the clock.
COMMITS = [("--checkpoint-rows", "3000"), ("--checkpoint-rows", "20000"), ("--checkpoint-interval", "0.03")]


@pytest.fixture(scope="module")
def millions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("millions") / "rows.csv"
    write_csv(path, KILLED_ROWS)
    yield path
    path.unlink()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Its run takes some seconds: it has 150 commits to do."""
    path = tmp_path / "rows.csv"
    write_csv(path, 150_000)
    return path


def run_of(
    source: Path,
    servers: str,
    topic: str,
    directory: Path,
    *more: str,
    commits: tuple[str, str] = ("--checkpoint-rows", "1000"),
    kernel: str = KERNEL,
) -> Installed:
    arguments = ["run", str(source), "-b", servers, "-t", topic, "--progress", "json", *commits, *more]
    return Installed(arguments, directory, kernel)


def assert_holds_exactly(servers: str, topic: str, source: Path) -> None:
    """The partition is the CSV: each row once, in order, nothing besides."""
    rows = each_row(servers, topic, seconds=120)
    for number, (row, expected) in enumerate(zip_longest(rows, expected_values(source)), 1):
        found = row.value if row else None
        assert found == expected, f"row {number}: expected {expected!r}, found {found!r}"


def wait_until(done: Callable[[], bool], run: Installed, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert run.process.poll() is None, f"ended with {run.process.poll()}:\n{run.output[-3000:]}"
        assert time.monotonic() < deadline, f"waited {seconds} s:\n{run.output[-3000:]}"
        time.sleep(0.01)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_killed_ten_times_and_more(
    millions: Path, bootstrap_servers: str, topic: str, tmp_path: Path, delivery: str
) -> None:
    """SIGKILL at random moments: most amid rows, some while opening, some on the other kernel, which goes on where
    the first stopped."""
    draw = random.Random(delivery)
    killing = Killing(draw)
    more = ("--delivery", delivery, "--kafka", "request_timeout_ms=2000")
    lives = 0
    while killing.hits[KERNEL] < KILLS:
        lives += 1
        kernel = "python" if lives % 5 == 0 else KERNEL
        commits = draw.choice(COMMITS)
        run = run_of(millions, bootstrap_servers, topic, tmp_path, *more, commits=commits, kernel=kernel).start()
        if lives % 5 == 3:
            killing.while_starting(run, (0.1, 0.6))
        else:
            killing.amid_rows(run, 0.1)
    assert killing.rows < KILLED_ROWS
    last = run_of(millions, bootstrap_servers, topic, tmp_path, *more, commits=COMMITS[-1]).start()
    assert last.end() == 0, last.output[-3000:]
    assert_holds_exactly(bootstrap_servers, topic, millions)


def test_a_run_that_sleeps_past_its_lease_changes_nothing(
    source: Path, bootstrap_servers: str, topic: str, tmp_path: Path
) -> None:
    first = run_of(source, bootstrap_servers, topic, tmp_path).start()
    wait_until(lambda: first.committed_rows() > 0, first)
    stop_outside_of_the_store(first)
    second = run_of(source, bootstrap_servers, topic, tmp_path).start()
    assert second.end() == 0, second.output[-3000:]
    before = read_partition(bootstrap_servers, topic)
    first.signal(signal.SIGCONT)
    assert first.end(60) == 76, first.output[-3000:]
    assert read_partition(bootstrap_servers, topic) == before
    assert_holds_exactly(bootstrap_servers, topic, source)


def stop_outside_of_the_store(run: Installed) -> None:
    """SIGSTOP while the run writes nothing there: a stopped process goes on holding SQLite's lock, as any file's."""
    store = run.directory / "state" / "csv2kafka" / "checkpoints.sqlite"
    for _ in range(200):
        run.signal(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(store, timeout=0.2, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError:
            run.signal(signal.SIGCONT)
            time.sleep(0.01)
    pytest.fail("the run held the store's lock each time it was stopped")


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
    source: Path, bootstrap_servers: str, topic: str, tmp_path: Path
) -> None:
    runs = [
        run_of(source, bootstrap_servers, topic, tmp_path, "--checkpoints", f"sqlite:///{tmp_path}/{name}.db").start()
        for name in ("one", "other")
    ]
    assert sorted(run.end() for run in runs) == [0, 76], "\n---\n".join(run.output[-2000:] for run in runs)
    assert_holds_exactly(bootstrap_servers, topic, source)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_broker_goes_away_and_comes_back(source: Path, own_kafka: OwnKafka, tmp_path: Path, delivery: str) -> None:
    node = own_kafka()
    more = ("--create-topic", "--delivery", delivery, "--kafka", "request_timeout_ms=5000")
    run = run_of(source, node.bootstrap_servers, "orders", tmp_path, *more).start()
    wait_until(lambda: run.committed_rows() > 0, run)
    node.kill()
    time.sleep(20)
    assert run.process.poll() is None, run.output[-3000:]
    assert '"waiting"' in run.output
    node.restart()
    assert run.end() == 0, run.output[-3000:]
    assert_holds_exactly(node.bootstrap_servers, "orders", source)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_commits_and_goes_on_later(
    source: Path, bootstrap_servers: str, topic: str, tmp_path: Path, number: signal.Signals
) -> None:
    run = run_of(source, bootstrap_servers, topic, tmp_path).start()
    wait_until(lambda: run.committed_rows() > 0, run)
    run.signal(number)
    assert run.end(10) == 75, run.output[-3000:]
    committed = run.committed_rows()
    assert len(read_partition(bootstrap_servers, topic)) == committed
    again = run_of(source, bootstrap_servers, topic, tmp_path).start()
    assert again.end() == 0, again.output[-3000:]
    assert_holds_exactly(bootstrap_servers, topic, source)


def test_asked_to_stop_while_the_broker_is_away(source: Path, own_kafka: OwnKafka, tmp_path: Path) -> None:
    node = own_kafka()
    run = run_of(source, node.bootstrap_servers, "orders", tmp_path, "--create-topic").start()
    wait_until(lambda: run.committed_rows() > 0, run)
    node.kill()
    time.sleep(1)
    run.signal(signal.SIGTERM)
    assert run.end(10) == 75, run.output[-3000:]


def test_started_again_after_success_it_says_so(
    source: Path, bootstrap_servers: str, topic: str, tmp_path: Path
) -> None:
    assert run_of(source, bootstrap_servers, topic, tmp_path).start().end() == 0
    again = run_of(source, bootstrap_servers, topic, tmp_path).start()
    assert again.end() == 0
    assert "complete" in again.output
    assert_holds_exactly(bootstrap_servers, topic, source)
