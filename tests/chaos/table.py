"""The faults: what each is called, where it is brought about, how often, and what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from attrs import frozen

from tests.chaos import brokers, killed, machine, network, others
from tests.chaos.trial import Trial

Lane = Literal["kills", "broker", "own", "cluster"]
RESTART = "its start"
WAKING = "waking up"
LOSS = "the loss"
STILL = "the last commit before"
END = "the fault's end"
BACK = "the broker's return"


@frozen(kw_only=True)
class Fault:
    """``lane``: kills and broker share one broker, own ones start brokers and disks of their own, cluster has three.
    ``every``: so many rounds. ``since``: what the time to go on counts from. ``long``: not in a brief round."""

    bring: Callable[[Trial], None]
    lane: Lane
    since: str = RESTART
    every: int = 1
    long: bool = False

    @property
    def about(self) -> str:
        return " ".join((self.bring.__doc__ or "").split()).rstrip(".")


FAULTS: Mapping[str, Fault] = {
    "kill-exactly-once": Fault(bring=killed.kill_exactly_once, lane="kills"),
    "kill-at-least-once": Fault(bring=killed.kill_at_least_once, lane="kills", every=2),
    "kill-at-end": Fault(bring=killed.kill_at_end, lane="kills", every=3),
    "kill-at-full-speed": Fault(bring=killed.kill_at_full_speed, lane="kills", every=12, long=True),
    "stop": Fault(bring=killed.stop, lane="broker", since=WAKING),
    "stop-past-transaction": Fault(bring=killed.stop_past_transaction, lane="broker", since=WAKING, every=3, long=True),
    "stop-past-lease": Fault(bring=killed.stop_past_lease, lane="broker", every=2),
    "stop-and-other-store": Fault(bring=killed.stop_and_other_store, lane="broker"),
    "two-runs-one-store": Fault(bring=killed.two_runs_one_store, lane="broker", every=2),
    "two-runs-two-stores": Fault(bring=killed.two_runs_two_stores, lane="broker", every=2),
    "open-transaction": Fault(bring=others.open_transaction, lane="broker", since="the other's end"),
    "password-expired": Fault(bring=others.password_expired, lane="broker"),
    "cut": Fault(bring=network.cut, lane="broker", since="the cut"),
    "black-hole": Fault(bring=network.black_hole, lane="broker", since=END),
    "black-hole-past-transaction": Fault(
        bring=network.black_hole_past_transaction, lane="broker", since=END, every=3, long=True
    ),
    "slow": Fault(bring=network.slow, lane="broker"),
    "reordered": Fault(bring=network.reordered, lane="broker", since="the swap", every=2, long=True),
    "commit-answer-lost": Fault(bring=network.commit_answer_lost, lane="broker", since=LOSS),
    "commit-delayed": Fault(bring=network.commit_delayed, lane="broker", since="its being held up"),
    "rows-delayed": Fault(bring=network.rows_delayed, lane="broker", since="its being held up"),
    "request-struck": Fault(bring=network.request_struck, lane="broker", since="the blow"),
    "little-memory": Fault(bring=machine.little_memory, lane="broker"),
    "few-files": Fault(bring=machine.few_files, lane="broker"),
    "time-moved": Fault(bring=machine.time_moved, lane="broker"),
    "disk-full-store": Fault(bring=machine.disk_full_store, lane="broker"),
    "disk-full-output": Fault(bring=machine.disk_full_output, lane="broker"),
    "disk-full-broker": Fault(bring=machine.disk_full_broker, lane="own", since=BACK),
    "broker-restarted": Fault(bring=machine.broker_restarted, lane="own", since=BACK, long=True),
    "broker-away-past-transaction": Fault(
        bring=machine.broker_away_past_transaction, lane="own", since=BACK, every=2, long=True
    ),
    "leader-killed": Fault(bring=brokers.leader_killed, lane="cluster", since=STILL),
    "leader-stopped": Fault(bring=brokers.leader_stopped, lane="cluster", since=STILL, long=True),
    "controller-gone": Fault(bring=brokers.controller_gone, lane="cluster", since=STILL),
    "coordinator-gone": Fault(bring=brokers.coordinator_gone, lane="cluster", since=STILL),
    "broker-frozen": Fault(bring=brokers.broker_frozen, lane="cluster", since=STILL),
    "rolled-clean": Fault(bring=brokers.rolled_clean, lane="cluster", since=STILL, long=True),
    "rolled-unclean": Fault(bring=brokers.rolled_unclean, lane="cluster", since=STILL),
    "all-brokers-killed": Fault(bring=brokers.all_killed, lane="cluster", since=BACK, long=True),
}
