"""Jars that peers need beside Kafka's own, fetched by Maven once and kept for the user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import platformdirs

FETCH_SECONDS = 600.0
POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>csv2kafka</groupId><artifactId>benchmark-peer</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
</project>
"""
DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>"
    "<exclusions>{exclusions}</exclusions></dependency>"
)
NOTHING_MORE = "<exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>"
GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class JarsMissing(Exception):
    """They could not be had; the text says why."""


def fetch(name: str, *artifacts: str, alone: bool = False) -> Path:
    """The folder with these artifacts (``group:artifact:version``) and what they need to run; ``alone``: without that.

    Raises JarsMissing.
    """
    version = artifacts[0].rsplit(":", 1)[1]
    folder = Path(platformdirs.user_cache_dir("csv2kafka"), f"{name}-{version}")
    if folder.is_dir():
        return folder
    if not shutil.which("mvn"):
        raise JarsMissing("its jars are fetched by Maven, and there is no mvn on the path")
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        pom = partial / "pom.xml"
        exclusions = NOTHING_MORE if alone else ""
        wanted = [DEPENDENCY.format(*artifact.split(":"), exclusions=exclusions) for artifact in artifacts]
        pom.write_text(POM.format(dependencies="".join(wanted)))
        _maven(["-f", str(pom), GOAL, "-DincludeScope=runtime", f"-DoutputDirectory={partial}"])
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _maven(arguments: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            ["mvn", "-B", "-q", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise JarsMissing(f"Maven did not fetch its jars in {FETCH_SECONDS:.0f} s") from None
    if done.returncode:
        told = re.search(r"ERROR\]\S* (.*)", done.stdout + done.stderr)
        raise JarsMissing(f"Maven could not fetch its jars: {told[1] if told else done.stderr[-300:]}")
