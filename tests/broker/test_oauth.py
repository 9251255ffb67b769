"""Logins that do not last: tokens and passwords whose time is over while a session goes on (KIP-368).

A broker closes a connection at the first request behind its login's time, so each run here would lose its session
several times over if it did not log in again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka.abc import AbstractTokenProvider
from attrs import Factory, define, frozen
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

from csv2kafka.cli.local_kafka import LocalKafka, fetch_jars
from csv2kafka.errors import Doubt, NotAuthorized
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.connection import Connection
from csv2kafka.model import Event, SessionOpened, SourceObject, Waiting
from csv2kafka.pipeline import Pipeline
from csv2kafka.sinks.kafka import KafkaSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.testing import MemoryStore
from tests.certificates import Authority
from tests.conftest import need_local_kafka
from tests.faults.installed import Installed
from tests.reading import read_partition

ROWS = 300
RUN_SECONDS = 31.0
TOKEN_SECONDS = 6.0
PASSWORD_SECONDS = 4.0
LOGIN = {"sasl_plain_username": "writer", "sasl_plain_password": "correct-horse"}
LISTENERS = {"TOKEN": "SASL_PLAINTEXT", "TOKENTLS": "SASL_SSL", "MSK": "SASL_SSL", "LOGIN": "SASL_PLAINTEXT"}
TOKEN_LOGIN = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
    'unsecuredLoginStringClaim_sub="broker";'
)
PLAIN_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="writer" password="correct-horse" user_writer="correct-horse";'
)
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@frozen
class Secured:
    """A broker with a listener for each kind of login."""

    node: LocalKafka
    authority: Authority

    def settings(self, listener: str, mechanism: str, **more: object) -> dict[str, Any]:
        tls = {"ssl_cafile": str(self.authority.certificate)} if LISTENERS[listener] == "SASL_SSL" else {}
        return {
            "bootstrap_servers": self.node.address(listener),
            "security_protocol": LISTENERS[listener],
            "sasl_mechanism": mechanism,
            "request_timeout_ms": 5000,
            **tls,
            **more,
        }


def broker_config(authority: Authority, *, msk: bool) -> Mapping[str, str]:
    config = {"sasl.enabled.mechanisms": "OAUTHBEARER"}
    for listener in ("token", "tokentls", "msk"):
        config[f"listener.name.{listener}.oauthbearer.sasl.jaas.config"] = TOKEN_LOGIN
    for listener in ("tokentls", "msk"):
        config |= {
            f"listener.name.{listener}.ssl.keystore.type": "PEM",
            f"listener.name.{listener}.ssl.keystore.location": str(authority.keystore("broker", hosts=("127.0.0.1",))),
        }
    if msk:
        config["listener.name.msk.oauthbearer.sasl.server.callback.handler.class"] = "MskTokenValidator"
    config["listener.name.login.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-512"
    for mechanism, login in (("plain", PLAIN_LOGIN), ("scram-sha-512", SCRAM_LOGIN)):
        config[f"listener.name.login.{mechanism}.sasl.jaas.config"] = login
        config[f"listener.name.login.{mechanism}.connections.max.reauth.ms"] = str(int(PASSWORD_SECONDS * 1000))
    return config


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    need_local_kafka()
    directory = tmp_path_factory.mktemp("logins")
    authority = Authority(directory / "authority")
    classes = compiled(Path(__file__).with_name("MskTokenValidator.java"), directory / "classes")
    with LocalKafka(
        directory / "kafka",
        config=broker_config(authority, msk=classes is not None),
        listeners=LISTENERS,
        scram_users={"writer": "correct-horse"},
        classes=classes,
    ) as node:
        yield Secured(node, authority)


def compiled(source: Path, directory: Path) -> Path | None:
    """The folder with its classes; None where there is no compiler."""
    if shutil.which("javac") is None:
        return None
    subprocess.run(["javac", "-cp", f"{fetch_jars()}/*", "-d", str(directory), str(source)], check=True, timeout=120)
    return directory


def in_aws(monkeypatch: pytest.MonkeyPatch, region: str = "eu-west-1") -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_REGION", region)


class Tokens(AbstractTokenProvider):
    """Unsigned tokens that live for a few seconds. ``made``: how many."""

    def __init__(self, seconds: float = TOKEN_SECONDS, user: str = "writer") -> None:
        self.seconds = seconds
        self.user = user
        self.made = 0

    async def token(self) -> str:
        self.made += 1
        now = time.time()
        parts = [{"alg": "none"}, {"sub": self.user, "iat": now, "exp": now + self.seconds}]
        encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
        return ".".join(encoded) + "."


class SlowSource(LocalSource):
    """Gives a file's bytes row by row, spread over some seconds."""

    async def read(self, obj: SourceObject, offset: int) -> AsyncIterator[bytes]:
        async for block in super().read(obj, offset):
            for line in block.splitlines(keepends=True):
                yield line
                await asyncio.sleep(RUN_SECONDS / ROWS)


@define
class Watched:
    """What a run told: its sessions, and what broke them."""

    sessions: int = 0
    broken: list[str] = Factory(list)

    def __call__(self, event: Event) -> None:
        self.sessions += isinstance(event, SessionOpened)
        if isinstance(event, Waiting):
            self.broken.append(event.reason)


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Logins held on open connections, by address; none may fail."""
    counted: Counter[str] = Counter()
    log_in_again = Connection._log_in_again

    async def counting(self: Connection) -> None:
        await log_in_again(self)
        counted[self.address] += self.connected()  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Connection, "_log_in_again", counting)
    return counted


async def runs_in_one_session(directory: Path, topic: str, settings: dict[str, Any], delivery: str) -> None:
    source = directory / f"{topic}.csv"
    source.write_text("id\n" + "".join(f"{number}\n" for number in range(ROWS)))
    watched = Watched()
    sink = KafkaSink(topic, delivery=delivery, create_topic=True, **settings)  # type: ignore[arg-type]
    pipeline = Pipeline(SlowSource(source), sink, MemoryStore(), job=topic, on_event=watched, checkpoint_interval=0.2)
    report = await pipeline.run()
    assert report.checkpoint.counts.rows == ROWS
    assert (watched.sessions, watched.broken) == (1, [])


@pytest.mark.slow
async def test_a_session_outlives_its_logins(
    secured: Secured, tmp_path: Path, logins: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, since each takes half a minute."""
    in_aws(monkeypatch)
    monkeypatch.setattr(MSKAuthTokenProvider, "DEFAULT_TOKEN_EXPIRY_SECONDS", int(TOKEN_SECONDS))
    runs = {
        "token": secured.settings("TOKEN", "OAUTHBEARER", sasl_oauth_token_provider=Tokens()),
        "tokentls": secured.settings("TOKENTLS", "OAUTHBEARER", sasl_oauth_token_provider=Tokens()),
        "plain": secured.settings("LOGIN", "PLAIN", **LOGIN),
        "scram": secured.settings("LOGIN", "SCRAM-SHA-512", **LOGIN),
    }
    if shutil.which("javac"):
        runs["msk"] = secured.settings("MSK", "AWS_MSK_IAM")
    waiting = [runs_in_one_session(tmp_path, name, settings, "exactly-once") for name, settings in runs.items()]
    scram = secured.settings("LOGIN", "SCRAM-SHA-512", **LOGIN)
    waiting.append(runs_in_one_session(tmp_path, "kept", scram, "at-least-once"))
    await asyncio.gather(*waiting)

    servers = secured.node.bootstrap_servers
    for topic in (*runs, "kept"):
        rows = await asyncio.to_thread(read_partition, servers, topic)
        assert [row.value for row in rows] == [b'{"id":"%d"}' % number for number in range(ROWS)]
    least = {"TOKEN": TOKEN_SECONDS, "TOKENTLS": TOKEN_SECONDS, "MSK": TOKEN_SECONDS, "LOGIN": PASSWORD_SECONDS}
    for listener, seconds in least.items():
        if listener != "MSK" or "msk" in runs:
            assert logins[secured.node.address(listener)] >= RUN_SECONDS / seconds - 1, logins


async def test_a_token_the_broker_refuses_ends_the_run(secured: Secured) -> None:
    settings = secured.settings("TOKEN", "OAUTHBEARER", sasl_oauth_token_provider=Tokens(seconds=-1))
    with pytest.raises(NotAuthorized, match=r"SASL: the broker refused to let us in: .*invalid_token") as caught:
        async with broker_factory(settings)():
            pass
    assert "has not expired" in caught.value.hint
    assert caught.value.exit_code == 2


async def test_a_token_refused_later_is_a_doubt_that_the_next_login_settles(secured: Secured) -> None:
    tokens = Tokens(seconds=2)
    settings = secured.settings("TOKEN", "OAUTHBEARER", sasl_oauth_token_provider=tokens)
    opening = broker_factory(settings)
    async with opening() as broker:
        assert await broker.topic("none") is None
        tokens.seconds = -1
        await asyncio.sleep(2)
        with pytest.raises(Doubt, match=r"logging in again failed: .*invalid_token"):
            await broker.topic("none")
    with pytest.raises(NotAuthorized):
        async with opening():
            pass


async def test_another_user_may_not_take_over_a_connection(secured: Secured) -> None:
    tokens = Tokens(seconds=2)
    settings = secured.settings("TOKEN", "OAUTHBEARER", sasl_oauth_token_provider=tokens)
    async with broker_factory(settings)() as broker:
        tokens.user = "another"
        await asyncio.sleep(2)
        with pytest.raises(Doubt, match=r"logging in again failed: .*[Cc]annot change principals"):
            await broker.topic("none")


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs a Java compiler")
@pytest.mark.parametrize(("region", "code"), [("eu-west-1", 0), ("eu-west-2", 2)])
def test_the_command_logs_in_as_aws_role(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: str, code: int
) -> None:
    """By its environment alone; a token for another region is refused."""
    in_aws(monkeypatch, region)
    source = tmp_path / "rows.csv"
    source.write_text("id\n1\n2\n")
    settings = secured.settings("MSK", "AWS_MSK_IAM")
    servers = settings.pop("bootstrap_servers")
    options = [part for name, value in settings.items() for part in ("--kafka", f"{name}={value}")]
    run = Installed(["run", str(source), "-b", servers, "-t", "command", "--create-topic", *options], tmp_path).start()
    assert run.end() == code, run.output
    if code:
        told = " ".join(run.output.split())
        assert "the broker refused to let us in" in told
        assert "kafka-cluster:Connect" in told
        assert "Traceback" not in told
    else:
        rows = read_partition(secured.node.bootstrap_servers, "command")
        assert [row.value for row in rows] == [b'{"id":"1"}', b'{"id":"2"}']
