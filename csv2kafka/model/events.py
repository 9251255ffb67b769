"""What a run tells whoever watches it: a progress display, a log, metrics. Given to ``Pipeline(on_event=…)``.

Events are told from the event loop, in order; the callback must not block. They never change what is done.
"""

from __future__ import annotations

from attrs import frozen

from csv2kafka.model.flow import DeadLetter
from csv2kafka.model.state import Checkpoint


@frozen(kw_only=True)
class Started:
    """The manifest is fixed. ``total_bytes``: sum of the objects' sizes, None when one is unknown."""

    job: str
    run_id: str
    objects: int
    total_bytes: int | None


@frozen(kw_only=True)
class SessionOpened:
    """A session stands; ``checkpoint`` is where it goes on from. ``number`` counts sessions from 1.
    ``source_bytes``: of all objects' own bytes, those before it."""

    number: int
    checkpoint: Checkpoint
    source_bytes: int = 0


@frozen(kw_only=True)
class Progressed:
    """Rows handed to the sink (not yet committed). ``source_bytes``: of all objects' own bytes, passed."""

    rows: int
    bad_rows: int
    source_bytes: int
    uri: str


@frozen(kw_only=True)
class Committed:
    """Durable up to ``checkpoint``; ``seconds`` is how long the commit took. ``source_bytes``: of all objects' own
    bytes, those before it."""

    checkpoint: Checkpoint
    seconds: float
    source_bytes: int = 0


@frozen(kw_only=True)
class RowRefused:
    """A bad row, under ``skip`` or ``dead-letter``."""

    row: DeadLetter


@frozen(kw_only=True)
class Waiting:
    """A doubt ended the session; a new one is opened in ``seconds``. ``attempt`` counts since the last commit."""

    reason: str
    seconds: float
    attempt: int


@frozen(kw_only=True)
class LeaseRenewed:
    """The store has heard the run's heartbeat: the lease is its own for LEASE_SECONDS more. ``epoch``: the lease's."""

    epoch: int


@frozen(kw_only=True)
class StoreAway:
    """The checkpoint store did not answer to the progress it was told; rows go on (``csv2kafka/holding.py``)."""

    reason: str


Event = Started | SessionOpened | Progressed | Committed | RowRefused | Waiting | LeaseRenewed | StoreAway
