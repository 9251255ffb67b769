"""Mistakes that spoil what a checkpoint names: the place in the source, what the store hears, the file's bytes."""

from __future__ import annotations

from tests.simulation.mistakes.mistake import FILE, Mistake, source_changes
from tests.simulation.planting import Edit

TRANSFER = "csv2kafka.transfer"
OUTPUT = "csv2kafka.sinks.output"

MISTAKES = (
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
        name="source-changed-ignored",
        what="nobody asks before a commit whether the source is still what was read",
        edits=(Edit(TRANSFER, "Transfer._commit", "await self.reading.source.confirm(obj)", "pass"),),
        within=3_000,
        where=source_changes,
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
        edits=(Edit(OUTPUT, "Output._cut", "os.ftruncate(file, self._lengths[target])", "pass"),),
    ),
    Mistake(
        name="directory-not-synced",
        what="the file's directory is not synced",
        delivery=FILE,
        edits=(Edit(OUTPUT, "_sync_directory", "os.fsync(file)", "pass"),),
    ),
)
