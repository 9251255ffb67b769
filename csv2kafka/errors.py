"""Every error the package raises on purpose.

    Csv2KafkaError                  exit code   retryable
    ├── ConfigError                     2          no     usage or configuration, all problems at once
    │   ├── SettingsChanged             2          no     the job's checkpoint was made with other settings
    │   ├── TopicMissing                2          no     no such topic or partition
    │   └── NotAuthorized               2          no     the server knows us and says no
    ├── DataError                      65          no     the input is at fault
    │   ├── BadRow                     65          no     a row was refused under ``on_bad_row=fail``
    │   ├── SourceChanged              65          no     an object is no longer the version the job began with
    │   └── Difference                 65          no     topic and CSV are not equal, or a receipt was changed
    ├── Unreachable                    69          no     gave up waiting on something
    ├── Doubt                          69         yes     it is not known whether the last thing took effect
    │   └── NotReachable               69         yes     nothing answered at all
    ├── StateContradiction             70          no     records, checkpoint and store cannot all be true
    ├── Stopped                        75          no     asked to stop; run again to go on
    └── TakenOver                      76          no     another run owns this job
        ├── LeaseHeld                  76          no     another live run holds the lease
        └── StaleLease                 76          no     our lease was taken by a later epoch

``retryable`` errors end a session, never a run: the pipeline opens a new session (ARCHITECTURE.md, "One recovery
path"). The message says what was expected and found; ``hint`` says what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence


class Csv2KafkaError(Exception):
    """Root of all errors of this package. ``hint`` is one sentence on what to do next, or empty."""

    exit_code = 1
    retryable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class ConfigError(Csv2KafkaError):
    """Usage or configuration. ``problems`` holds all of them, each naming flag, variable and TOML key."""

    exit_code = 2

    def __init__(self, *problems: str, hint: str = "") -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems: Sequence[str] = problems


class SettingsChanged(ConfigError):
    """The settings that shape the output are not those the job's checkpoint was made with."""


class TopicMissing(ConfigError):
    """The topic, or the partition of it, does not exist."""


class NotAuthorized(ConfigError):
    """The server refused the principal; the message names the permission that is missing."""


class DataError(Csv2KafkaError):
    """The input is at fault. Rows before it are committed."""

    exit_code = 65


class BadRow(DataError):
    """A row that was refused. ``row`` counts data rows from 1, ``line`` lines of the object from 1,
    ``byte`` is the offset of the row's first byte in the object's decoded text."""

    def __init__(self, reason: str, *, source: str, row: int, line: int, byte: int, hint: str = "") -> None:
        super().__init__(f"{source}: row {row} (line {line}, byte {byte}): {reason}", hint=hint)
        self.reason = reason
        self.source = source
        self.row = row
        self.line = line
        self.byte = byte


class SourceChanged(DataError):
    """An object of the manifest is no longer the version the job began with."""


class Difference(DataError):
    """The topic does not hold what the CSV says; or a receipt of that was changed after it was written."""


class Unreachable(Csv2KafkaError):
    """Nothing answered in the time allowed, or what went wrong cannot be tried again."""

    exit_code = 69


class Doubt(Csv2KafkaError):
    """Something did not answer, or answered that it cannot now: the session is over, a new one settles it."""

    exit_code = 69
    retryable = True


class NotReachable(Doubt):
    """Nothing answered, or what is not AWS. Where this is all a run ever saw, it gives up after ``connect_timeout``."""


class StateContradiction(Csv2KafkaError):
    """What stands in Kafka, the checkpoint and the store cannot all be true: a person decides."""

    exit_code = 70


class Stopped(Csv2KafkaError):
    """Asked to stop before the end. What was on the way is committed; run again to go on."""

    exit_code = 75


class TakenOver(Csv2KafkaError):
    """Another run owns this job now; this one has changed nothing since."""

    exit_code = 76


class LeaseHeld(TakenOver):
    """Another live run holds the job's lease; the message names it and since when."""


class StaleLease(TakenOver):
    """A later epoch of the lease has begun: what this run would write no longer counts."""
