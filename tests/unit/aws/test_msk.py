"""Tokens for MSK: what is in them, when a new one is made, and what is said when none can be."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from csv2kafka.aws import msk
from csv2kafka.aws.msk import RENEW_AFTER, MskTokens, Token, region_of
from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt
from csv2kafka.kafka.connection import LOGIN_AGAIN

LIFE = 900.0


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Maker:
    """Makes tokens 1, 2, …; ``fails``: raises it instead."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.made = 0
        self.fails: Csv2KafkaError | None = None

    def __call__(self) -> Token:
        assert threading.current_thread() is not threading.main_thread()
        if self.fails is not None:
            raise self.fails
        self.made += 1
        return Token(text=f"token {self.made}", until=self.clock() + LIFE)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def maker(clock: Clock) -> Maker:
    return Maker(clock)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def tokens(maker: Maker, draw: float = 0.5) -> MskTokens:
    return MskTokens("eu-west-1", make=maker, clock=maker.clock, draw=lambda: draw)


@pytest.mark.parametrize("draw", [0.0, 1.0])
async def test_a_token_is_shared_and_renewed_ahead_of_its_end(clock: Clock, maker: Maker, draw: float) -> None:
    provider, began = tokens(maker, draw), clock.now
    assert [await provider.token() for _ in range(3)] == ["token 1"] * 3
    clock.now = began + RENEW_AFTER[draw == 1.0] * LIFE - 1
    assert await provider.token() == "token 1"
    clock.now += 2
    assert [await provider.token() for _ in range(3)] == ["token 2"] * 3


def test_a_connection_that_logs_in_again_always_gets_a_new_token() -> None:
    """However old the token was that it logged in with."""
    for age in range(int(RENEW_AFTER[1] * LIFE)):
        assert age + LOGIN_AGAIN[0] * (LIFE - age) > RENEW_AFTER[1] * LIFE


async def test_a_token_that_is_still_good_outlives_a_failure(clock: Clock, maker: Maker) -> None:
    provider = tokens(maker)
    await provider.token()
    maker.fails = Doubt("no answer")
    clock.now += 0.9 * LIFE
    assert await provider.token() == "token 1"
    clock.now += 0.08 * LIFE
    with pytest.raises(Doubt):
        await provider.token()
    maker.fails = None
    assert await provider.token() == "token 2"


async def test_credentials_that_were_there_may_be_again(clock: Clock, maker: Maker) -> None:
    provider = tokens(maker)
    maker.fails = ConfigError("no credentials")
    with pytest.raises(ConfigError):
        await provider.token()
    maker.fails = None
    await provider.token()
    maker.fails = ConfigError("no credentials")
    clock.now += LIFE
    with pytest.raises(Doubt, match="no credentials"):
        await provider.token()


async def test_who_never_answers_is_a_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msk, "MAKING_SECONDS", 0.1)
    ended = threading.Event()

    def make() -> Token:
        ended.wait(30)
        raise ConfigError("too late")

    try:
        with pytest.raises(Doubt, match=r"no credentials came in 0\.1 s"):
            await MskTokens("eu-west-1", make=make).token()
    finally:
        ended.set()
        await asyncio.sleep(0)


async def test_what_is_in_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the documentation of MSK's IAM access control names its parts."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    text = await MskTokens("eu-west-1").token()
    assert "=" not in text
    url = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    assert "hidden" not in url
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=True).items()}
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "kafka.eu-west-1.amazonaws.com", "/")
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    day = time.strftime("%Y%m%d", time.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
    assert query["X-Amz-Credential"] == f"AKIAEXAMPLE/{day}/eu-west-1/kafka-cluster/aws4_request"
    assert query["X-Amz-Expires"] == "900"
    assert query["X-Amz-SignedHeaders"] == "host"
    assert query["X-Amz-Security-Token"] == "session"
    assert len(query["X-Amz-Signature"]) == 64


async def test_no_credentials_at_all() -> None:
    with pytest.raises(ConfigError, match="making a token for Amazon MSK: no AWS credentials were found") as caught:
        await MskTokens("eu-west-1").token()
    assert "role" in caught.value.hint


async def test_a_containers_role_that_does_not_answer_is_a_doubt(
    monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{unused_tcp_port_factory()}/role")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    with pytest.raises(Doubt, match="making a token for Amazon MSK: Error when retrieving credentials"):
        await MskTokens("eu-west-1").token()


async def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(ConfigError, match="missing"):
        await MskTokens("eu-west-1").token()
    with pytest.raises(ConfigError, match="missing"):
        region_of(["broker"])


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("b-1.orders.a1b2c3.c2.kafka.eu-west-1.amazonaws.com", "eu-west-1"),
        ("boot-x.c1.kafka-serverless.us-east-2.amazonaws.com", "us-east-2"),
        ("B-1.ORDERS.A1.C3.KAFKA.CN-NORTH-1.AMAZONAWS.COM.CN", "cn-north-1"),
    ],
)
def test_the_clusters_name_tells_its_region(host: str, region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert region_of(["10.0.0.1", host]) == region


def test_else_the_region_is_the_environments_or_the_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set AWS_REGION"):
        region_of(["broker.example.org"])
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n")
    assert region_of(["broker.example.org"]) == "eu-north-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-1")
    assert region_of(["broker.example.org"]) == "eu-south-1"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert region_of(["broker.example.org"]) == "eu-central-1"


def test_who_does_not_use_it_does_not_pay_for_it() -> None:
    code = """
import sys
from csv2kafka.kafka.settings import client_settings
client_settings({"bootstrap_servers": "here"})
assert not {"botocore", "boto3", "aiobotocore", "csv2kafka.aws.msk"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
