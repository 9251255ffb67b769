"""Mistakes that spoil who writes, and what is known of the job when he begins: claims, leases, restarts."""

from __future__ import annotations

from tests.simulation.mistakes.mistake import (
    AT_LEAST_ONCE,
    Mistake,
    has_restart,
    has_several_runs,
    has_several_stores,
    is_hidden,
)
from tests.simulation.planting import Edit

EXACTLY = "csv2kafka.kafka.exactly_once"
OWNERSHIP = "csv2kafka.kafka.ownership"

MISTAKES = (
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
        name="foreign-claim-passed",
        what="a run whose job another has claimed goes on",
        edits=(Edit(OWNERSHIP, "_refuse_if_claimed", "raise TakenOver(", "TakenOver("),),
        within=1_000,
        where=has_several_stores,
    ),
    Mistake(
        name="dead-claim-obeyed",
        what="a run that is fenced leaves because of any claim of another, also one that was there before its own",
        edits=(
            Edit(
                OWNERSHIP,
                "_refuse_if_claimed",
                "last = claim",
                "last = claim if last is None or claim.run_id != owner.run_id else last",
            ),
            Edit(
                OWNERSHIP, "_watch_from", "owner.noted_end if owner.claimed_at is None else owner.claimed_at + 1", "0"
            ),
        ),
        within=3_000,
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
)
