"""What a mistake is, and which schedules can show it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from tests.simulation.planting import Edit
from tests.simulation.schedule import Schedule

EXACTLY_ONCE, AT_LEAST_ONCE, FILE = "exactly-once", "at-least-once", "file"
SOON = 300  # schedules, within which a mistake is found in each CI run


@frozen(kw_only=True)
class Mistake:
    """``what``: in words. ``edits``: in the package. ``where``: the schedules that can show it."""

    name: str
    what: str
    edits: tuple[Edit, ...]
    delivery: str = EXACTLY_ONCE
    within: int = SOON
    where: Callable[[Schedule], bool] = lambda _: True


def ends_late(schedule: Schedule) -> bool:
    """An EndTxn arrives after its sender has given it up."""
    faults = [aim.fault for aim in schedule.aims if aim.operation == "end_transaction" and not aim.fault.lost]
    return any(fault.delay > 30 or (fault.cut and fault.delay) for fault in faults)


def ends_in_doubt(schedule: Schedule) -> bool:
    return any(aim.operation == "end_transaction" for aim in schedule.aims)


def produces_late(schedule: Schedule) -> bool:
    return any(aim.operation == "produce" and aim.fault.delay for aim in schedule.aims)


def fails_to_produce(schedule: Schedule) -> bool:
    return any(aim.operation == "produce" for aim in schedule.aims)


def has_restart(schedule: Schedule) -> bool:
    return any(run.restart for run in schedule.runs)


def has_several_stores(schedule: Schedule) -> bool:
    stores = [run.store for run in schedule.runs]
    return len(stores) > 1 and (None in stores or len(set(stores)) > 1)


def has_several_runs(schedule: Schedule) -> bool:
    return len(schedule.runs) > 1


def is_hidden(schedule: Schedule) -> bool:
    """Another job's transaction hides what stands in a partition."""
    return any(each.kind == "other-job" for each in schedule.happenings)


def source_changes(schedule: Schedule) -> bool:
    return schedule.changes_at is not None


def sequences_wrap(schedule: Schedule) -> bool:
    return schedule.sequences < 1 << 31
