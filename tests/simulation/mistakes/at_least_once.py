"""Mistakes that spoil at-least-once: what stands there already is looked for, and what is in doubt is sent again."""

from __future__ import annotations

from tests.simulation.mistakes.mistake import AT_LEAST_ONCE, Mistake, fails_to_produce, produces_late
from tests.simulation.planting import Edit

AT_LEAST = "csv2kafka.kafka.at_least_once"

MISTAKES = (
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
                "goes_alone = is_first or not self.writer.state.remembers_at(partition, self.settings.clock())",
                "is_first = goes_alone = False",
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
)
