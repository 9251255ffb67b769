"""What counts where neither flags nor environment nor file say anything: a receipt's."""

from __future__ import annotations

from pathlib import Path

import pytest

from csv2kafka.config import CheckConfig, ReadConfig, RunConfig, load
from csv2kafka.config.layer import Layer
from csv2kafka.errors import ConfigError


def test_it_is_below_all_others(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text('delimiter = ";"\nquote = "\'"\n')
    config = load(
        ReadConfig,
        flags={"format": "raw"},
        environ={"CSV2KAFKA_QUOTE": "none"},
        file=file,
        assumed=Layer({"sources": ("a.csv",), "format": "json", "delimiter": "|", "quote": "|", "escape": "\\"}),
    )
    assert (config.sources, config.format, config.delimiter) == (("a.csv",), "raw", ";")
    assert (config.quote, config.escape) == (None, "\\")


def test_errors_say_where_it_stands() -> None:
    with pytest.raises(ConfigError, match=r"--format .*found 'xml' in r\.json"):
        load(ReadConfig, assumed=Layer({"sources": ("a.csv",), "format": "xml"}, "in r.json"))


def test_its_destination_is_not_set_aside() -> None:
    config = load(
        CheckConfig,
        environ={"CSV2KAFKA_BOOTSTRAP_SERVERS": "host:9092"},
        assumed=Layer({"sources": ("a.csv",), "output": "/x"}),
    )
    assert (config.output, config.bootstrap_servers, config.topic) == ("/x", "host:9092", None)


def test_nothing_beside_it_is_needed_nor_held_against_it() -> None:
    config = CheckConfig(sources=("a.csv",), topic="orders", dead_letter_topic="orders", on_bad_row="dead-letter")
    assert config.bootstrap_servers is None
    with pytest.raises(ConfigError, match="is needed"):
        RunConfig(sources=("a.csv",), topic="orders")


def test_a_dialect_is_still_held_against_itself() -> None:
    with pytest.raises(ConfigError, match="expected another character"):
        CheckConfig(sources=("a.csv",), delimiter=";", quote=";")
