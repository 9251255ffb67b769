"""Mistakes that somebody could make in the package. The campaign has to find each of them, or it does not see enough.

    python -m tests.simulation.mistakes                  # all of them, and how many schedules each took
    python -m tests.simulation.mistakes --only NAME --trace

``within``: the budget of schedules, from seed 0 on, of the mistake's way to deliver. Of those, the ones that cannot
show the mistake (``where``) are counted and not played. ``test_mistakes.py`` plays those that are found soon, and that
the schedules which found them break no law without a mistake.
"""

from __future__ import annotations

import argparse
import builtins
import itertools
import sys
import time
from collections.abc import Callable

from attrs import frozen

from tests.simulation.campaign import Outcome, play, schedules
from tests.simulation.planting import Edit, planted
from tests.simulation.schedule import Schedule

EXACTLY_ONCE, AT_LEAST_ONCE, FILE = "exactly-once", "at-least-once", "file"
SOON = 300  # schedules, within which a mistake is found in each CI run

WRITER = "csv2kafka.kafka.writer"
EXACTLY = "csv2kafka.kafka.exactly_once"
AT_LEAST = "csv2kafka.kafka.at_least_once"
OWNERSHIP = "csv2kafka.kafka.ownership"
TRANSFER = "csv2kafka.transfer"
OUTPUT = "csv2kafka.sinks.output"


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


MISTAKES = (
    Mistake(
        name="checkpoint-before-confirm",
        what="the checkpoint is made before the rows are confirmed",
        edits=(
            Edit(
                EXACTLY,
                "ExactlyOnceSession.commit",
                "await self.writer.confirmed()\n    if not",
                "if not",
            ),
        ),
    ),
    Mistake(
        name="end-before-confirm",
        what="EndTxn is sent while batches are still on their way",
        edits=(Edit(WRITER, "Writer.commit", "await self.confirmed()", "pass"),),
    ),
    Mistake(
        name="commit-over-failed-batch",
        what="a batch that a broker refused does not keep the transaction from being committed",
        edits=(
            Edit(
                WRITER,
                "Writer._settle_oldest",
                "self._uncertain = uncertain\n        raise",
                "self._uncertain, self._failure = uncertain, None\n            return\n        raise",
            ),
        ),
        where=fails_to_produce,
    ),
    Mistake(
        name="checkpoint-before-fencing",
        what="the checkpoint is read before the other writers are shut out",
        edits=(
            Edit(
                EXACTLY,
                "open_session",
                "producer = await ownership.shut_out_others(",
                "counted = await checkpoint_topic.last_checkpoint(\n"
                "        broker, topic, job.name, before=(await broker.log_ends(topic)).stable\n"
                "    )\n"
                "    producer = await ownership.shut_out_others(",
            ),
            Edit(
                EXACTLY,
                "open_session",
                "counted = await checkpoint_topic.last_checkpoint(broker, topic, job.name, before=claimed)",
                "pass",
            ),
        ),
    ),
    Mistake(
        name="last-stable-offset",
        what="the checkpoint is read up to the last stable offset, not to a claim that is seen",
        edits=(
            Edit(OWNERSHIP, "claim", "await checkpoint_topic.see_claim(broker, topic, owner.job, offset)", "pass"),
            Edit(
                EXACTLY,
                "open_session",
                "before=claimed)\n    #",
                "before=(await broker.log_ends(topic)).stable)\n    #",
            ),
        ),
    ),
    Mistake(
        name="end-sent-twice",
        what="the port opens another connection and sends EndTxn again when it had no answer",
        edits=(
            Edit(
                "tests.simulation.broker",
                "SimulatedBroker.end_transaction",
                'await self._ask(\n        "end_transaction",',
                "for key in (self._arrivals, self._nodes):\n"
                '        key.pop("coordinator", None)\n'
                '    self._broken.discard("coordinator")\n'
                '    await self._ask(\n        "end_transaction",',
            ),
            Edit(
                WRITER,
                "Writer._end_transaction",
                "await self._broker.end_transaction(self._transactional_id, self.state.producer, commit=commit)",
                "for last in (False, True):\n"
                "        try:\n"
                "            return await self._broker.end_transaction(\n"
                "                self._transactional_id, self.state.producer, commit=commit\n"
                "            )\n"
                "        except Doubt as error:\n"
                "            if last or isinstance(error, BrokerError):\n"
                "                raise",
            ),
        ),
        within=3_000,
        where=ends_late,
    ),
    Mistake(
        name="abort-and-go-on",
        what="after a doubt the transaction is aborted, and the next begun under the same epoch",
        edits=(
            Edit(
                EXACTLY,
                "open_session",
                "producer = await ownership.shut_out_others(\n"
                "        owner, broker, topic, lease, TRANSACTIONAL_ID_PREFIX + job.name, "
                "settings.transaction_timeout_ms\n"
                "    )",
                "kept = run.producer\n"
                "    if kept is None:\n"
                "        producer = await ownership.shut_out_others(\n"
                "            owner, broker, topic, lease, TRANSACTIONAL_ID_PREFIX + job.name,\n"
                "            settings.transaction_timeout_ms\n"
                "        )\n"
                "    else:\n"
                "        from csv2kafka.kafka.port import BrokerError, Fenced, NothingDone\n"
                "        from csv2kafka.kafka.writer import repeated\n"
                "        producer = kept.producer\n"
                "        try:\n"
                "            await repeated(lambda: broker.end_transaction(\n"
                "                TRANSACTIONAL_ID_PREFIX + job.name, producer, commit=False\n"
                "            ))\n"
                "        except (Fenced, NothingDone):\n"
                "            raise\n"
                "        except BrokerError:\n"
                "            pass",
            ),
            Edit(
                EXACTLY,
                "open_session",
                "writer = run.writer = await opening.writer(producer)",
                "writer = run.writer = await opening.writer(producer)\n"
                "    if kept is not None:\n"
                "        sequences = dict(kept.sequences)\n"
                "        for sent in kept.unconfirmed:\n"
                "            sequences[sent.target] -= sent.records\n"
                "        writer.state.sequences = sequences\n"
                "    run.producer = writer.state",
            ),
        ),
        within=3_000,
        where=produces_late,
    ),
    Mistake(
        name="lost-answer-is-failure",
        what="a commit whose answer was lost is taken for one that failed: its rows are sent again",
        edits=(
            Edit(
                EXACTLY,
                "open_session",
                "owner, topic = run.owner,",
                "again = run.owner.claimed_at is not None\n    owner, topic = run.owner,",
            ),
            Edit(
                EXACTLY,
                "open_session",
                "restart = run.restarts(",
                "if again and stored is not None:\n        counted = stored\n    restart = run.restarts(",
            ),
        ),
        where=ends_in_doubt,
    ),
    Mistake(
        name="lost-answer-is-success",
        what="a commit whose answer was lost is taken for one that was done",
        edits=(
            Edit(
                WRITER,
                "Writer.commit",
                "with self._no_doubt():\n            await repeated(lambda: self._end_transaction(commit=True))",
                "try:\n"
                "            await repeated(lambda: self._end_transaction(commit=True))\n"
                "        except Doubt as error:\n"
                "            if isinstance(error, BrokerError):\n"
                "                raise",
            ),
        ),
    ),
    Mistake(
        name="foreign-claim-passed",
        what="a run whose job another has claimed goes on",
        edits=(Edit(OWNERSHIP, "_refuse_if_claimed", "raise TakenOver(", "TakenOver("),),
        within=1_000,
        where=has_several_stores,
    ),
    Mistake(
        name="dead-claim-obeyed",
        what="a run that is fenced leaves because of a claim that was there before its own",
        edits=(
            Edit(
                OWNERSHIP, "_watch_from", "owner.noted_end if owner.claimed_at is None else owner.claimed_at + 1", "0"
            ),
        ),
        where=has_several_stores,
    ),
    Mistake(
        name="claim-not-awaited",
        what="the checkpoint is read as it stands before the claim is made",
        edits=(
            Edit(
                EXACTLY,
                "open_session",
                "claimed = await ownership.claim(owner, broker, writer, topic, settings.clock)\n"
                "    counted = await checkpoint_topic.last_checkpoint(broker, topic, job.name, before=claimed)",
                "counted = await checkpoint_topic.last_checkpoint(\n"
                "        broker, topic, job.name, before=(await broker.log_ends(topic)).stable\n"
                "    )\n"
                "    claimed = await ownership.claim(owner, broker, writer, topic, settings.clock)",
            ),
        ),
        within=3_000,
        where=is_hidden,
    ),
    Mistake(
        name="row-position-behind",
        what="a checkpoint's place in the source is one row behind what it covers",
        edits=(
            Edit(
                TRANSFER,
                "Transfer._write",
                "position = item.after(payload.last)",
                "position = item.after(payload.last - 1)",
            ),
        ),
    ),
    Mistake(
        name="row-position-ahead",
        what="a checkpoint's place in the source is one row ahead, where there is one more",
        edits=(
            Edit(
                TRANSFER,
                "Transfer._write",
                "position = item.after(payload.last)",
                "position = item.after(min(payload.last + 1, len(item.records)))",
            ),
        ),
    ),
    Mistake(
        name="resumed-one-byte-late",
        what="a file that is gone on with is read from the byte behind",
        edits=(
            Edit(
                "csv2kafka.reading.one_object",
                "ObjectRows._prefetch",
                "self.reading.source.read(self.obj, position.resume.offset)",
                "self.reading.source.read(self.obj, position.resume.offset + (position.resume.offset > 0))",
            ),
        ),
    ),
    Mistake(
        name="store-before-answer",
        what="the store hears of a commit before Kafka has answered it",
        edits=(
            Edit(
                TRANSFER,
                "Transfer._commit",
                "checkpoint = await self.session.commit(checkpoint, completion)",
                "if self.holding is not None:\n"
                "        await self.holding.settle(checkpoint)\n"
                "    checkpoint = await self.session.commit(checkpoint, completion)",
            ),
        ),
    ),
    Mistake(
        name="completion-with-rows",
        what="the completion goes with the last rows, in one transaction",
        edits=(
            Edit(TRANSFER, "Transfer.run", "await self._commit_if_due(force=True)\n", "pass\n"),
            Edit(
                EXACTLY,
                "ExactlyOnceSession.write",
                "(*self.settings.targets.values(), self.settings.checkpoints)",
                "(*self.settings.targets.values(), self.settings.checkpoints, self.settings.completion)",
            ),
            Edit(
                EXACTLY,
                "ExactlyOnceSession.commit",
                'raise ValueError("the completion goes in a commit of its own, behind the last rows\'")',
                "await self.write_completion(completion)",
            ),
        ),
    ),
    Mistake(
        name="completion-behind-open-transaction",
        what="completion does not wait until the rows are visible",
        edits=(Edit(EXACTLY, "ExactlyOnceSession._rows_visible", "state = self.brought_up_to_date()", "return"),),
        within=3_000,
        where=is_hidden,
    ),
    Mistake(
        name="restart-in-each-session",
        what="--restart begins anew in each session",
        edits=(
            Edit(
                "csv2kafka.kafka.session",
                "RunMemory.restarts",
                "if self.restart_to is None:",
                "if True:",
            ),
            Edit("csv2kafka.pipeline", "Pipeline._sessions", "job = evolve(job, restart=False)", "pass"),
        ),
        within=1_000,
        where=has_restart,
    ),
    Mistake(
        name="source-changed-ignored",
        what="nobody asks before a commit whether the source is still what was read",
        edits=(Edit(TRANSFER, "Transfer._commit", "await self.reading.source.confirm(obj)", "pass"),),
        within=3_000,
        where=source_changes,
    ),
    Mistake(
        name="sequence-does-not-wrap",
        what="sequence numbers go on behind the largest",
        edits=(Edit(WRITER, "Writer._send", "(sequence + records) % _SEQUENCES", "sequence + records"),),
        within=1_000,
        where=sequences_wrap,
    ),
    Mistake(
        name="sequence-wraps-to-1",
        what="sequence numbers begin again at 1",
        edits=(
            Edit(WRITER, "Writer._send", "(sequence + records) % _SEQUENCES", "(sequence + records) % _SEQUENCES or 1"),
        ),
        within=3_000,
        where=sequences_wrap,
    ),
    Mistake(
        name="lease-by-clock",
        what="a lease is taken for dead by the time of day of its last heartbeat",
        edits=(
            Edit(
                "csv2kafka.checkpoints.remote",
                "RemoteStore.lease",
                "lease.epoch = await acquire(\n"
                "            job, lambda silent: self._take(lease, silent), lease_seconds=self._lease_seconds\n"
                "        )",
                "from csv2kafka.checkpoints.watch import held\n"
                "        seen = await self._take(lease, None)\n"
                "        age = lambda: (self._now() - seen.heartbeat).total_seconds()\n"
                "        if isinstance(seen, Holder) and age() > self._lease_seconds:\n"
                "            seen = await self._take(lease, seen)\n"
                "        if isinstance(seen, Holder):\n"
                "            raise held(job, seen)\n"
                "        lease.epoch = seen",
            ),
        ),
        where=has_several_runs,
    ),
    Mistake(
        name="lease-not-watched",
        what="a lease found held is taken over at once",
        edits=(
            Edit(
                "csv2kafka.checkpoints.watch", "acquire", "until = loop.time() + lease_seconds", "until = loop.time()"
            ),
        ),
        delivery=AT_LEAST_ONCE,
        within=3_000,
        where=has_several_runs,
    ),
    Mistake(
        name="nothing-reconciled",
        what="at-least-once goes on from the checkpoint without a look at what stands behind it",
        delivery=AT_LEAST_ONCE,
        edits=(
            Edit(
                "csv2kafka.kafka.reconcile",
                "Standing.rows",
                "self._reading = self._rows()",
                "self.end = self.start\n    self._reading = self._rows()",
            ),
        ),
    ),
    Mistake(
        name="new-producer-after-doubt",
        what="at-least-once takes another producer id after a doubt, and sends again",
        delivery=AT_LEAST_ONCE,
        edits=(
            Edit(
                AT_LEAST,
                "open_session",
                "run.producer = ProducerState(await _successor(settings, broker, stored, run))",
                "pass",
            ),
            Edit(
                AT_LEAST,
                "open_session",
                "writer = run.writer = Writer(",
                "run.producer = ProducerState(await repeated(lambda: broker.init_producer(None, timeout_ms=60_000)))\n"
                "    writer = run.writer = Writer(",
            ),
        ),
        within=1_000,
        where=produces_late,
    ),
    Mistake(
        name="dead-run-not-awaited",
        what="at-least-once does not wait until nothing of a dead run can be on its way",
        delivery=AT_LEAST_ONCE,
        edits=(Edit(AT_LEAST, "open_session", "await asyncio.sleep(settings.request_seconds)", "pass"),),
        within=3_000,
        where=produces_late,
    ),
    Mistake(
        name="saved-before-confirm",
        what="at-least-once saves a checkpoint before the rows are confirmed",
        delivery=AT_LEAST_ONCE,
        edits=(
            Edit(
                AT_LEAST,
                "AtLeastOnceSession.commit",
                "await self.writer.confirmed()\n"
                "    await self.write_completion(completion)\n"
                "    await self.writer.confirmed()",
                "await self.write_completion(completion)",
            ),
        ),
    ),
    Mistake(
        name="not-alone",
        what="at-least-once sends the first batch to a partition together with others",
        delivery=AT_LEAST_ONCE,
        edits=(
            Edit(
                AT_LEAST,
                "AtLeastOnceSession.write",
                "if is_first:\n        await self.writer.confirmed()",
                "is_first = False",
            ),
        ),
        within=3_000,
        where=fails_to_produce,
    ),
    Mistake(
        name="not-sent-again",
        what="at-least-once drops what was unconfirmed when a session ended",
        delivery=AT_LEAST_ONCE,
        edits=(Edit(AT_LEAST, "open_session", "await writer.send_again()", "writer.state.unconfirmed.clear()"),),
        within=1_000,
        where=fails_to_produce,
    ),
    Mistake(
        name="no-fsync",
        what="the file is not synced before a checkpoint names it",
        delivery=FILE,
        edits=(Edit(OUTPUT, "Output.commit", "_sync(file)", "pass"),),
    ),
    Mistake(
        name="no-truncate",
        what="what a crash left behind the committed length is not cut off",
        delivery=FILE,
        edits=(Edit(OUTPUT, "Output._cut", "os.ftruncate(file, committed[target])", "pass"),),
    ),
    Mistake(
        name="directory-not-synced",
        what="the file's directory is not synced",
        delivery=FILE,
        edits=(Edit(OUTPUT, "_sync_directory", "os.fsync(file)", "pass"),),
    ),
)


@frozen(kw_only=True)
class Found:
    """``drawn``: schedules until a law was broken; ``played``: those that could show it. ``outcome``: of the last, None
    if no law was broken."""

    mistake: Mistake
    drawn: int
    played: int
    seconds: float
    outcome: Outcome | None


def search(mistake: Mistake, within: int | None = None, start: int = 0) -> Found:
    """Play schedules with the mistake in the package until a law is broken, or the budget is used up."""
    began = time.monotonic()
    drawn = played = 0
    outcome: Outcome | None = None
    with planted(*mistake.edits):
        for schedule in itertools.islice(schedules(start, delivery=mistake.delivery), within or mistake.within):
            drawn += 1
            if not mistake.where(schedule):
                continue
            played += 1
            made = play(schedule)
            if clumsy := [f"{who} ends with {how}" for who, how in made.ended.items() if hasattr(builtins, how)]:
                raise AssertionError(f"{mistake.name}: {clumsy}: the mistake itself is no Python\n{made}")
            if made.violations:
                outcome = made
                break
    return Found(mistake=mistake, drawn=drawn, played=played, seconds=time.monotonic() - began, outcome=outcome)


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit code 1 if a mistake is not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mistakes", description="Is each mistake found?")
    parser.add_argument("--only", action="append", choices=[each.name for each in MISTAKES])
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--within", type=int, help="schedules, instead of each one's budget")
    parser.add_argument("--trace", action="store_true", help="show how it comes about")
    given = parser.parse_args(arguments)
    survived = 0
    for mistake in MISTAKES:
        if given.only and mistake.name not in given.only:
            continue
        found = search(mistake, given.within, given.start)
        how = f"{mistake.name:<34} {found.seconds:6.1f} s, {found.played} played"
        if found.outcome is None:
            survived += 1
            print(f"NOT FOUND in {found.drawn:>5}  {how}", flush=True)
            continue
        told = found.outcome.violations[0].partition("\n")[0]
        print(f"found by     {found.drawn:>5}  {how}: {told[:150]}", flush=True)
        if given.trace:
            print(found.outcome, flush=True)
    print(f"{survived} not found")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
