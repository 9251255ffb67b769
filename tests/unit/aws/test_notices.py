"""Notices are found whatever the metadata service does, and nothing else ever ends a watch."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

from csv2kafka.aws import notices
from csv2kafka.aws.notices import notice
from tests.aws.ecs_metadata import EcsMetadata, ecs_metadata
from tests.aws.imds import LIFECYCLE, REBALANCE, REBALANCE_NOTICE, SPOT, SPOT_TERMINATE, Imds, imds

ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
POLL = 0.01


@pytest.fixture
def ec2() -> Iterator[Imds]:
    with imds() as fake:
        yield fake


@pytest.fixture
def ecs() -> Iterator[EcsMetadata]:
    with ecs_metadata() as fake:
        yield fake


@pytest.fixture
def nobody() -> str:
    """Where nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def watched(kind: str, **environ: str) -> str | None:
    async with asyncio.timeout(20):
        return await notice(kind, environ, poll_seconds=POLL)


async def polls(fake: Imds, more: int) -> None:
    """Until it was asked that often."""
    wanted = len(fake.asked) + more
    async with asyncio.timeout(20):
        while len(fake.asked) < wanted:
            await asyncio.sleep(POLL)


@pytest.mark.parametrize(
    ("entry", "text", "told"),
    [
        (SPOT, SPOT_TERMINATE, "EC2 takes this Spot instance back: terminate at 2026-09-18T08:22:00Z"),
        (REBALANCE, REBALANCE_NOTICE, "EC2 recommends to leave this Spot instance (since 2026-09-18T08:20:00Z)"),
        (LIFECYCLE, "Terminated", "the Auto Scaling group takes this instance out"),
    ],
)
@pytest.mark.parametrize("kind", ["ec2", "auto"])
async def test_a_notice_of_ec2_is_found_when_it_comes(kind: str, entry: str, text: str, told: str, ec2: Imds) -> None:
    ec2.entries[LIFECYCLE] = "InService"
    watch = asyncio.create_task(watched(kind, **{ENDPOINT: ec2.url + "/"}))
    await polls(ec2, 6)
    assert not watch.done()
    ec2.entries[entry] = text
    assert await watch == told
    assert ec2.given == 1
    assert ec2.refused == 0


async def test_spot_minds_no_recommendation(ec2: Imds) -> None:
    ec2.entries |= {LIFECYCLE: "InService", REBALANCE: REBALANCE_NOTICE}
    watch = asyncio.create_task(watched("spot", **{ENDPOINT: ec2.url}))
    await polls(ec2, 6)
    assert not watch.done()
    ec2.entries[SPOT] = SPOT_TERMINATE
    assert await watch == "EC2 takes this Spot instance back: terminate at 2026-09-18T08:22:00Z"


async def test_a_token_that_is_refused_is_replaced(ec2: Imds) -> None:
    watch = asyncio.create_task(watched("ec2", **{ENDPOINT: ec2.url}))
    await polls(ec2, 3)
    ec2.expire()
    await polls(ec2, 3)
    ec2.entries[SPOT] = SPOT_TERMINATE
    assert await watch
    assert ec2.given == 2


async def test_a_token_is_renewed_before_it_ends(ec2: Imds) -> None:
    ec2.lifetime = 0
    watch = asyncio.create_task(watched("ec2", **{ENDPOINT: ec2.url}))
    await polls(ec2, 5)
    ec2.entries[SPOT] = SPOT_TERMINATE
    assert await watch
    assert ec2.given > 2
    assert ec2.refused == 0


@pytest.mark.parametrize("status", [400, 403, 500, 503])
async def test_what_fails_is_told_once_and_asked_again(
    status: int, ec2: Imds, caplog: pytest.LogCaptureFixture
) -> None:
    watch = asyncio.create_task(watched("ec2", **{ENDPOINT: ec2.url}))
    await polls(ec2, 3)
    ec2.failing = status
    await asyncio.sleep(20 * POLL)
    assert not watch.done()
    ec2.failing = 0
    ec2.entries[SPOT] = SPOT_TERMINATE
    assert await watch
    assert len(caplog.messages) == 1
    assert str(status) in caplog.text
    assert "the run goes on" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "[]", '"terminate"', "[" * 100_000, f"{{{' ' * notices.MOST_BYTES}}}"],
    ids=lambda text: text[:9],
)
async def test_what_is_no_notice_stops_nothing(text: str, ec2: Imds, caplog: pytest.LogCaptureFixture) -> None:
    ec2.entries[SPOT] = text
    watch = asyncio.create_task(watched("ec2", **{ENDPOINT: ec2.url}))
    await polls(ec2, 3)
    assert not watch.done()
    ec2.entries[SPOT] = SPOT_TERMINATE
    assert await watch
    assert len(caplog.messages) == 1


async def test_ec2_that_is_not_there_is_told_and_looked_for(nobody: str, caplog: pytest.LogCaptureFixture) -> None:
    watch = asyncio.create_task(watched("ec2", **{ENDPOINT: nobody}))
    await asyncio.sleep(20 * POLL)
    assert not watch.done()
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
    assert len(caplog.messages) == 1
    assert nobody.removeprefix("http://") in caplog.text


async def test_silence_names_the_hop_limit(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(notices, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        watch = asyncio.create_task(watched("ec2", **{ENDPOINT: f"http://127.0.0.1:{silent.getsockname()[1]}"}))
        while not caplog.messages:
            await asyncio.sleep(POLL)
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch
    assert "--http-put-response-hop-limit 2" in caplog.text


@pytest.mark.parametrize("kind", ["ecs", "auto"])
async def test_a_task_that_is_to_stop_is_found(kind: str, ecs: EcsMetadata) -> None:
    watch = asyncio.create_task(watched(kind, ECS_CONTAINER_METADATA_URI_V4=ecs.uri))
    await asyncio.sleep(20 * POLL)
    assert not watch.done()
    ecs.desired = "STOPPED"
    assert await watch == "ECS stops this task"


async def test_auto_with_nothing_there_says_so_and_ends(nobody: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await watched("auto", **{ENDPOINT: nobody}) is None
    assert caplog.messages == [
        "--watch auto: found neither an ECS task nor an EC2 instance; only a signal stops this run"
    ]


async def test_auto_waits_a_second_for_ec2_at_most(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notices, "PROBE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert await watched("auto", **{ENDPOINT: f"http://127.0.0.1:{silent.getsockname()[1]}"}) is None
    assert "neither" in caplog.text


@pytest.mark.parametrize("kind", ["ec2", "auto"])
async def test_metadata_that_is_switched_off_is_not_asked(
    kind: str, ec2: Imds, caplog: pytest.LogCaptureFixture
) -> None:
    assert await watched(kind, AWS_EC2_METADATA_DISABLED="true", **{ENDPOINT: ec2.url}) is None
    assert "AWS_EC2_METADATA_DISABLED is set" in caplog.text
    assert ec2.given == 0


async def test_ecs_outside_of_a_task_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert await watched("ecs") is None
    assert "ECS_CONTAINER_METADATA_URI_V4 is not set" in caplog.text
