"""What was measured on, and with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from attrs import frozen

from benchmarks.peers.table import COMMAND
from csv2kafka.cli.local_kafka import KAFKA_VERSION, java

PACKAGES = ("duckdb", "confluent-kafka", "aiokafka", "pyspark")


@frozen(kw_only=True)
class Machine:
    """``cpus``: those that the peers and the broker had; ``all_cpus``: how many there are."""

    cpu: str
    all_cpus: int
    cpus: Sequence[int]
    memory_bytes: int
    system: str
    python: str
    versions: Mapping[str, str]


def describe(cpus: Sequence[int]) -> Machine:
    return Machine(
        cpu=_cpu(),
        all_cpus=os.cpu_count() or 0,
        cpus=list(cpus),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        python=platform.python_version(),
        versions=dict(_versions()),
    )


def choose_cpus(cores: int) -> list[int]:
    """The first of those that this process may use."""
    return sorted(os.sched_getaffinity(0))[:cores]


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor()


def _versions() -> dict[str, str]:
    versions = {"Kafka": KAFKA_VERSION, "csv2kafka": _told([str(COMMAND), "--version"], r"(.*)")}
    if program := java():
        versions["Java"] = _told([program, "-version"], r'version "([^"]+)')
    if shutil.which("kcat"):
        versions["kcat"] = _told(["kcat", "-V"], r"Version (\S+ .*?) builtin").replace(" (", ", ").replace("JSON, ", "")
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _told(argv: Sequence[str], pattern: str) -> str:
    """What the pattern finds in what the program prints."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        return str(error)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1].strip() if found else "unknown"
