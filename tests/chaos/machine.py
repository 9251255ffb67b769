"""What the job's machine lacks: room on the disk, memory, file descriptors, the right time."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from tests.chaos.job import PASSING, Job, Problem, Run, expect
from tests.chaos.places import OneBroker, small_disk
from tests.chaos.trial import Skip, Trial

NO_MOUNT = "no small disk can be mounted (that needs root)"
BROKER_KIB = 96 << 10
FAKETIME = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/lib*/faketime/libfaketimeMT.so.1")
HOUR = 3600


@contextmanager
def _small(directory: Path, kibibytes: int) -> Iterator[Path]:
    with small_disk(directory, kibibytes) as mounted:
        if not mounted:
            raise Skip(NO_MOUNT)
        yield directory


def _fill(disk: Path, leave: int) -> Path:
    """A file that takes all but so many bytes."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb") as file:  # the job may have taken the rest meanwhile: full it is
        file.write(bytes(max(0, shutil.disk_usage(disk).free - leave)))
    return ballast


def disk_full_store(trial: Trial) -> None:
    """No room for the checkpoint database, amid rows and on opening; then there is some."""
    with _small(trial.directory / "disk", 256) as disk:
        delivery = trial.draw.choice(("exactly-once", "at-least-once"))
        job = trial.job(delivery=delivery, options=("--kafka", "request_timeout_ms=1000"), store=disk / "jobs.db")
        for _ in range(1 if trial.brief else 3):
            run = job.start(commits=20)
            run.until_rows(run.rows)
            ballast = _fill(disk, trial.draw.choice((0, 4096, 8192)))
            trial.times += 1
            trial.pause(trial.draw.uniform(0, 3))
            if trial.draw.random() < 0.3:
                trial.kill(run)
                run = job.start(commits=20)
                trial.pause(2)
            _over(trial, run)
            ballast.unlink()
            _restarted(trial, job)
        trial.settle()


def disk_full_output(trial: Trial) -> None:
    """No room for the output file (-o) amid its rows; then there is some."""
    with _small(trial.directory / "disk", 20 << 10) as disk:
        job = trial.job(output=disk / "rows.jsonl")
        run = job.start(commits=500)
        run.until_rows(0)
        for _ in range(1 if trial.brief else 4):
            ballast = _fill(disk, trial.draw.randrange(0, 500_000))
            trial.times += 1
            run.until(lambda: False, 20)
            expect(run, 0, *PASSING)
            ballast.unlink()
            if run.code == 0:
                break
            since = time.time()
            run = job.start(commits=500)
            trial.goes_on(run, since)
        trial.kill(run)
        trial.settle()


def disk_full_broker(trial: Trial) -> None:
    """The broker's disk is full: it goes down or refuses; there is room again and it is started anew."""
    with _small(trial.directory / "kafka" / "data", BROKER_KIB) as disk, _own_broker(trial) as own:
        run = _amid_rows(trial)
        ballast = _fill(disk, trial.draw.randrange(0, 200_000))
        trial.times += 1
        trial.pause(trial.lasts(6, 15))
        own.node.kill()
        ballast.unlink()
        _back(trial, own, run)
        trial.kill(run)


def broker_away_past_transaction(trial: Trial) -> None:
    """The only broker, and so the coordinator, is away for longer than the transaction time-out: killed, or stopped."""
    with _own_broker(trial) as own:
        run = _amid_rows(trial)
        trial.times += 1
        if trial.draw.random() < 0.5:
            own.node.kill()
            trial.pause(66)
            _back(trial, own, run)
        else:
            os.kill(own.node.pid, signal.SIGSTOP)
            try:
                trial.pause(66)
            finally:
                since = time.time()
                os.kill(own.node.pid, signal.SIGCONT)
            trial.goes_on(run, since, after=since + 0.02)
        trial.kill(run)


def broker_restarted(trial: Trial) -> None:
    """The only broker is stopped or killed, and started again at once."""
    with _own_broker(trial) as own:
        run = _amid_rows(trial)
        for _ in range(1 if trial.brief else 4):
            trial.draw.choice((own.node.stop, own.node.kill))()
            trial.times += 1
            trial.pause(trial.draw.uniform(0, 5))
            _back(trial, own, run)
        trial.kill(run)


@contextmanager
def _own_broker(trial: Trial) -> Iterator[OneBroker]:
    with OneBroker.at(trial.directory / "kafka").running() as own:
        trial.place = own
        try:
            yield own
            trial.settle()
        except Problem:
            trial.judge()
            raise


def _amid_rows(trial: Trial) -> Run:
    delivery = trial.draw.choice(("exactly-once", "at-least-once"))
    job = trial.job(delivery=delivery, options=("--kafka", "request_timeout_ms=2000"))
    run = job.start(commits=20)
    run.until_rows(0)
    return run


def _back(trial: Trial, own: OneBroker, run: Run) -> None:
    own.node.start()
    since = time.time()
    trial.goes_on(run, since, after=since - 0.2)  # it answers a moment before that is seen


def _over(trial: Trial, run: Run) -> None:
    """A run that may have ended by itself, as it should if it cannot go on."""
    if run.code is None:
        trial.kill(run)
    else:
        expect(run, 0, 2, *PASSING)


def _restarted(trial: Trial, job: Job) -> None:
    since = time.time()
    run = job.start(commits=20)
    trial.goes_on(run, since)
    trial.kill(run)


def little_memory(trial: Trial) -> None:
    """An address space too small to start in, to open in or to go on in; then a larger one."""
    _limited(trial, "--as", [trial.draw.randrange(40, 300) << 20 for _ in range(2 if trial.brief else 8)])


def few_files(trial: Trial) -> None:
    """At most 40 file descriptors, and fewer."""
    _limited(trial, "--nofile", [40, *(trial.draw.randrange(5, 24) for _ in range(1 if trial.brief else 6))])


def _limited(trial: Trial, limit: str, values: list[int]) -> None:
    if shutil.which("prlimit") is None:
        raise Skip("prlimit is missing (util-linux)")
    delivery = trial.draw.choice(("exactly-once", "at-least-once"))
    source = trial.middle if trial.brief else trial.large
    job = trial.job(source=source, delivery=delivery, options=("--kafka", "request_timeout_ms=1000"))
    for value in values:
        run = job.start(commits=2000, prefix=("prlimit", f"{limit}={value}"))
        trial.times += 1
        until = time.monotonic() + trial.lasts(3, 5)
        while run.code is None and time.monotonic() < until:
            trial.pause(0.05)
        trial.kill(run)
        if run.code == 0:
            break


def time_moved(trial: Trial) -> None:
    """The clock jumps by up to half an hour amid rows, and by days between runs (libfaketime)."""
    library = next((path for pattern in FAKETIME for path in sorted(Path("/").glob(pattern))), None)
    if library is None:
        raise Skip("libfaketime is missing (Debian: faketime)")
    clock = trial.directory / "clock"
    variables = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    delivery = trial.draw.choice(("exactly-once", "at-least-once"))
    job = trial.job(delivery=delivery, options=("--kafka", "request_timeout_ms=1000"))
    for _ in range(2 if trial.brief else 6):
        days = trial.draw.choice((0, 0, -3, 3))
        clock.write_text(f"{timedelta(days=days) // timedelta(seconds=1):+d}")
        run = job.start(commits=20, variables=variables)
        trial.times += 1
        if days <= 0:
            run.until_rows(-1)
            for _ in range(3):
                trial.pause(trial.draw.uniform(0, 1))
                clock.write_text(f"{days * 24 * HOUR + trial.draw.randint(-HOUR // 2, HOUR // 2):+d}")
            trial.kill(run)
        else:  # brokers refuse records of more than an hour ahead
            trial.pause(3)
            trial.kill(run)
