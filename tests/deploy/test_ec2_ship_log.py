"""deploy/ec2/instance/ship_log.py cuts a log into requests that CloudWatch takes, and nothing is lost or doubled."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deploy.terraform import DEPLOY

FILE = DEPLOY / "ec2" / "instance" / "ship_log.py"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship_log", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ship_log = loaded()


def batches(data: bytes) -> list[list[str]]:
    """All requests for a log that grows no more."""
    found = []
    while data:
        messages, used = ship_log.batch(data[: ship_log.READ_BYTES], rest=True)
        assert used > 0
        found.append(messages)
        data = data[used:]
    return found


def holds(requests: list[list[str]]) -> None:
    """CloudWatch's limits, as its API reference has them."""
    for messages in requests:
        assert len(messages) <= 10_000
        assert sum(len(message.encode()) + 26 for message in messages) <= 1_048_576
        assert all(len(message.encode()) + 26 <= 262_144 for message in messages)
        assert all(messages), "an event must not be empty"


def test_amazon_linux_has_python_3_9() -> None:
    ast.parse(FILE.read_text(), feature_version=(3, 9))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)))
def test_each_line_is_an_event(lines: list[str]) -> None:
    requests = batches("".join(f"{line}\n" for line in lines).encode())
    assert [message for messages in requests for message in messages] == [line for line in lines if line.strip()]


@pytest.mark.parametrize(
    "data",
    [
        b"\n" * 30_000 + b"x\n",
        b"x\n" * 30_000,
        b"x" * 99 + b"\n" + b"y" * 3_000_000 + b"\n",
        ("ä☕" * 100_000 + "\n").encode() * 3,
        b"\xff" * 600_000,
        b'{"a": "' + b"b" * 200_000 + b'"}\n',
    ],
    ids=["blank", "many", "long", "wide", "no UTF-8", "one"],
)
def test_the_limits_hold(data: bytes) -> None:
    requests = batches(data)
    holds(requests)
    text = "".join(message for messages in requests for message in messages)
    expected = data.decode(errors="replace").replace("\n", "")
    if "\ufffd" in text:  # a part may end within a letter
        assert len(text) >= len(expected)
    else:
        assert text == expected


def test_lines_stay_whole_where_a_read_ends() -> None:
    lines = [json.dumps({"row": number, "text": "ä" * (number % 70)}) for number in range(20_000)]
    requests = batches("".join(f"{line}\n" for line in lines).encode())
    holds(requests)
    assert [message for messages in requests for message in messages] == lines


def test_json_stays_whole_up_to_the_limit() -> None:
    line = json.dumps({"message": "x" * 262_000})
    assert batches(f"{line}\n".encode()) == [[line]]


def test_a_carriage_return_ends_no_line() -> None:
    assert ship_log.batch(b"10%\r20%\rdone\r\nnext\n", rest=False) == (["10%\r20%\rdone", "next"], 19)


def test_a_line_that_still_grows_waits() -> None:
    assert ship_log.batch(b"one\ntw", rest=False) == (["one"], 4)
    assert ship_log.batch(b"one\ntw", rest=True) == (["one", "tw"], 6)
    assert ship_log.batch(b"tw", rest=False) == ([], 0)
    assert ship_log.batch(b"x" * ship_log.READ_BYTES, rest=False)[1] == ship_log.READ_BYTES


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Requests that were taken. Each second one is answered with an error."""
    taken: list[list[str]] = []
    asked: list[str] = []

    def aws(*arguments: str) -> bool:
        asked.append(arguments[0])
        if len(asked) % 2:
            return False
        if arguments[0] == "put-log-events":
            request = json.loads(Path(arguments[-1].removeprefix("file://")).read_text())
            taken.append([event["message"] for event in request["logEvents"]])
        return True

    monkeypatch.setattr(ship_log, "aws", aws)
    return taken


def test_what_was_not_taken_is_sent_again(
    logs: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_signals: None
) -> None:
    log = tmp_path / "job.log"
    log.write_text("one\ntwo\n")
    assert ship_log.main(log, "group", "stream", 20) == 0
    with log.open("a") as more:
        more.write("three\nfour")
    assert ship_log.main(log, "group", "stream", 20) == 0
    assert logs == [["one", "two"], ["three", "four"]]


@pytest.fixture
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process keeps its own, and no second is waited."""
    monkeypatch.setattr(ship_log.signal, "signal", lambda *_: None)
    monkeypatch.setattr(ship_log.threading.Event, "wait", lambda *_: None)
