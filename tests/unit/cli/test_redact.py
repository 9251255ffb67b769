"""What is known to be secret is in nothing that the command writes, whatever form it has there."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from csv2kafka.cli import log, redact
from csv2kafka.cli.failure import error_facts, tell
from csv2kafka.cli.progress.bar import BarDisplay
from csv2kafka.cli.progress.lines import JsonDisplay, PlainDisplay
from csv2kafka.cli.progress.words import run_words
from csv2kafka.cli.report_file import ReportFile
from csv2kafka.config import RunConfig
from csv2kafka.errors import ConfigError, NotReachable
from csv2kafka.model import Waiting
from csv2kafka.model.report import Report

SECRET = 'pä"ss\\wo\nrd%'
WORDS = run_words(RunConfig(sources=("a.csv",), output="b"))
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQ\n-----END PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", [])
    redact.hide(SECRET)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    names = ("aiokafka", *log._NEVER_DEBUGGED)
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers, root.level = before[0], before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def parts(text: str) -> list[str]:
    """What is left of the secret in it."""
    return [part for part in ("ss\\wo", "ss\\\\wo", "rd%", "pä", "p\\xc3", "p%C3") if part in text]


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        repr(SECRET),
        repr({"password": SECRET}),
        repr(SECRET.encode()),
        repr(b"\x00user\x00" + SECRET.encode()),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        "https://user:p%C3%A4%22ss%5Cwo%0Ard%25@host/",
    ],
)
def test_no_form_of_it_is_left(text: str) -> None:
    assert parts(text)
    assert not parts(redact.redacted(text))
    assert "***" in redact.redacted(text)


def test_lines_of_a_key_are_secret_and_its_frame_is_not() -> None:
    redact.hide(KEY)
    told = redact.redacted(f"key: {KEY.splitlines()[1]} {KEY.splitlines()[0]}")
    assert told == "key: *** -----BEGIN PRIVATE KEY-----"
    assert redact.redacted(KEY) == "***"


def test_of_a_json_object_each_text_is_secret() -> None:
    """A whole secret where one of its keys was meant, cut into words by the option it was given to."""
    redact.hide('{"username": "loader", "password": "hunter2", "port": 9096}')
    assert redact.redacted("no such file: 'password: hunter2'") == "no such file: 'password: ***'"
    assert redact.redacted('{"username": "loader", "password": "hunter2", "port": 9096}') == "***"


def test_a_secret_within_another_does_not_leave_the_rest() -> None:
    redact.hide("horse")
    redact.hide("correct-horse-battery")
    assert redact.redacted("a correct-horse-battery b") == "a *** b"


def test_what_is_very_short_is_left() -> None:
    redact.hide("a")
    assert redact.redacted("a banana") == "a banana"


def test_numbers_stay_numbers() -> None:
    redact.hide("12345")
    assert redact.redacted_facts({"rows": 12345, "text": ["12345"], "none": None}) == {
        "rows": 12345,
        "text": ["***"],
        "none": None,
    }


def test_secrets_that_are_given_as_they_are_count_too() -> None:
    redact.hide_given(
        RunConfig(
            sources=("a.csv",),
            output="b",
            kafka={"sasl_plain_password": "hunter2", "ssl_keyfile": KEY, "client_id": "shown"},
            s3={"sse_customer_key": "rosebud"},
        )
    )
    assert redact.redacted(f"hunter2 rosebud shown {KEY}") == "*** *** shown ***"


@pytest.mark.parametrize("debug", [False, True])
def test_errors_tell_none(debug: bool, capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError(f"found {SECRET!r}", SECRET, hint=f"not {SECRET}")
    try:
        raise error from ValueError(SECRET)
    except ConfigError:
        tell(error, debug=debug)
    told = capsys.readouterr().err
    assert told.count("***") >= 3
    assert not parts(told)
    assert not parts(json.dumps(error_facts(error), ensure_ascii=False))


@pytest.mark.parametrize("json_lines", [False, True])
@pytest.mark.usefixtures("logging_restored")
def test_logs_tell_none(json_lines: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json_lines=json_lines, debug=True)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("aiokafka").exception("sent %r", SECRET.encode(), extra={"more": {SECRET}})
    told = capsys.readouterr().err
    assert "sent b'***'" in told
    assert not parts(told)


@pytest.mark.usefixtures("logging_restored")
def test_logins_and_what_the_aws_client_says_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json_lines=False, debug=True)
    conn = logging.getLogger("aiokafka.conn")
    conn.debug("Request to %s: %s", "host", "SaslAuthenticateRequest_v0(sasl_auth_bytes=b'token')")
    conn.debug("Request to %s: %s", "host", "MetadataRequest_v1()")
    for name in ("botocore.auth", "botocore.parsers", "aiobotocore.endpoint", "urllib3.connectionpool", "aiohttp"):
        logging.getLogger(name).debug("response body: %s", "token")
    told = capsys.readouterr().err
    assert "token" not in told
    assert "MetadataRequest" in told


def test_progress_tells_none(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (PlainDisplay, JsonDisplay):
        shown = kind(clock=lambda: 0.0, words=WORDS)
        shown.on_event(Waiting(reason=f"no answer to {SECRET!r}", seconds=1.0, attempt=1))
    told = capsys.readouterr().err
    assert told.count("***") == 2
    assert not parts(told)


def test_reports_tell_none(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    ReportFile(str(file)).write(None, NotReachable(f"no {SECRET}", hint=SECRET))
    told = file.read_text()
    assert json.loads(told)["error"]["message"] == "no ***"
    assert not parts(told)


def test_nor_does_what_else_is_in_a_report(tmp_path: Path) -> None:
    class Stub:
        def as_dict(self) -> dict[str, object]:
            return {"report_version": 1, "bad_rows": [{"reason": f"found {SECRET}"}]}

    file = tmp_path / "report.json"
    ReportFile(str(file)).write(cast(Report, Stub()), None)
    assert json.loads(file.read_text())["bad_rows"] == [{"reason": "found ***"}]


def test_the_bar_tells_none() -> None:
    shown = BarDisplay(clock=lambda: 0.0, words=WORDS)
    shown._tally.job = "job"
    shown.on_event(Waiting(reason=f"no answer to {SECRET}", seconds=1.0, attempt=1))
    written = io.StringIO()
    Console(file=written, width=200).print(shown.render())
    assert "***" in written.getvalue()
    assert not parts(written.getvalue())


@pytest.mark.parametrize(
    "text",
    [
        "found 'me:hunter2@host:9092'",
        "ftp://me:hunter2@host/a.csv",
        "htp://host/a.csv?X-Amz-Signature=hunter2&part=1",
        "s4://b/k?AccessToken=hunter2",
        "http://:hunter2@[::1]/",
    ],
)
def test_what_stands_where_an_address_has_secrets_is_one(text: str) -> None:
    assert "hunter2" not in redact.redacted(text)
    assert "host" in redact.redacted(text) or "host" not in text


@pytest.mark.parametrize(
    "text", ["/a/b:c@d.csv", "row 3: a@b.org", "12:30 me@host", "https://host/a?part=1&x=2", "a:b"]
)
def test_what_is_none_stays(text: str) -> None:
    assert redact.redacted(text) == text
