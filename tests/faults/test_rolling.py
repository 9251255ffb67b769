"""What a managed cluster does to a run: brokers patched one by one, one that is lost, leaders that move, quotas.

Three brokers, the installed command, and in the end another client that reads the partition with read_committed.
``pytest -s`` shows how long the run took to go on after each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import need_local_kafka
from tests.faults.installed import Installed
from tests.faults.test_crashes import assert_holds_exactly
from tests.kafka_cluster import KafkaCluster, until

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(400)]

TOPIC = "orders"
ROWS = 170_000
ROW_BYTES = 1000
# A quota keeps the run going while things happen to it: it would be over in seconds.
PACE = 2_500_000
CRAWL = 150_000  # a batch in seven seconds, more than the request time-out
REQUEST_MS = 5000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    need_local_kafka()
    with KafkaCluster(tmp_path) as cluster:
        cluster.create_topic(TOPIC)
        yield cluster


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_run_on_a_cluster_that_is_worked_on(cluster: KafkaCluster, tmp_path: Path, delivery: str) -> None:
    source = tmp_path / "rows.csv"
    with source.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{number},{str(number) * 10:x<{ROW_BYTES}}\n" for number in range(ROWS))
    cluster.limit_producers(PACE)
    arguments = ["run", str(source), "-b", cluster.bootstrap_servers, "-t", TOPIC, "--progress", "json"]
    arguments += ["--delivery", delivery, "--compression", "none", "--checkpoint-rows", "1000"]
    arguments += ["--kafka", f"request_timeout_ms={REQUEST_MS}"]
    run = Installed(arguments, tmp_path).start()
    try:
        with goes_on(run):
            pass
        if delivery == "exactly-once":
            roll(cluster, run)
        lose(cluster, run)
        told = len(run.output)
        with goes_on(run):
            cluster.limit_producers(CRAWL)
        with goes_on(run):
            pass
        # A leader may still move back; a pause that is taken for lateness ends a session with these words.
        assert "had no answer" not in run.output[told:], f"a quota's pauses cost a session:\n{run.output[-3000:]}"
        assert run.committed_rows() < ROWS, "it was over before the end of what was to happen to it"
        cluster.limit_producers(None)
        assert run.end() == 0, run.output[-3000:]
    finally:
        if run.process.poll() is None:
            run.kill()
        print(*losses(run), sep="\n")
    assert_holds_exactly(cluster.bootstrap_servers, TOPIC, source)


def roll(cluster: KafkaCluster, run: Installed) -> None:
    """Stop each broker as it is to be stopped, and start it again; then leaders go back to where they belong."""
    for node in cluster.nodes.values():
        with goes_on(run):
            node.stop()
        node.start()
        cluster.until_in_sync()
    with goes_on(run):
        cluster.elect_preferred_leaders()
        until(lambda: cluster.leader(TOPIC) == cluster.preferred_leader(TOPIC))


def lose(cluster: KafkaCluster, run: Installed) -> None:
    """Kill the broker that leads; when it is back, it leads again."""
    first = cluster.leader(TOPIC)
    with goes_on(run):
        cluster.nodes[first].kill()
        until(lambda: cluster.leader(TOPIC) not in (-1, first))
    cluster.nodes[first].start()
    cluster.until_in_sync()
    with goes_on(run):
        cluster.elect_preferred_leaders()
        until(lambda: cluster.leader(TOPIC) == cluster.preferred_leader(TOPIC))


@contextmanager
def goes_on(run: Installed) -> Iterator[None]:
    """Something happens to the run; behind it more rows are committed than before."""
    yield
    rows = run.committed_rows()
    until(lambda: run.committed_rows() > rows or run.process.poll() is not None)
    assert run.process.poll() is None, f"ended with {run.process.poll()}:\n{run.output[-3000:]}"


def losses(run: Installed) -> Iterator[str]:
    """Each loss of a session that the run told of, and how long it was to the next one and to its first commit."""
    events = [json.loads(line) for line in run.output.splitlines() if line.startswith("{")]
    lost, reason, opened = None, "", 0.0
    for event in events:
        at = datetime.fromisoformat(event["at"]).timestamp()
        if event["event"] == "waiting" and lost is None:
            lost, reason, opened = at, event["reason"], 0.0
        elif event["event"] == "session" and lost is not None:
            opened = at - lost
        elif event["event"] == "committed" and lost is not None:
            yield f"a session after {opened:.1f} s, a commit after {at - lost:.1f} s: {reason}"
            lost = None
