"""Brokers of a cluster of three: killed, stopped, frozen; the leader, the controller, the job's coordinator; rolled."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from csv2kafka.cli.local_kafka import LocalKafka
from tests.chaos.job import Run
from tests.chaos.places import ThreeBrokers
from tests.chaos.trial import Trial
from tests.kafka_cluster import KafkaCluster

TRANSACTIONS = "__transaction_state"
PARTITIONS = 4  # of it: csv2kafka.cli.local_kafka
ACTIVE = re.compile(r"^\[(?P<at>[^\]]+)\] INFO .*Becoming the active controller", re.MULTILINE)
How = Callable[[LocalKafka], Callable[[], None]]  # does it to the node, and gives what undoes it
FROZEN = (1.0, 9.0)  # seconds; the brokers' session ends after 4


def _cluster(trial: Trial) -> KafkaCluster:
    assert isinstance(trial.place, ThreeBrokers)
    return trial.place.cluster


@contextmanager
def _runs(trial: Trial) -> Iterator[list[Run]]:
    """A run of each delivery, amid its rows."""
    deliveries = ["exactly-once", "at-least-once"]
    jobs = [
        trial.job(delivery=delivery, options=("--kafka", "request_timeout_ms=3000"))
        for delivery in (deliveries[:1] if trial.brief else deliveries)
    ]
    runs = [job.start(commits=20) for job in jobs]
    for run in runs:
        run.until_rows(0)
    yield runs
    for run in runs:
        trial.kill(run)


def _all_go_on(trial: Trial, runs: list[Run], since: float, until: float) -> None:
    for run in runs:
        trial.stands_still(run, since, until=until)


def _stop(node: LocalKafka) -> Callable[[], None]:
    node.stop()
    return node.start


def _kill(node: LocalKafka) -> Callable[[], None]:
    node.kill()
    return node.start


def _struck(trial: Trial, which: Callable[[KafkaCluster, Run], int], *hows: How) -> None:
    """A broker goes; the others go on; it comes back, and leads again what it led."""
    cluster = _cluster(trial)
    with _runs(trial) as runs:
        for _ in range(1 if trial.brief else 2):
            number, since = which(cluster, runs[0]), time.time()
            back = trial.draw.choice(hows)(cluster.nodes[number])
            trial.times += 1
            try:
                _all_go_on(trial, runs, since, time.time() + 0.2)
            finally:
                back()
            cluster.until_in_sync()
            cluster.elect_preferred_leaders()
            for run in runs:
                run.until_rows(run.rows)


def _leader(cluster: KafkaCluster, run: Run) -> int:
    return cluster.leader(_topic(run))


def _topic(run: Run) -> str:
    return run.arguments[list(run.arguments).index("-t") + 1]


def coordinator(cluster: KafkaCluster, run: Run) -> int:
    """The broker that leads the partition that the job's transactional id falls into, by Java's hash of it."""
    job = run.arguments[list(run.arguments).index("--job") + 1]
    code = 0
    for character in f"csv2kafka.{job}":
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    partition = (code & 0x7FFFFFFF) % PARTITIONS
    return int(cluster._topics()[TRANSACTIONS].partitions[partition].leader)


def controller(cluster: KafkaCluster, run: Run) -> int:
    """The active one of the quorum, by what each has logged."""

    def last(log: Path) -> str:
        return max((found["at"] for found in ACTIVE.finditer(log.read_text(errors="replace"))), default="")

    return max(cluster.nodes, key=lambda number: last(cluster.nodes[number].log))


def leader_killed(trial: Trial) -> None:
    """SIGKILL of the broker that leads the rows' partition."""
    _struck(trial, _leader, _kill)


def leader_stopped(trial: Trial) -> None:
    """A clean stop of the broker that leads the rows' partition."""
    _struck(trial, _leader, _stop)


def controller_gone(trial: Trial) -> None:
    """The active controller is killed or stopped."""
    _struck(trial, controller, _kill, _stop)


def coordinator_gone(trial: Trial) -> None:
    """The broker that coordinates the job's transactions is killed or stopped."""
    _struck(trial, coordinator, _kill, _stop)


def broker_frozen(trial: Trial) -> None:
    """SIGSTOP of leader, coordinator or controller for up to nine seconds: the others go on without it, and it wakes
    up as one who does not know."""
    cluster, draw = _cluster(trial), trial.draw
    with _runs(trial) as runs:
        for _ in range(1 if trial.brief else 3):
            number = draw.choice((_leader, coordinator, controller))(cluster, runs[0])
            seconds, pid, since = draw.uniform(*FROZEN), cluster.nodes[number].pid, time.time()
            os.kill(pid, signal.SIGSTOP)
            trial.times += 1
            try:
                trial.pause(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)
            _all_go_on(trial, runs, since, time.time() + 0.1)
            cluster.until_in_sync()


def rolled_clean(trial: Trial) -> None:
    """Each broker in turn is stopped and started, as an upgrade does."""
    _rolled(trial, _stop)


def rolled_unclean(trial: Trial) -> None:
    """Each broker in turn is killed and started."""
    _rolled(trial, _kill)


def _rolled(trial: Trial, how: How) -> None:
    cluster = _cluster(trial)
    with _runs(trial) as runs:
        for node in cluster.nodes.values():
            since = time.time()
            back = how(node)
            trial.times += 1
            try:
                _all_go_on(trial, runs, since, time.time() + 0.2)
            finally:
                back()
            cluster.until_in_sync()
        cluster.elect_preferred_leaders()


def all_killed(trial: Trial) -> None:
    """SIGKILL of all three at once; they come back."""
    from concurrent.futures import ThreadPoolExecutor

    cluster = _cluster(trial)
    with _runs(trial) as runs:
        for node in cluster.nodes.values():
            node.kill()
        trial.times += 1
        trial.pause(trial.draw.uniform(0, 5))
        with ThreadPoolExecutor(len(cluster.nodes)) as pool:
            list(pool.map(LocalKafka.start, cluster.nodes.values()))
        back = time.time()  # as soon as all answer
        for run in runs:
            trial.goes_on(run, back)
