"""The network between the job and its broker: cut, silent, slow, in another order, and single requests late or lost."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from attrs import define

from tests.chaos.job import Job, Run
from tests.chaos.killed import PAST_TRANSACTION
from tests.chaos.reordering import Reordering
from tests.chaos.trial import Trial
from tests.faults.proxy import FaultProxy, Request, Rule

T = TypeVar("T")
CALL_SECONDS = 20.0
REQUEST_MS = 2000
IN_A_TRANSACTION = ("AddPartitionsToTxn", "Produce", "EndTxn")


@define
class Standing:
    """A proxy in a thread with a loop of its own."""

    proxy: FaultProxy
    loop: asyncio.AbstractEventLoop

    def do(self, work: Callable[[FaultProxy], T]) -> T:
        """There, since its events are the loop's."""

        async def there() -> T:
            return work(self.proxy)

        return asyncio.run_coroutine_threadsafe(there(), self.loop).result(CALL_SECONDS)


@contextmanager
def proxied(servers: str, kind: type[FaultProxy] = FaultProxy) -> Iterator[Standing]:
    """The proxy, before the broker."""
    standing: list[Standing] = []
    up, down = threading.Event(), threading.Event()

    async def main() -> None:
        async with kind(servers) as proxy:
            standing.append(Standing(proxy, asyncio.get_running_loop()))
            up.set()
            while not down.is_set():
                await asyncio.sleep(0.05)
            proxy.resume()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        if not up.wait(CALL_SECONDS):
            raise TimeoutError("the proxy did not come up")
        yield standing[0]
    finally:
        down.set()
        thread.join(CALL_SECONDS)


def _job(trial: Trial, standing: Standing, *, delivery: str = "", request_ms: int = REQUEST_MS) -> tuple[Job, Run]:
    job = trial.job(
        servers=standing.proxy.bootstrap_servers,
        delivery=delivery or trial.draw.choice(("exactly-once", "exactly-once", "at-least-once")),
        options=("--kafka", f"request_timeout_ms={request_ms}"),
    )
    run = job.start(commits=20)
    run.until_rows(0)
    return job, run


def _left(trial: Trial, job: Job, run: Run) -> None:
    """What is left is done without the proxy."""
    trial.kill(run)
    job.servers = trial.place.servers


def cut(trial: Trial) -> None:
    """Every TCP connection is cut, at random moments."""
    with proxied(trial.place.servers) as standing:
        job, run = _job(trial, standing)
        for _ in range(3 if trial.brief else 15):
            trial.pause(trial.draw.uniform(0, 1))
            since = time.time()
            standing.do(FaultProxy.cut_all)
            trial.times += 1
            trial.goes_on(run, since, after=since + 0.02)
        _left(trial, job, run)


def black_hole(trial: Trial) -> None:
    """Connections stand and nothing comes through, for up to six seconds (an answer may take two)."""
    with proxied(trial.place.servers) as standing:
        job, run = _job(trial, standing)
        for _ in range(1 if trial.brief else 5):
            _hole(trial, standing, run, trial.draw.uniform(0.2, 6))
        _left(trial, job, run)


def black_hole_past_transaction(trial: Trial) -> None:
    """The coordinator is away for longer than the transaction time-out, as the run sees it."""
    with proxied(trial.place.servers) as standing:
        job, run = _job(trial, standing, delivery="exactly-once")
        _hole(trial, standing, run, PAST_TRANSACTION)
        _left(trial, job, run)


def _hole(trial: Trial, standing: Standing, run: Run, seconds: float) -> None:
    standing.do(FaultProxy.pause)
    try:
        trial.pause(seconds)
    finally:
        since = time.time()
        standing.do(FaultProxy.resume)
    trial.times += 1
    trial.goes_on(run, since, after=since)


def slow(trial: Trial) -> None:
    """Requests and answers take up to a third of a second, each kind its own time, and now and then too long."""
    draw = trial.draw
    with proxied(trial.place.servers) as standing:
        job, run = _job(trial, standing)
        for api in (*IN_A_TRANSACTION, "Metadata", "Fetch", "InitProducerId", "FindCoordinator"):
            standing.do(partial(_slowed, api=api, draw=draw))
        trial.pause(trial.lasts(4, 25))
        trial.times += 1
        _left(trial, job, run)


def _slowed(proxy: FaultProxy, *, api: str, draw: random.Random) -> None:
    def sometimes(share: float) -> Callable[[Request], bool]:
        return lambda _: draw.random() < share

    proxy.delay(api, draw.uniform(2.2, 3), nth=None, where=sometimes(0.01))
    proxy.delay(api, draw.uniform(0, 0.3), nth=None, where=sometimes(0.3))
    proxy.delay_response(api, draw.uniform(0, 0.3), nth=None, where=sometimes(0.5))


def reordered(trial: Trial) -> None:
    """Two answers on one connection change places, which TCP never does: whatever comes of it, no row suffers."""
    with proxied(trial.place.servers, Reordering) as standing:
        proxy = standing.proxy
        assert isinstance(proxy, Reordering)
        job = trial.job(  # large, and in large commits: only then are several batches on the way
            source=trial.large,
            servers=proxy.bootstrap_servers,
            delivery=trial.draw.choice(("exactly-once", "at-least-once")),
            options=("--kafka", f"request_timeout_ms={REQUEST_MS}"),
        )
        standing.do(lambda _: proxy.swap_next())
        run = job.start(commits=None)
        for _ in range(1 if trial.brief else 4):
            if not run.until(lambda: proxy.swaps <= 0):
                break
            trial.times += 1
            since = time.time()
            trial.goes_on(run, since, after=since + 0.02)
            standing.do(lambda _: proxy.swap_next())
        _left(trial, job, run)


def commit_answer_lost(trial: Trial) -> None:
    """EndTxn is done and its answer lost: nobody knows whether it was."""
    _strike(trial, lambda proxy: proxy.drop_response("EndTxn", nth=trial.draw.randint(1, 9)), "exactly-once")


def commit_delayed(trial: Trial) -> None:
    """EndTxn comes to the broker when the session that sent it is over, and the next one writes."""
    _strike(trial, partial(_delay, api="EndTxn", draw=trial.draw), "exactly-once")


def rows_delayed(trial: Trial) -> None:
    """A batch comes to the broker when the session that sent it is over."""
    _strike(
        trial, partial(_delay, api="Produce", draw=trial.draw), trial.draw.choice(("exactly-once", "at-least-once"))
    )


def _delay(proxy: FaultProxy, *, api: str, draw: random.Random) -> Rule:
    return proxy.delay(api, REQUEST_MS / 1000 + draw.uniform(0.5, 4), nth=draw.randint(1, 9))


def request_struck(trial: Trial) -> None:
    """Any request: lost, its answer lost, cut off before or after, sent twice by the network."""
    _strike(trial, partial(_any_way, draw=trial.draw), "exactly-once")


def _any_way(proxy: FaultProxy, *, draw: random.Random) -> Rule:
    api, nth = draw.choice((*IN_A_TRANSACTION, "EndTxn")), draw.randint(1, 9)
    ways: tuple[Callable[[], Rule], ...] = (
        lambda: proxy.drop_request(api, nth=nth),
        lambda: proxy.drop_response(api, nth=nth),
        lambda: proxy.cut(api, nth=nth),
        lambda: proxy.cut(api, after=True, nth=nth),
        lambda: proxy.repeat_request(api, nth=nth),
    )
    return draw.choice(ways)()


def _strike(trial: Trial, strike: Callable[[FaultProxy], Rule], delivery: str) -> None:
    """Again and again; now and then the run is killed while the request is on its way, and another goes on."""
    with proxied(trial.place.servers) as standing:
        job, run = _job(trial, standing, delivery=delivery)
        for _ in range(1 if trial.brief else 6):
            rule = standing.do(strike)
            if not run.until(rule._happened.is_set, what="for a request to strike"):
                break
            trial.times += 1
            since = time.time()
            if trial.draw.random() < 0.2:
                trial.pause(trial.draw.uniform(0, 3))
                trial.kill(run)
                run, since = job.start(commits=20), time.time()
            trial.goes_on(run, since, after=since + 0.02)
        _left(trial, job, run)
