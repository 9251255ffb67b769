"""The job's process is killed, stopped, and run twice."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.chaos.counting import counting
from tests.chaos.job import PASSING, Job, Run, Source, expect
from tests.chaos.trial import Trial
from tests.faults.installed import KERNEL

KILLS = 25  # of one job, each amid its rows or while it opens
BRIEF_KILLS = 5
AT_END_KILLS = 6
NEARLY = 280  # of the 300 rows of the small CSV
HUGE_ROWS = 1_000_000
PAST_TRANSACTION = 66.0  # seconds; the time-out is 60
PAST_LEASE = 40.0  # 15, and what a busy machine makes of them
NO_LOCK_SECONDS = 0.2


def kill_exactly_once(trial: Trial) -> None:
    """SIGKILL while it starts, amid rows, just when it has told of a commit; now and then the other kernel goes on."""
    kills(trial, trial.job(delivery="exactly-once"))


def kill_at_least_once(trial: Trial) -> None:
    """The same with `--delivery at-least-once`, which waits for one request time-out (here 1 s) on starting."""
    kills(trial, trial.job(delivery="at-least-once", options=("--kafka", "request_timeout_ms=1000")))


def kills(trial: Trial, job: Job) -> None:
    draw, opening, known = trial.draw, 0.7, -1
    commits = draw.choice((10, 25, 50, 100))
    while trial.kills < (BRIEF_KILLS if trial.brief else KILLS):
        kernel = "python" if draw.random() < 0.1 else KERNEL
        run = job.start(commits=commits, kernel=kernel)
        moment = draw.choices(("starting", "amid rows", "in a commit"), (1, 2, 2))[0]
        if moment == "starting":
            trial.pause(draw.uniform(0, 1.3 * opening))
        elif run.until_rows(known):
            opening = (opening + run.commits[0].at - run.started_at) / 2
            trial.pause(draw.uniform(0, 0.2))
            if moment == "in a commit":
                rows = run.rows
                run.until_rows(rows)
                trial.pause(draw.uniform(0, 0.004))
        if not trial.kill(run):
            expect(run, 0)
            return
        trial.times += 1
        if run.commits:
            if known >= 0:
                trial.go_on.append(run.commits[0].at - run.started_at)
            known = run.commits[-1].rows


def kill_at_end(trial: Trial) -> None:
    """SIGKILL around the last commits: of the last rows, of "complete", of what the store hears of it."""
    for delivery in ("exactly-once", "at-least-once"):
        options = () if delivery == "exactly-once" else ("--kafka", "request_timeout_ms=1000")
        job, known = trial.job(source=trial.small, delivery=delivery, options=options), -1
        for _ in range(2 if trial.brief else AT_END_KILLS):
            run = job.start(commits=NEARLY // 4, kernel=KERNEL)
            run.until(lambda: run.rows >= NEARLY or (run.opened_at is not None and known >= NEARLY))  # noqa: B023
            trial.pause(trial.draw.uniform(0, 0.03))
            if trial.kill(run):
                trial.times += 1
            else:
                expect(run, 0)
            known = max(known, run.rows)


def kill_at_full_speed(trial: Trial) -> None:
    """SIGKILL at full speed with the default options, the source read over HTTP; what is read again is counted."""
    known = 0
    huge = trial.large if trial.brief else Source.made(trial.directory / "huge.csv", HUGE_ROWS)
    with counting(huge.path) as server:
        job = trial.job(source=huge, url=server.url)
        for _ in range(2 if trial.brief else 5):
            sent = server.sent
            run = job.start(commits=None)
            if not run.until_rows(known):
                break
            trial.pause(trial.draw.uniform(0, 0.3))
            if not trial.kill(run):
                expect(run, 0)
                break
            trial.times += 1
            if known:
                trial.go_on.append(run.commits[0].at - run.started_at)
            committed = huge.offset_behind(run.rows) - huge.offset_behind(known)
            trial.read_again.append(max(0, server.sent - sent - committed))
            known = run.rows
        trial.settle()


def stop(trial: Trial) -> None:
    """SIGSTOP for up to three seconds, again and again, and SIGCONT."""
    delivery = trial.draw.choice(("exactly-once", "at-least-once"))
    run = trial.job(delivery=delivery, options=("--kafka", "request_timeout_ms=1000")).start(commits=20)
    for _ in range(2 if trial.brief else 8):
        if not run.until_rows(run.rows):
            break
        _stopped(trial, run, trial.draw.uniform(0.05, 3))
    run.kill()


def stop_past_transaction(trial: Trial) -> None:
    """SIGSTOP for longer than the transaction time-out: the run's own epoch is over when it wakes."""
    run = trial.job().start(commits=20)
    run.until_rows(0)
    _stopped(trial, run, PAST_TRANSACTION)
    run.kill()


def _stopped(trial: Trial, run: Run, seconds: float) -> None:
    run.stop()
    try:
        trial.pause(seconds)
    finally:
        since = time.time()
        run.signal(signal.SIGCONT)
    trial.times += 1
    trial.goes_on(run, since, after=since + 0.02)  # a commit that was answered while it slept is none


def stop_past_lease(trial: Trial) -> None:
    """SIGSTOP for longer than the lease; another run on the same store takes over; the sleeper wakes amid its rows or
    behind its end."""
    _overtaken(trial, trial.job(), None)


def stop_and_other_store(trial: Trial) -> None:
    """SIGSTOP; a run with a store of its own takes over; the sleeper wakes."""
    job = trial.job()
    _overtaken(trial, job, job.store.with_suffix(".other"))


def _overtaken(trial: Trial, job: Job, store: Path | None) -> None:
    sleeper = job.start(commits=20)
    sleeper.until_rows(0)
    second: Run | None = None
    for _ in range(100):  # a stopped process goes on holding SQLite's lock, as any file's
        sleeper.stop()
        if store is not None or not _locked(job.store):
            break
        sleeper.signal(signal.SIGCONT)
        trial.pause(0.01)
    try:
        second = job.start(commits=20, store=store)
        second.until_rows(0)
        trial.go_on.append(second.commits[0].at - second.started_at)
        trial.pause(trial.draw.choice((0.0, 0.5, 3.0)))
    finally:
        sleeper.signal(signal.SIGCONT)
    trial.times += 1
    sleeper.end()
    expect(sleeper, 76)
    second.until_rows(second.rows)
    if store is not None:
        job.store = store
    trial.kill(second)


def _locked(store: Path) -> bool:
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(store, timeout=NO_LOCK_SECONDS, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    return False


def two_runs_one_store(trial: Trial) -> None:
    """Two runs of one job at once, each started again whenever it ends, killed now and then; on one store."""
    _two(trial, trial.job(delivery=trial.draw.choice(("exactly-once", "at-least-once"))), own_stores=False)


def two_runs_two_stores(trial: Trial) -> None:
    """The same with a store for each."""
    _two(trial, trial.job(), own_stores=True)


def _two(trial: Trial, job: Job, *, own_stores: bool) -> None:
    stores = (job.store, job.store.with_suffix(".other") if own_stores else job.store)
    until = time.monotonic() + trial.lasts(8, 150)
    runs = [job.start(commits=20, store=store) for store in stores]
    while time.monotonic() < until:
        trial.pause(trial.draw.uniform(0.1, 1))
        if trial.draw.random() < 0.15:
            trial.kill(trial.draw.choice(runs))
        for number, run in enumerate(runs):
            if run.code == 0:
                return
            if run.code is not None:
                expect(run, -signal.SIGKILL, *PASSING)
                trial.times += 1
                runs[number] = job.start(commits=20, store=stores[number])
    for run in runs:
        run.kill()
