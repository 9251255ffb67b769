"""Secrets by reference, over HTTP: what Secrets Manager and SSM answer, and that no run ever writes one anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from csv2kafka.aws import secrets
from csv2kafka.cli.local_kafka import LocalKafka
from csv2kafka.config import RunConfig, load
from csv2kafka.errors import ConfigError, NotAuthorized
from tests.aws.conftest import Aws
from tests.aws.imds import serving
from tests.conftest import need_local_kafka
from tests.faults.installed import Installed

USER, PASSWORD = "writer", "correct-horse-battery"
ODD = 'hunter2 "quoted"\\back\nnext line of it é'
# What of them may be looked for: parts that no way of writing them changes.
TRACES = (PASSWORD, "hunter2", "next line of it")
PLAIN_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
)


@pytest.fixture(scope="module")
def stored(moto: Aws) -> Aws:
    """The services, with secrets and parameters of every kind."""
    manager, ssm = moto.client("secretsmanager"), moto.client("ssm")
    manager.create_secret(Name="AmazonMSK_writer", SecretString=json.dumps({"username": USER, "password": PASSWORD}))
    manager.create_secret(Name="prod/odd+name_@x.y", SecretString=ODD)
    manager.create_secret(Name="binary", SecretBinary=b"\x00bin\xc3\xa4ry")
    manager.create_secret(Name="no-text", SecretBinary=b"\xff\xfe")
    ssm.put_parameter(Name="/prod/partition", Value="7", Type="String")
    ssm.put_parameter(Name="/prod/password", Value=PASSWORD, Type="SecureString")
    ssm.put_parameter(Name="plain", Value="raw", Type="String")
    ssm.put_parameter(Name="number", Value="hunter2", Type="SecureString")
    return moto


@pytest.mark.usefixtures("stored", "aws")
async def test_each_kind_of_secret_is_read(stored: Aws) -> None:
    arn = stored.client("secretsmanager").describe_secret(SecretId="AmazonMSK_writer")["ARN"]
    wanted = {
        "secretsmanager://AmazonMSK_writer#username": USER,
        "secretsmanager://AmazonMSK_writer#password": PASSWORD,
        "secretsmanager://AmazonMSK_writer": json.dumps({"username": USER, "password": PASSWORD}),
        f"secretsmanager://{arn}#password": PASSWORD,
        "secretsmanager://prod/odd+name_@x.y": ODD,
        "secretsmanager://binary": "\x00binäry",
        "ssm:///prod/partition": "7",
        "ssm:///prod/password": PASSWORD,
        "ssm://plain": "raw",
    }
    assert await secrets.fetch(list(wanted)) == wanted


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("secretsmanager://none", "none of that name in this account and region"),
        ("ssm:///none", "none of that name in this account and region"),
        ("ssm://prod/partition", "begins with one: ssm:///prod/partition"),
        ("secretsmanager://AmazonMSK_writer#Password", "expected the key 'Password', found password, username"),
        ("secretsmanager://no-text", "found a binary secret that is not UTF-8"),
    ],
)
@pytest.mark.usefixtures("stored", "aws")
async def test_what_is_not_there_is_told(reference: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await secrets.secret(reference)
    assert told in str(caught.value)
    assert reference.partition("#")[0] in str(caught.value)


@pytest.mark.usefixtures("stored", "aws")
async def test_a_library_user_loads_references() -> None:
    config = await asyncio.to_thread(
        load,
        RunConfig,
        flags={"sources": ("a.csv",), "bootstrap_servers": "h:1", "topic": "t", "partition": "ssm:///prod/partition"},
        environ={"CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": "secretsmanager://AmazonMSK_writer#password"},
        resolve=secrets.resolve,
    )
    assert (config.partition, config.kafka["sasl_plain_password"]) == (7, PASSWORD)


async def test_without_a_region_it_is_named(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match="no AWS region is known"):
        await secrets.secret("ssm://plain")


@pytest.mark.parametrize(
    ("reference", "code", "message", "action"),
    [
        ("secretsmanager://s", "AccessDeniedException", "not authorized", "secretsmanager:GetSecretValue"),
        ("secretsmanager://s", "AccessDeniedException", "Access to KMS is not allowed", "kms:Decrypt"),
        ("secretsmanager://s", "DecryptionFailure", "", "kms:Decrypt"),
        ("ssm://p", "AccessDeniedException", "not authorized to perform: ssm:GetParameter", "ssm:GetParameter"),
        ("ssm://p", "AccessDeniedException", "not authorized to perform: kms:Decrypt", "kms:Decrypt"),
        ("ssm://p", "InvalidKeyId", "", "kms:Decrypt"),
    ],
)
async def test_what_is_not_allowed_is_named_by_its_action(
    reference: str, code: str, message: str, action: str, aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.dumps({"__type": code, "message": message}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(NotAuthorized) as caught:
            await secrets.secret(reference)
    assert f"allow {action} on " in caught.value.hint
    assert caught.value.exit_code == 2


# The command, in ways that end badly, with everything that it can write: none of it has a secret.

EVERYTHING = ("--debug", "--progress", "json")
REFERENCE = {
    "CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": "secretsmanager://prod/odd+name_@x.y",
    "CSV2KAFKA_KAFKA_SASL_PLAIN_USERNAME": "secretsmanager://AmazonMSK_writer#username",
}
VARIABLE = {"CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": ODD, "CSV2KAFKA_KAFKA_SASL_PLAIN_USERNAME": USER}
SASL = ("--kafka", "security_protocol=SASL_PLAINTEXT", "--kafka", "sasl_mechanism=PLAIN")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in" / "rows.csv"
    file.parent.mkdir()
    file.write_text("id,name\n" + "".join(f"{row},x\n" for row in range(100)))
    return file


def ends(directory: Path, arguments: list[str], variables: Mapping[str, str], code: int) -> str:
    """What the command writes; nothing that it writes anywhere has a trace of a secret."""
    run = Installed(arguments, directory, variables=variables).start()
    found = run.end()
    for file in [path for path in directory.rglob("*") if path.is_file() and "in" not in path.parts]:
        content = file.read_bytes()
        for trace in TRACES:
            assert trace.encode() not in content, f"{trace!r} in {file.name}:\n{content.decode(errors='replace')}"
    assert found == code, run.output[-3000:]
    return run.output


@pytest.mark.parametrize("given", [REFERENCE, VARIABLE], ids=["reference", "variable"])
@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        (["--partition", "secretsmanager://AmazonMSK_writer#password"], 2, "expected a whole number"),
        (["--format", "secretsmanager://prod/odd+name_@x.y"], 2, "expected one of json, raw"),
        (["--kafka", "request_timeout_ms=ssm://number"], 2, "expected a whole number"),
        (["--kafka", "no_such=ssm://number", "--kafka", "ssl_password=ssm://gone"], 2, "none of that name"),
        (["--config", "{bad}"], 2, "not TOML"),
        (["--columns", "id,name", "--key", "secretsmanager://AmazonMSK_writer#password"], 2, "'***' is not one of"),
        (["-t", "ssm://number", "--kafka", "security_protocol=ssm://number"], 2, "found what ssm://number gives"),
        (["secretsmanager://AmazonMSK_writer#password"], 2, "***"),  # as a path that is not there
        (["--connect-timeout", "1s"], 69, "Connection refused"),
        (["--connect-timeout", "1s", "-b", "secretsmanager://AmazonMSK_writer#password"], 69, "***"),
        (["--connect-timeout", "1s", "--job", "ssm:///prod/password", "--checkpoints", "kafka://"], 69, ""),
    ],
)
def test_no_failure_tells_a_secret(
    given: Mapping[str, str], more: list[str], code: int, told: str, stored: Aws, source: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "in" / "bad.toml"
    bad.write_text(f"[kafka]\nsasl_plain_password = '{PASSWORD}'\nssl_password = \"hunter2\nx = {PASSWORD}\n")
    more = [str(bad) if one == "{bad}" else one for one in more]
    arguments = ["run", str(source), "-b", "127.0.0.1:1", "-t", "t", *SASL, *EVERYTHING]
    arguments += ["--report", str(tmp_path / "report.json"), *more]
    output = ends(tmp_path, arguments, {**stored.environment, **given}, code)
    assert told in output


def test_other_commands_tell_none(stored: Aws, source: Path, tmp_path: Path) -> None:
    environment = {**stored.environment, **REFERENCE}
    where = ["-b", "127.0.0.1:1", *SASL, "--debug"]
    ends(tmp_path, ["verify", str(source), "-t", "t", "--connect-timeout", "1s", *where], environment, 69)
    ends(tmp_path, ["status", "--checkpoints", "kafka://", *where], environment, 69)
    check = ["check", str(source), "-t", "t", "--connect-timeout", "1s", *where]
    tls = ["--kafka", "ssl_certfile=ssm://number", "--kafka", "security_protocol=SASL_SSL"]
    for more in ([], ["--json"]):
        ends(tmp_path, [*check, *more], environment, 69)
        assert "no such file: what ssm://number gives" in ends(tmp_path, [*check, *tls, *more], environment, 2)
    ends(tmp_path, ["preview", str(source), "--max-record", "ssm://number", "--debug"], environment, 2)


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker that asks for a password."""
    need_local_kafka()
    config = {"sasl.enabled.mechanisms": "PLAIN", "listener.name.login.plain.sasl.jaas.config": PLAIN_LOGIN}
    directory = tmp_path_factory.mktemp("login")
    with LocalKafka(directory, config=config, listeners={"LOGIN": "SASL_PLAINTEXT"}) as node:
        yield node.address("LOGIN")


@pytest.mark.broker
@pytest.mark.parametrize("progress", ["json", "plain"])
def test_a_login_tells_no_secret_right_or_wrong(
    progress: str, login: str, stored: Aws, source: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    arguments = ["run", str(source), "-b", login, "-t", f"rows-{progress}", "--create-topic", *SASL, "--debug"]
    arguments += ["--report", str(report), "--progress", progress]
    for given in (REFERENCE, VARIABLE):
        output = ends(tmp_path, arguments, {**stored.environment, **given}, 2)
        assert "the broker refused to let us in" in output
        assert json.loads(report.read_text())["exit_code"] == 2
    right = {**stored.environment, **REFERENCE}
    right["CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD"] = "secretsmanager://AmazonMSK_writer#password"
    output = ends(tmp_path, arguments, right, 0)
    assert "Request to" in output  # the client's own debug lines are among what was looked at
    assert json.loads(report.read_text())["rows"] == 100
    assert list(tmp_path.rglob("*.sqlite"))
    ends(tmp_path, ["status", "--json"], right, 0)
