"""Starting and ending a local Kafka, with stand-ins for java and mvn; tests/broker has the real thing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from csv2kafka.cli import local_kafka
from csv2kafka.errors import Unreachable

Script = Callable[[str, str], None]

JAVA_17 = "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2"
# Fills the folder in two steps with a pause between, and notes each call.
MVN = """
for argument in "$@"; do case "$argument" in -DoutputDirectory=*) out="${argument#*=}";; esac; done
echo called >> "$CALLS"
/bin/mkdir -p "$out" && : > "$out/first.jar"
/bin/sleep 0.3
: > "$out/kafka_2.13-4.1.0.jar"
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts a shell script on a path where there is nothing else; the cache is empty."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def write(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _group_is_gone(group: int) -> bool:
    """Whether no process of it runs; some may still have to be waited for by init."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def test_nothing_is_missing_with_java_17_and_maven(program: Script) -> None:
    program("java", JAVA_17)
    program("mvn", "")
    assert local_kafka.missing_tools() == []


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'java version \"1.8.0_402\"' >&2", "found 8"),
        ("echo 'openjdk version \"11.0.2\"' >&2", "found 11"),
        ("echo nothing to see; exit 1", "no working java"),
        ("echo nothing to see", "no working java"),
        (None, "no working java"),
    ],
)
def test_missing_tools_are_named_with_what_was_found(program: Script, script: str | None, found: str) -> None:
    if script:
        program("java", script)
    java, maven = local_kafka.missing_tools()
    assert java == f"Java 17 or later ({found})"
    assert maven == "Maven (no mvn on the path)"


def test_java_home_comes_before_the_path(program: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("java", JAVA_17)
    (tmp_path / "home").mkdir()
    (tmp_path / "bin").rename(tmp_path / "home" / "bin")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert local_kafka.java() == str(tmp_path / "home" / "bin" / "java")


def test_the_jars_are_fetched_once_and_maven_is_not_missed_afterwards(program: Script, tmp_path: Path) -> None:
    program("java", JAVA_17)
    program("mvn", MVN)
    said: list[str] = []

    jars = local_kafka.fetch_jars(said.append)
    again = local_kafka.fetch_jars(said.append)

    assert jars == again == tmp_path / "cache" / "csv2kafka" / "kafka-4.1.0"
    assert sorted(path.name for path in jars.iterdir()) == ["first.jar", "kafka_2.13-4.1.0.jar"]
    assert len(said) == 1
    (tmp_path / "bin" / "mvn").unlink()
    assert local_kafka.missing_tools() == []


def test_several_processes_fetch_once_and_none_sees_a_half_filled_folder(program: Script, tmp_path: Path) -> None:
    program("mvn", MVN)
    code = "from csv2kafka.cli.local_kafka import fetch_jars; print(len(list(fetch_jars().iterdir())))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in processes] == ["2\n"] * 3
    assert (tmp_path / "calls").read_text() == "called\n"


def test_what_a_killed_fetch_left_is_thrown_away(program: Script, tmp_path: Path) -> None:
    program("mvn", MVN)
    left = tmp_path / "cache" / "csv2kafka" / "kafka-4.1.0.partial"
    left.mkdir(parents=True)
    (left / "half-a.jar").write_text("")
    assert not (local_kafka.fetch_jars() / "half-a.jar").exists()
    assert not left.exists()


@pytest.mark.parametrize("script", ["echo no route to host; exit 1", "echo no route to host"])
def test_a_failed_fetch_tells_mavens_words_and_leaves_no_folder(program: Script, script: str) -> None:
    program("mvn", script)
    with pytest.raises(Unreachable, match="no route to host"):
        local_kafka.fetch_jars()
    with pytest.raises(Unreachable, match="no route to host"):  # not taken for done
        local_kafka.fetch_jars()


def test_a_node_that_ends_at_once_shows_the_end_of_its_log(program: Script, tmp_path: Path) -> None:
    program("mvn", MVN)
    program("java", 'case "$*" in *StorageTool*) exit 0;; *) echo out of luck; exit 3;; esac')
    node = local_kafka.LocalKafka(tmp_path / "node")
    with pytest.raises(Unreachable, match=r"ended with 3; the end of its log:\nout of luck"):
        node.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = node.pid


def test_a_node_that_never_answers_is_killed(program: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("mvn", MVN)
    program("java", f'case "$*" in *StorageTool*) exit 0;; esac; echo $$ > {tmp_path}/pid; exec /bin/sleep 60')
    monkeypatch.setattr(local_kafka, "START_SECONDS", 0.5)
    with pytest.raises(Unreachable, match="did not answer"):
        local_kafka.LocalKafka(tmp_path / "node").start()
    _wait(lambda: _group_is_gone(int((tmp_path / "pid").read_text())))


def test_storage_that_cannot_be_formatted_tells_why(program: Script, tmp_path: Path) -> None:
    program("mvn", MVN)
    program("java", "echo bad property; exit 1")
    with pytest.raises(Unreachable, match="bad property"):
        local_kafka.LocalKafka(tmp_path / "node").start()


def test_settings_listeners_and_users_reach_kafka(program: Script, tmp_path: Path) -> None:
    program("mvn", MVN)
    program("java", f'printf "%s\\n" "$@" > {tmp_path}/arguments; exit 1')
    node = local_kafka.LocalKafka(
        tmp_path / "node",
        port=29999,
        config={"message.max.bytes": "2000000"},
        listeners={"TLS": "SSL", "PROXY": "PLAINTEXT"},
        advertised={"PROXY": "127.0.0.1:1"},
        scram_users={"alice": "secret"},
    )
    with pytest.raises(Unreachable):
        node.start()
    settings = dict(line.split("=", 1) for line in (tmp_path / "node" / "server.properties").read_text().splitlines())
    assert node.bootstrap_servers == "127.0.0.1:29999"
    assert settings["message.max.bytes"] == "2000000"
    assert settings["listeners"].split(",")[0] == "PLAINTEXT://127.0.0.1:29999"
    assert f"TLS://{node.address('TLS')}" in settings["listeners"]
    assert "PROXY://127.0.0.1:1" in settings["advertised.listeners"]
    assert "CONTROLLER" not in settings["advertised.listeners"]
    assert "TLS:SSL" in settings["listener.security.protocol.map"]
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "SCRAM-SHA-512=[name=alice,password=secret]" in arguments


def test_ports_are_free_and_different() -> None:
    ports = local_kafka._free_ports(50)
    assert len(set(ports)) == 50
    assert set(ports) <= set(local_kafka.PORTS)
