"""What the library and the client log, as the command shows it on standard error."""

from __future__ import annotations

import json
import logging

import pytest

from csv2kafka.cli import log


@pytest.mark.usefixtures("command")  # which puts logging back as it was
def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json_lines=False, debug=False)
    log.warning("retention is short: 5%")
    logging.getLogger("somebody").warning("over %s", "there")
    logging.getLogger("aiokafka.conn").error("node 1 is away")
    logging.getLogger("csv2kafka.kafka").info("not now")
    logging.getLogger("csv2kafka.kafka.writer").warning("asking again")
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith("Z warning: retention is short: 5%")
    assert second.endswith("Z warning: over there logger=somebody")
    assert third.endswith("Z warning: asking again")


@pytest.mark.usefixtures("command")
def test_objects_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json_lines=True, debug=False)
    log.warning("retention is short")
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("somebody").exception("failed")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["message"]) == ("log", "warning", "retention is short")
    assert (second["message"], second["logger"]) == ("failed", "somebody")
    assert "exception" not in second


@pytest.mark.usefixtures("command")
def test_debug_shows_the_client_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json_lines=False, debug=True)
    logging.getLogger("aiokafka.conn").debug("connecting")
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("csv2kafka.kafka").exception("failed")
    told = capsys.readouterr().err
    assert "connecting" in told
    assert "Traceback" in told
