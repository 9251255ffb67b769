"""What ``csv2kafka check`` says: one finding for each thing that a run needs."""

from __future__ import annotations

from typing import Literal, Self

from attrs import frozen

from csv2kafka.errors import Csv2KafkaError
from csv2kafka.model.flow import Records
from csv2kafka.model.state import Checkpoint

Status = Literal["pass", "warn", "fail", "not checked"]


@frozen(kw_only=True)
class Finding:
    """One thing and how it stands. ``name``: what was looked at. ``hint``: what to do, empty where all is well.

    ``fail``: a run would stop there, with ``exit_code``. ``warn``: it would not. ``not checked``: it cannot be known
    without doing it; ``message`` says why.
    """

    name: str
    status: Status
    message: str
    hint: str = ""
    exit_code: int = 0

    @classmethod
    def passed(cls, name: str, message: str) -> Self:
        return cls(name=name, status="pass", message=message)

    @classmethod
    def warned(cls, name: str, message: str, hint: str = "") -> Self:
        return cls(name=name, status="warn", message=message, hint=hint)

    @classmethod
    def failed(cls, name: str, error: Csv2KafkaError) -> Self:
        """What the run would say, and exit with."""
        return cls(name=name, status="fail", message=error.message, hint=error.hint, exit_code=error.exit_code)

    @classmethod
    def not_checked(cls, name: str, why: str) -> Self:
        return cls(name=name, status="not checked", message=why)


@frozen(kw_only=True, eq=False)
class Forecast:
    """What a job will be, judged by its first rows. None where that cannot be told.

    ``rows``, ``seconds``: of the whole job. ``header``: its columns. ``sample``: its first rows, encoded.
    ``max_record``: bytes of the longest record, where the user said so. ``stops_at_bad_row``: the policy is ``fail``.
    """

    rows: int | None = None
    seconds: float | None = None
    header: tuple[str, ...] = ()
    sample: Records | None = None
    max_record: int | None = None
    stops_at_bad_row: bool = True

    @property
    def value_bytes(self) -> int | None:
        """Of all values and keys, before compression."""
        if self.rows is None or self.sample is None or not len(self.sample):
            return None
        return self.sample.size * self.rows // len(self.sample)


def way_on(checkpoint: Checkpoint | None, *, restart: bool) -> str:
    """What a run would do with the checkpoint it finds."""
    if checkpoint is None:
        return "no checkpoint: the job is new"
    rows = f"{checkpoint.position.rows:,} rows"
    if restart:
        return f"{rows} are done; --restart forgets that, and begins at row 0"
    if checkpoint.complete:
        return f"complete: {rows} are done, and a run would say so and end"
    return f"{rows} are done; a run would go on at row {checkpoint.position.rows + 1:,}"
