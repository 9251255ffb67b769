"""Schemes, packages that serve them, and the job's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from csv2kafka import registry
from csv2kafka.checkpoints.sqlite import SQLiteStore
from csv2kafka.config import RunConfig
from csv2kafka.errors import ConfigError
from csv2kafka.sinks.file import FileSink
from csv2kafka.sources.local import LocalSource
from csv2kafka.sources.stdin import StdinSource
from csv2kafka.testing import FakeSource, MemorySink, MemoryStore


def config(**given: Any) -> RunConfig:
    destination = {} if "topic" in given else {"output": "out.jsonl"}
    return RunConfig(**({"sources": ("a.csv",)} | destination | given))


@frozen
class Package:
    """An installed package that adds a scheme."""

    name: str = "csv2kafka-nats"
    version: str = "1.2"


ANY_TEXT = st.text(st.characters(), min_size=1)  # surrogates too: names of files need not be UTF-8
Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Pretend that a package serves a scheme with what stands in this module under ``name``."""
    added: list[EntryPoint] = []

    def offered(group: str, scheme: str, name: str, package: str = "csv2kafka-nats") -> None:
        point = EntryPoint(scheme, f"{__name__}:{name}", group)
        vars(point).update(dist=Package(package))
        added.append(point)

    def all_of(group: str) -> EntryPoints:
        return EntryPoints(point for point in added if point.group == group)

    monkeypatch.setattr(registry, "_installed", all_of)
    return offered


def nats_sink(url: str, config: RunConfig) -> MemorySink:
    assert url == "nats://host/subject"
    assert config.format == "json"
    return MemorySink()


def nats_source(urls: tuple[str, ...], config: RunConfig) -> FakeSource:
    assert urls == ("nats://a", "nats://b")
    return FakeSource({"a": b""})


def nats_store(url: str, config: RunConfig) -> MemoryStore:
    return MemoryStore()


def broken(url: str, config: RunConfig) -> MemorySink:
    raise RuntimeError("out of order")


def not_a_sink(url: str, config: RunConfig) -> object:
    return object()


def test_a_package_adds_schemes(offer: Offer) -> None:
    offer(registry.SINKS, "nats", "nats_sink")
    offer(registry.SOURCES, "nats", "nats_source")
    offer(registry.CHECKPOINTS, "nats", "nats_store")
    asked = config(sources=("nats://a", "nats://b"), output="nats://host/subject", checkpoints="nats://x")
    assert isinstance(registry.build_sink(asked), MemorySink)
    assert isinstance(registry.build_source(asked), FakeSource)
    assert isinstance(registry.build_store(asked), MemoryStore)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", "AttributeError"),
        ("broken", "RuntimeError: out of order"),
        ("not_a_sink", "gave a object: not a Sink"),
    ],
)
def test_a_broken_package_is_named(offer: Offer, name: str, said: str) -> None:
    offer(registry.SINKS, "nats", name)
    with pytest.raises(ConfigError) as caught:
        registry.build_sink(config(output="nats://host/subject"))
    assert "package csv2kafka-nats 1.2" in caught.value.message
    assert said in caught.value.message
    assert "remove it" in caught.value.hint


def test_two_packages_for_one_scheme_are_refused(offer: Offer) -> None:
    offer(registry.SINKS, "nats", "nats_sink")
    offer(registry.SINKS, "nats", "broken", "other-nats")
    with pytest.raises(ConfigError, match=r"served by package csv2kafka-nats 1\.2 .* and package other-nats"):
        registry.build_sink(config(output="nats://host/subject"))


def test_a_scheme_that_nobody_serves() -> None:
    with pytest.raises(ConfigError, match="no scheme 'sqlit' here; did you mean sqlite") as caught:
        registry.build_store(config(checkpoints="sqlit:///a"))
    assert "sqlite" in caught.value.hint


def test_files_need_no_scheme(tmp_path: Path) -> None:
    asked = config(sources=("a.csv", f"file://{tmp_path}/b.csv"), output=str(tmp_path / "out.jsonl"))
    source = registry.build_source(asked)
    assert isinstance(source, LocalSource)
    assert source.uri.endswith(f"a.csv {tmp_path}/b.csv")
    assert isinstance(registry.build_sink(asked), FileSink)


def test_standard_input_stands_alone() -> None:
    assert isinstance(registry.build_source(config(sources=("-",))), StdinSource)
    for sources in [("-", "-"), ("-", "a.csv")]:
        with pytest.raises(ConfigError, match=r"expected (- alone|sources of one kind)"):
            registry.build_source(config(sources=sources))


def test_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert isinstance(registry.build_store(config()), SQLiteStore)
    assert isinstance(registry.build_store(config(checkpoints=f"sqlite:///{tmp_path}/jobs.db")), SQLiteStore)
    assert isinstance(registry.default_store(), SQLiteStore)


def test_the_topic_is_no_output() -> None:
    with pytest.raises(ConfigError, match="a topic is given by --topic"):
        registry.build_sink(config(output="kafka://orders"))


def test_all_parts_tell_their_problems_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(sources=("nats://a",), output="nats://b", encoding="idna")
    with pytest.raises(ConfigError) as caught:
        registry.build(asked)
    assert len(caught.value.problems) == 3


def test_build_gives_all_parts(tmp_path: Path) -> None:
    parts = registry.build(
        config(
            sources=("a.csv",),
            bootstrap_servers="host:9092",
            topic="orders",
            key="id,name",
            delimiter="tab",
            checkpoints=f"sqlite:///{tmp_path}/jobs.db",
        )
    )
    assert parts.dialect.delimiter == "\t"
    assert parts.sink.destination == "kafka topic orders partition 0"
    assert parts.encoder.settings["format"] == "json"


def test_a_wrong_client_option_is_told_when_parts_are_built() -> None:
    with pytest.raises(ConfigError, match="security_protocol"):
        registry.build(config(bootstrap_servers="h:1", topic="t", kafka={"security_protocl": "SSL"}))


def test_job_names_are_readable_and_stable() -> None:
    name = registry.job_name("/data/orders.csv", "kafka topic orders partition 0", run_id="x")
    assert re.fullmatch(r"orders\.csv-to-orders-0-[0-9a-f]{10}", name)
    assert name == registry.job_name("/data/orders.csv", "kafka topic orders partition 0", run_id="y")
    assert name != registry.job_name("/other/orders.csv", "kafka topic orders partition 0", run_id="x")
    assert name != registry.job_name("/data/orders.csv", "kafka topic orders partition 1", run_id="x")
    assert registry.job_name("/d/a.csv", "file /tmp/out.jsonl", run_id="x").startswith("a.csv-to-out.jsonl-")


def test_standard_input_gets_a_name_of_its_own_in_each_run() -> None:
    names = {registry.job_name("-", "kafka topic orders partition 0", run_id=run_id) for run_id in ("a" * 32, "b" * 32)}
    assert names == {"stdin-to-orders-0-aaaaaaaaaa", "stdin-to-orders-0-bbbbbbbbbb"}


@given(ANY_TEXT, ANY_TEXT)
def test_job_names_are_safe(uri: str, destination: str) -> None:
    name = registry.job_name(uri, destination, run_id="0123456789abcdef")
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name)


def test_a_scheme_of_this_package_is_not_taken_over(offer: Offer, tmp_path: Path) -> None:
    offer(registry.SINKS, "file", "broken")
    assert isinstance(registry.build_sink(config(output=str(tmp_path / "out.jsonl"))), FileSink)
