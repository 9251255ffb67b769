"""References to secrets in any option: found, looked up once, converted, and never shown with what they gave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.aws import secrets
from csv2kafka.config import RunConfig, load
from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, NotReachable, Unreachable
from csv2kafka.kafka.settings import client_settings

SECRET = "hunter2-correct-horse"
TO_KAFKA = {"sources": ("a.csv",), "bootstrap_servers": "host:9092", "topic": "orders"}
VALUES = {
    "secretsmanager://kafka#password": SECRET,
    "ssm:///prod/partition": "3",
    "ssm:///prod/format": "raw",
    "ssm:///prod/servers": "b1:9092,b2:9092",
    "ssm:///prod/restart": "no",
    "ssm:///prod/sources": "a.csv b.csv",
}
WRONG = {"secretsmanager://kafka#wrong": f"{SECRET} of no kind"}


class Lookup:
    """What is looked up, and how often."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, references: Collection[str]) -> Mapping[str, str | ConfigError]:
        self.asked += references
        known = VALUES | WRONG
        none = ConfigError("there is none", hint="make it")
        return {reference: known.get(reference, none) for reference in references}


def refused(call: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call()
    return list(caught.value.problems)


def test_any_option_of_any_layer_can_be_a_reference(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('format = "ssm:///prod/format"\n[kafka]\nssl_password = "secretsmanager://kafka#password"\n')
    environ = {
        "CSV2KAFKA_KAFKA": "client_id=ssm:///prod/format",
        "CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": "secretsmanager://kafka#password",
        "CSV2KAFKA_BOOTSTRAP_SERVERS": "ssm:///prod/servers",
        "CSV2KAFKA_RESTART": "ssm:///prod/restart",
        "CSV2KAFKA_SOURCES": "ssm:///prod/sources",
    }
    lookup = Lookup()
    flags = {"topic": "orders", "partition": "ssm:///prod/partition", "s3": ("kms=ssm:///prod/format",)}
    config = load(RunConfig, flags=flags, environ=environ, file=file, resolve=lookup)
    assert (config.partition, config.format, config.bootstrap_servers) == (3, "raw", "b1:9092,b2:9092")
    assert (config.restart, config.sources) == (False, ("a.csv", "b.csv"))
    assert config.kafka == {"ssl_password": SECRET, "sasl_plain_password": SECRET, "client_id": "raw"}
    assert config.s3 == {"kms": "raw"}
    assert sorted(lookup.asked) == sorted(VALUES)  # each once
    assert SECRET not in repr(config)


def test_what_stronger_layers_set_aside_is_not_looked_up() -> None:
    lookup = Lookup()
    load(RunConfig, flags=TO_KAFKA | {"format": "raw"}, environ={"CSV2KAFKA_FORMAT": "ssm://x"}, resolve=lookup)
    assert not lookup.asked


def test_all_problems_come_at_once_each_by_its_name() -> None:
    flags = TO_KAFKA | {
        "bootstrap_servers": None,
        "kafka": ("sasl_plain_password=secretsmanager://gone",),
        "partition": "secretsmanager://kafka#password",
        "max_record": "x",
    }
    environ = {"CSV2KAFKA_BOOTSTRAP_SERVERS": "ssm://gone"}
    told = refused(lambda: load(RunConfig, flags=flags, environ=environ, resolve=Lookup()))
    assert sorted(told) == [
        "--bootstrap-servers (environment CSV2KAFKA_BOOTSTRAP_SERVERS, file key bootstrap-servers) in the environment: "
        "there is none; make it",
        "--kafka sasl_plain_password=… (environment CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD, file key [kafka] "
        "sasl_plain_password): there is none; make it",
        "--max-record (environment CSV2KAFKA_MAX_RECORD, file key max-record): expected a size such as 500k or 16MiB, "
        "from 1 to 512MiB, found 'x'",
        "--partition (environment CSV2KAFKA_PARTITION, file key partition): expected a whole number from 0 to "
        "2,147,483,647, found what secretsmanager://kafka#password gives",
    ]


@pytest.mark.parametrize("name", ["format", "delimiter", "restart", "checkpoint_interval", "job", "max_record"])
def test_a_wrong_value_is_shown_as_its_reference(name: str) -> None:
    flags = TO_KAFKA | {name: "secretsmanager://kafka#wrong"}
    told = refused(lambda: load(RunConfig, flags=flags, resolve=Lookup()))
    assert told[0].endswith("found what secretsmanager://kafka#wrong gives")
    assert SECRET not in told[0]


def test_the_kafka_clients_errors_show_the_reference_too() -> None:
    kafka = ("security_protocol=secretsmanager://kafka#password",)
    config = load(RunConfig, flags=TO_KAFKA | {"kafka": kafka}, resolve=Lookup())
    told = refused(lambda: client_settings({"bootstrap_servers": "h:1", **config.kafka}))
    assert "found what secretsmanager://kafka#password gives" in told[0]
    assert SECRET not in "".join(told)


@pytest.mark.parametrize("given", [{"format": "ssm://x"}, {"kafka": {"a": "secretsmanager://x"}}])
def test_a_reference_that_nobody_looks_up_is_refused(given: dict[str, Any]) -> None:
    for call in (lambda: load(RunConfig, flags=TO_KAFKA | given), lambda: RunConfig(**(TO_KAFKA | given))):
        assert "resolve=csv2kafka.aws.secrets.resolve" in refused(call)[0]


def test_the_rest_of_a_password_with_a_space_is_not_shown() -> None:
    told = refused(
        lambda: load(RunConfig, flags=TO_KAFKA, environ={"CSV2KAFKA_KAFKA": "sasl_plain_password=a hunter2"})
    )
    assert "expected KEY=VALUE" in told[0]
    assert "hunter2" not in told[0]


# What the services answer is in tests/aws/test_secrets.py; here, what they cannot be made to answer.


class Service:
    """Answers of a service in a row, the last one for ever."""

    def __init__(self, *answers: dict[str, Any] | Csv2KafkaError) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def call(self, operation: str, **_: Any) -> dict[str, Any]:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Csv2KafkaError):
            raise answer
        return answer

    async def close(self) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Service]:
    def make(*answers: dict[str, Any] | Csv2KafkaError) -> Service:
        made = Service(*answers)
        monkeypatch.setattr(secrets, "AwsClient", lambda *_, **__: made)
        monkeypatch.setattr(secrets, "FIRST_PAUSE", 0.001)
        return made

    return make


async def test_a_secret_is_asked_for_once_whatever_is_picked(service: Callable[..., Service]) -> None:
    made = service({"SecretString": json.dumps({"user": "u", "port": 90960000000000000001, "half": 0.50, "on": True})})
    hidden: list[str] = []
    wanted = [f"secretsmanager://s#{key}" for key in ("user", "port", "half", "on")]
    found = await secrets.fetch(wanted, hide=hidden.append)
    assert list(found.values()) == ["u", "90960000000000000001", "0.5", "true"] == hidden
    assert made.calls == 1


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        (SECRET, "a", "expected a JSON object with the key 'a', found a text that is none"),
        (f'["{SECRET}"]', "a", "expected a JSON object"),
        (f'{{"b": "{SECRET}", "c": 1}}', "a", "expected the key 'a', found b, c"),
        ("{}", "a", "expected the key 'a', found none"),
        (f'{{"a": ["{SECRET}"]}}', "a", "expected a text, a number or true or false"),
        (f'{{"a": null, "b": "{SECRET}"}}', "a", "expected a text, a number or true or false"),
    ],
)
async def test_a_key_that_is_not_there_is_told_without_the_secret(
    text: str, key: str, told: str, service: Callable[..., Service]
) -> None:
    service({"SecretString": text})
    with pytest.raises(ConfigError) as caught:
        await secrets.secret(f"secretsmanager://s#{key}")
    assert told in str(caught.value)
    assert f"secretsmanager://s#{key}" in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_binary_secrets_are_utf8_or_refused(service: Callable[..., Service]) -> None:
    service({"SecretBinary": "pässword".encode()})
    assert await secrets.secret("secretsmanager://s") == "pässword"
    service({"SecretBinary": b"\xff" + SECRET.encode()})
    with pytest.raises(ConfigError, match="binary secret that is not UTF-8") as caught:
        await secrets.secret("secretsmanager://s")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("reference", ["ssm://", "secretsmanager://#key", "secretsmanager://s#", "vault://x", "x"])
async def test_what_is_no_reference_says_how_one_looks(reference: str) -> None:
    with pytest.raises(ConfigError, match=r"expected secretsmanager://NAME, …#KEY or ssm://NAME"):
        await secrets.secret(reference)


@pytest.mark.parametrize(("kind", "hidden"), [("String", []), ("StringList", []), ("SecureString", ["v"])])
async def test_of_parameters_only_the_secure_are_secret(
    kind: str, hidden: list[str], service: Callable[..., Service]
) -> None:
    service({"Parameter": {"Value": "v", "Type": kind}})
    told: list[str] = []
    assert await secrets.fetch(["ssm://p"], hide=told.append) == {"ssm://p": "v"}
    assert told == ([] if kind == "StringList" else hidden)


async def test_a_service_that_comes_back_is_waited_for(
    service: Callable[..., Service], caplog: pytest.LogCaptureFixture
) -> None:
    made = service(NotReachable("no"), Doubt("throttled"), {"SecretString": "v"})
    assert await secrets.secret("secretsmanager://s") == "v"
    assert made.calls == 3
    assert caplog.messages == ["no; trying again, for 30 s at most"]


async def test_a_service_that_stays_away_ends_with_69(service: Callable[..., Service]) -> None:
    service(NotReachable("nothing answers", hint="open the network"))
    with pytest.raises(Unreachable, match=r"nothing answers \(tried for 0 s\)") as caught:
        await secrets.fetch(["secretsmanager://s", "ssm://p"], patience=0.05)
    assert (caught.value.exit_code, caught.value.hint) == (69, "open the network")


async def test_a_host_that_says_nothing_is_not_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }.items():
            monkeypatch.setenv(name, value)
        async with asyncio.timeout(30):
            with pytest.raises(Unreachable, match=r"reading ssm://p: no answer"):
                await secrets.fetch(["ssm://p"], patience=0.5)


def test_resolving_works_with_and_without_a_running_loop(service: Callable[..., Service]) -> None:
    service({"SecretString": "v"})

    async def inside() -> dict[str, str | ConfigError]:
        return secrets.resolve(["secretsmanager://s"])

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        assert secrets.resolve(["secretsmanager://s"]) == loop.run_until_complete(inside())


def test_the_region_of_an_arn_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def client(name: str, *, region: str | None, **_: Any) -> Service:
        asked.append((name, region))
        return Service({"SecretString": "v", "Parameter": {"Value": "v", "Type": "String"}})

    monkeypatch.setattr(secrets, "AwsClient", client)
    arns = ("arn:aws:secretsmanager:us-east-2:1:secret:a/b-AbC", "arn:aws:secretsmanager:us-east-2:1:secret:c-AbC")
    found = secrets.resolve([f"secretsmanager://{arns[0]}#x", f"secretsmanager://{arns[1]}", "secretsmanager://d"])
    assert found[f"secretsmanager://{arns[1]}"] == "v"
    assert sorted(asked, key=str) == [("secretsmanager", "us-east-2"), ("secretsmanager", None)]
