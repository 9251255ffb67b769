"""A secret given in any place, right or wrong, is in nothing that the command writes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.forked import Forked, forked
from tests.hostile.laws import hold

SECRET = "hunter2Tr0ub4dor"
PEM = f"-----BEGIN PRIVATE KEY-----\n{SECRET}AAAAAAAA\n-----END PRIVATE KEY-----\n"
NOWHERE = ["-b", "127.0.0.1:9", "-t", "t", "--connect-timeout", "0.1"]
SASL = ["--kafka", "security_protocol=SASL_SSL", "--kafka", "sasl_plain_username=me"]

ARGUMENTS = {
    "bootstrap with a login": ["run", "a.csv", "-b", f"me:{SECRET}@127.0.0.1:9", "-t", "t"],
    "bootstrap as an address": ["run", "a.csv", "-b", f"kafka://me:{SECRET}@127.0.0.1:9", "-t", "t"],
    "password": ["run", "a.csv", *NOWHERE, *SASL, "--kafka", f"sasl_plain_password={SECRET}"],
    "password of a check": ["check", "a.csv", *NOWHERE, *SASL, "--kafka", f"sasl_plain_password={SECRET}"],
    "a mistyped name": ["run", "a.csv", *NOWHERE, "--kafka", f"sasl_plain_passwort={SECRET}"],
    "key as text": ["run", "a.csv", *NOWHERE, "--kafka", "security_protocol=SSL", "--kafka", f"ssl_keyfile={PEM}"],
    "key of customers": ["run", "s3://b/k", "-o", "x", "--s3", f"sse_customer_key={SECRET}", "--s3", "x=1"],
    "source with a login": ["preview", f"http://me:{SECRET}@127.0.0.1:9/a.csv"],
    "scheme that is none": ["preview", f"htp://me:{SECRET}@127.0.0.1/a.csv"],
    "link that is signed": ["preview", f"http://127.0.0.1:9/a.csv?X-Amz-Signature={SECRET}"],
    "link of no scheme": ["preview", f"htps://127.0.0.1/a.csv?X-Amz-Security-Token={SECRET}"],
    "store with a login": ["status", "--checkpoints", f"postgres://me:{SECRET}@127.0.0.1/db"],
    "a flag that is none": ["run", f"--sasl-password={SECRET}"],
}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    with forked(tmp_path_factory.mktemp("secrets")) as made:
        (made.directory / "a.csv").write_bytes(b"a,b\n1,2\n")
        yield made


def looked_through(command: Forked) -> None:
    """All that runs have left."""
    for file in command.directory.rglob("*"):
        if file.is_file() and file.name not in (".in", "c.toml"):
            content = file.read_bytes()
            for form in (SECRET.encode(), base64.b64encode(SECRET.encode())[:-4]):
                assert form not in content, f"{form!r} in {file.name}: {content[-2000:]!r}"


@pytest.mark.parametrize("place", ARGUMENTS)
def test_on_a_command_line(command: Forked, place: str) -> None:
    arguments = ARGUMENTS[place]
    more = ["--debug"] if "--sasl" not in arguments[-1] else []
    report = ["--report", "report.json", "--metrics", "emf:metrics"] if arguments[0] == "run" and more else []
    ended = command.run(*arguments, *more, *report)
    assert ended.code in (2, 69), ended
    looked_through(command)


def test_in_the_environment_and_in_a_file(command: Forked) -> None:
    (command.directory / "c.toml").write_text(
        f"sources = ['a.csv']\n[kafka]\nsasl_plain_password = {json.dumps(SECRET)}\n"
    )
    given = {"CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD": SECRET, "CSV2KAFKA_KAFKA": f"sasl_plain_username=me x{SECRET}",
             "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SESSION_TOKEN": SECRET}  # fmt: skip
    for environment in ({}, given, {name: text for name, text in given.items() if name != "CSV2KAFKA_KAFKA"}):
        hold(command.run("run", *NOWHERE, "--config", "c.toml", "--progress", "json", environment=environment))
        looked_through(command)


def test_a_run_that_ends_well_leaves_none(command: Forked) -> None:
    """Neither in its checkpoint nor in its report."""
    ended = command.run(
        *(
            "run",
            "a.csv",
            "-o",
            "out",
            "--checkpoints",
            "sqlite:///c.db",
            "--report",
            "well.json",
            "--metrics",
            "emf:m",
        ),
        *("--s3", f"sse_customer_key={SECRET}"),
    )
    assert ended.code == 0, ended
    assert Path(command.directory, "c.db").exists()
    looked_through(command)
