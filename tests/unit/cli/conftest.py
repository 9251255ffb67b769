"""The command run in this process, with a pipeline that does what a test says."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from attrs import define, evolve, field

from csv2kafka.cli.app import execute
from csv2kafka.config import PREFIX, RunConfig
from csv2kafka.model import Checkpoint, Counts, Event, Manifest, SinkState
from csv2kafka.model.report import Report

REPORT = Report(
    checkpoint=Checkpoint(
        job="orders",
        run_id="r1",
        counts=Counts(rows=1200, bytes=5000),
        sink=SinkState(offsets={"data": 1210}, first_offset=3),
        transactions=4,
    ),
    manifest=Manifest(objects=(("/a.csv", 5000, "v1"),)),
    destination="kafka topic orders partition 0",
    rows_this_run=1200,
    seconds=2.0,
    sessions=1,
    peak_memory_bytes=50_000_000,
)
COMPLETE = evolve(REPORT, checkpoint=evolve(REPORT.checkpoint, complete=True))

Work = Callable[["FakePipeline"], Awaitable[Report]]


@define
class FakePipeline:
    """Does what ``work`` says. ``emit`` tells the command's display of an event."""

    config: RunConfig
    emit: Callable[[Event], None]
    work: Work
    report: Report = REPORT

    async def run(self) -> Report:
        return await self.work(self)


@define
class Outcome:
    """What the command did. ``configs``: those its pipelines were built with."""

    code: int
    out: str
    err: str


@define
class Command:
    """``command("run", …)`` as the installed command would do it."""

    capsys: pytest.CaptureFixture[str]
    work: Work | None = None
    refuse: Exception | None = None  # raised where a pipeline would be built
    configs: list[RunConfig] = field(factory=list)

    def __call__(self, *argv: str) -> Outcome:
        self.capsys.readouterr()
        code = execute(list(argv))
        captured = self.capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    def run(self, *more: str) -> Outcome:
        """``run`` of a file into a topic."""
        return self("run", "a.csv", "-b", "host:9092", "-t", "orders", *more)


@pytest.fixture
def _logging_put_back() -> Iterator[None]:
    root, client = logging.getLogger(), logging.getLogger("aiokafka")
    handlers, levels = root.handlers[:], (root.level, client.level)
    yield
    root.handlers = handlers
    root.setLevel(levels[0])
    client.setLevel(levels[1])


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, _logging_put_back: None) -> Command:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    made = Command(capsys)

    class Pipeline:
        @classmethod
        def from_config(cls, config: RunConfig, *, on_event: Callable[[Event], None]) -> FakePipeline:
            made.configs.append(config)
            if made.refuse:
                raise made.refuse
            assert made.work is not None, "this test runs no pipeline"
            return FakePipeline(config, on_event, made.work)

    module: Any = ModuleType("csv2kafka.pipeline")
    module.Pipeline = Pipeline
    monkeypatch.setitem(sys.modules, "csv2kafka.pipeline", module)
    return made
