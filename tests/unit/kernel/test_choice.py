"""Which kernel is used, and what is said where it is not the native one."""

from __future__ import annotations

import logging
import sys

import pytest

from csv2kafka.errors import ConfigError
from csv2kafka.kernel._choose import EXTENSION, VARIABLE, choose
from tests import twins


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, EXTENSION, None)


def test_the_native_one_where_it_was_built(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    twins.kernel_of("native")
    assert choose() == "native"
    assert not caplog.records


def test_the_reference_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(VARIABLE, "Python")
    assert choose() == "python"
    assert not caplog.records


@pytest.mark.usefixtures("not_built")
def test_falling_back_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert choose() == "python"
    [record] = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "csv2kafka.kernel")
    assert "many times slower" in record.getMessage()


@pytest.mark.usefixtures("not_built")
def test_one_that_is_asked_for_and_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "native")
    with pytest.raises(ConfigError, match="CSV2KAFKA_KERNEL: the native kernel is not here") as caught:
        choose()
    assert "Rust" in caught.value.hint


def test_there_are_only_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "fortran")
    with pytest.raises(ConfigError, match="expected native or python, found 'fortran'"):
        choose()
