"""Mistakes that spoil a transaction: what is in it, when it ends, and what is concluded from its answer."""

from __future__ import annotations

from tests.simulation.mistakes.mistake import (
    Mistake,
    ends_in_doubt,
    ends_late,
    fails_to_produce,
    is_hidden,
    produces_late,
    sequences_wrap,
)
from tests.simulation.planting import Edit

WRITER = "csv2kafka.kafka.writer"
EXACTLY = "csv2kafka.kafka.exactly_once"
TRANSFER = "csv2kafka.transfer"

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
)
