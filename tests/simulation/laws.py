"""What must hold after every step of a simulated cluster, checked as each batch, marker and decision comes.

    visible     a read_committed reader sees a prefix of the rows, in order, each once; a new beginning only where
                somebody asked for ``restart``. Dead letters likewise. The completion event once, behind every row.
    committed   a checkpoint is committed by the run whose claim is the last, from the checkpoint before it, with the
                rows it counts in the same transaction; "complete" only when every row is visible.
    left        a run that is fenced, and can see that another run has claimed the job since, claims no more.
    stored      a store never has more than that.

At-least-once has fewer: rows first appear in order and none is left out; each once where no late request and no
sleeper was drawn (``strict``); a store never has more than what is in the log.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from csv2kafka.kafka.port import Producer, TopicPartition
from csv2kafka.kernel import unpack_batch
from tests.simulation.cluster import Cluster
from tests.simulation.partition import Stored

MOST_TOLD = 5
FOREIGN = b"foreign"


@define(eq=False)
class Reader:
    """A read_committed reader of one partition that reads on with every step. ``expected``: the rows, in order.
    ``again``: how many new beginnings are allowed. ``strict``: no row twice."""

    name: str
    expected: Sequence[bytes]
    again: int = 0
    strict: bool = True
    seen: int = 0  # of the generation being read
    generations: int = 0
    waiting: deque[Stored] = field(factory=deque)
    _places: dict[bytes, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._places = {row: place for place, row in enumerate(self.expected)}

    def reads(self, rows: Sequence[bytes]) -> str | None:
        """What is wrong with these rows, which come next."""
        for row in rows:
            if row.startswith(FOREIGN):
                continue
            place = self._places.get(row)
            if place is None:
                return f"{self.name}: a reader sees {row!r}, which is no row of the CSV"
            if place == self.seen:
                self.seen += 1
            elif place == 0 and self.generations < self.again:
                self.generations, self.seen = self.generations + 1, 1
            elif place > self.seen:
                return f"{self.name}: a reader sees row {place} where row {self.seen} comes next"
            elif self.strict:
                return f"{self.name}: a reader sees row {place} again"
        return None


@define(eq=False)
class Standing:
    """What the last committed checkpoint says."""

    generation: int = -1
    rows: int = 0
    bad_rows: int = 0
    complete: bool = False
    next_offset: int = 0

    @property
    def progress(self) -> tuple[int, int, bool]:
        return self.generation, self.rows + self.bad_rows, self.complete


@define(eq=False, kw_only=True)
class Laws:
    """``data``, ``letters``, ``events``, ``checkpoints``: the partitions. ``rows``/``bad``: of the CSV.
    ``exactly_once``, ``strict``, ``restarts``: what may be asked of this world."""

    cluster: Cluster
    job: str
    data: TopicPartition
    letters: TopicPartition
    events: TopicPartition
    checkpoints: TopicPartition
    rows: Sequence[bytes]
    bad: Sequence[bytes]
    exactly_once: bool = True
    strict: bool = True
    restarts: int = 0
    tell: Callable[[str, str], None] = lambda _, __: None
    lost: bool = False  # something that was committed is gone: nothing more may be committed
    violations: list[str] = field(factory=list)
    readers: dict[TopicPartition, Reader] = field(init=False)
    standing: Standing = field(factory=Standing)
    claims: list[tuple[str, int, int]] = field(factory=list)  # run, producer id, epoch; as they were committed
    events_seen: int = 0
    barred: set[str] = field(factory=set)  # runs that have seen that another has the job
    words: dict[str, int] = field(factory=dict)  # run → how many claims there were when it last shut out all others
    _open: dict[tuple[TopicPartition, int], list[Stored]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.readers = {
            self.data: Reader("rows", self.rows, again=self.restarts, strict=self.strict),
            self.letters: Reader("refused", self.bad, again=self.restarts, strict=self.strict and self.exactly_once),
            self.events: Reader("events", ()),
        }
        self.cluster.watch = self.came_in
        self.cluster.decided = self.decided

    def broken(self, what: str) -> None:
        self.tell("LAW", what)
        if len(self.violations) < MOST_TOLD:
            self.violations.append(what)

    # --- what a reader sees ---

    def came_in(self, target: TopicPartition, stored: Stored) -> None:
        """A batch or marker is in a log. Everything that readers see by that is looked at."""
        if stored.commit is not None:
            self._open.pop((target, stored.producer_id), None)  # what came late, between decision and marker
        elif stored.transactional:
            self._open.setdefault((target, stored.producer_id), []).append(stored)
        reader = self.readers.get(target)
        if reader is None:
            return
        reader.waiting.append(stored)
        log = self.cluster.log(target)
        while reader.waiting and reader.waiting[0].last_offset < log.stable:
            batch = reader.waiting.popleft()
            if batch.commit is None and not log.is_aborted(batch):
                self._seen(target, reader, values(batch))

    def _seen(self, target: TopicPartition, reader: Reader, rows: Sequence[bytes]) -> None:
        if target == self.events:
            self.events_seen += len(rows)
            if not self.all_visible():
                self.broken(f"the completion event is seen before every row is: {self.where()}")
            if self.exactly_once and self.events_seen > 1 + self.readers[self.data].generations:
                self.broken("the completion event is seen twice")
            return
        wrong = reader.reads(rows)
        if wrong is not None:
            self.broken(wrong)

    def all_visible(self) -> bool:
        letters = self.readers[self.letters]
        return self.readers[self.data].seen == len(self.rows) and letters.seen == len(self.bad)

    def where(self) -> str:
        return f"{self.readers[self.data].seen} of {len(self.rows)} rows, {self.readers[self.letters].seen} refused"

    # --- what is committed ---

    def decided(self, transactional_id: str, producer: Producer, commit: bool) -> None:
        """A coordinator has decided a transaction."""
        if not commit or not transactional_id.startswith("csv2kafka."):
            return
        standing, partitions = self.standing, (*self.readers, self.checkpoints)
        mine = {target: self._open.pop((target, producer.producer_id), []) for target in partitions}
        rows = sum(len(values(batch)) for batch in mine[self.data])
        bad = sum(len(values(batch)) for batch in mine[self.letters])
        claimed, made = None, None
        for batch in mine[self.checkpoints]:
            for key, value in unpack_batch(batch.data).records.rows():
                if key == f"claim/{self.job}".encode():
                    claimed = json.loads(value)
                elif key == f"checkpoint/{self.job}".encode():
                    made = json.loads(value)
        if claimed is not None:
            self._claimed(claimed, producer)
        if made is None and (rows or bad):
            self.broken(f"{rows} rows and {bad} refused ones are committed without a checkpoint")
        if made is not None:
            self._committed(made, producer, rows=rows, bad=bad, claims=claimed is not None)
            if mine[self.data]:
                standing.next_offset = mine[self.data][-1].last_offset + 1

    def fenced(self, run_id: str, stores: Mapping[str, int | None]) -> None:
        """A run has learnt that it is shut out, and all claims can be seen: one of another store's run, behind its own
        last word (a claim, or a later InitProducerId, which shut that one out), tells it to leave. ``stores``: of runs;
        None: the checkpoint topic."""
        own = [place for place, (each, _, _) in enumerate(self.claims) if each == run_id]
        behind = {each for each, _, _ in self.claims[max(own[-1] + 1, self.words.get(run_id, 0)) :]} if own else set()
        mine = stores.get(run_id)
        if any(mine is None or stores.get(each) != mine for each in behind):
            self.barred.add(run_id)

    def _claimed(self, claim: dict[str, Any], producer: Producer) -> None:
        if (claim["producer_id"], claim["producer_epoch"]) != (producer.producer_id, producer.epoch):
            self.broken(f"a claim names producer {claim['producer_id']}, and {producer} committed it")
        if any(each != producer.producer_id for each in self.cluster.log(self.checkpoints).open):
            self.cluster.noted("a claim is hidden by another job's transaction")
        if self.claims and self.claims[-1][0] != claim["run_id"]:
            self.cluster.noted("a claim behind another run's")
        if claim["run_id"] in self.barred:
            self.broken(f"run {claim['run_id']} was fenced, could see another run's claim, and claims again")
        self.claims.append((claim["run_id"], producer.producer_id, producer.epoch))

    def _committed(self, made: dict[str, Any], producer: Producer, *, rows: int, bad: int, claims: bool) -> None:
        standing, counts = self.standing, made["counts"]
        if self.lost:
            self.broken(f"run {made['run_id']} commits though what was committed before is lost")
        if not self.claims or self.claims[-1] != (made["run_id"], producer.producer_id, producer.epoch):
            last = self.claims[-1] if self.claims else "nobody's"
            self.broken(f"run {made['run_id']} commits as {producer}, and the last claim is {last}")
        if claims:
            if standing.generation >= 0 and made["generation"] != standing.generation + 1:
                self.broken(f"generation {made['generation']} begins behind {standing.generation}")
            if counts["rows"] or rows:
                self.broken("a generation begins with rows")
            standing.rows = standing.bad_rows = 0
            standing.generation, standing.complete = made["generation"], False
            standing.next_offset = made["sink"]["offsets"]["data"]
            return
        if standing.complete:
            self.broken(f"run {made['run_id']} commits behind the checkpoint that says complete")
        if made["generation"] != standing.generation:
            self.broken(f"generation {made['generation']} is committed in generation {standing.generation}")
        standing.rows, standing.bad_rows = standing.rows + rows, standing.bad_rows + bad
        if (counts["rows"], counts["bad_rows"]) != (standing.rows, standing.bad_rows):
            self.broken(
                f"a checkpoint counts {counts['rows']} rows and {counts['bad_rows']} refused ones, committed are "
                f"{standing.rows} and {standing.bad_rows}: it is from a stale one, or rows are lost"
            )
        self._offset(made, rows)
        standing.complete = made["complete"]
        if made["complete"] and not self.all_visible():
            self.broken(f"complete is committed before every row is visible: {self.where()}")

    def _offset(self, made: dict[str, Any], rows: int) -> None:
        named = made["sink"]["offsets"].get("data", 0)
        end = self.cluster.log(self.data).end
        if named > end:
            self.broken(f"a checkpoint names offset {named}, the log ends at {end}")
        if rows == 0 and named != self.standing.next_offset:
            self.broken(f"a checkpoint without rows moves on to offset {named} from {self.standing.next_offset}")

    # --- what stores have ---

    def stored(self, checkpoint: dict[str, Any]) -> None:
        """A store has taken a checkpoint."""
        counts = checkpoint["counts"]
        if self.exactly_once:
            progress = checkpoint["generation"], counts["rows"] + counts["bad_rows"], checkpoint["complete"]
            if progress > self.standing.progress:
                self.broken(f"a store has {progress}, Kafka {self.standing.progress}")
            return
        reader, named = self.readers[self.data], checkpoint["sink"]["offsets"].get("data", 0)
        there = len(self.rows) if reader.generations > checkpoint["generation"] else reader.seen
        if counts["rows"] > there:
            self.broken(f"a store counts {counts['rows']} rows, {there} are in the log")
        if named > self.cluster.log(self.data).end:
            self.broken(f"a store names offset {named}, the log ends at {self.cluster.log(self.data).end}")
        if checkpoint["complete"] and not self.all_visible():
            self.broken(f"a store says complete before every row is visible: {self.where()}")


def values(batch: Stored) -> list[bytes]:
    return [value for _, value in unpack_batch(batch.data).records.rows()]
