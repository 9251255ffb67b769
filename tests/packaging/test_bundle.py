"""The wheel of deploy/wheel/build runs on older machines than this one, and its bundle installs without a registry."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import twins

ROOT = Path(__file__).parents[2]
CARGO = shutil.which("cargo")
ARCH = platform.machine()
SECONDS = 900
OLDEST_GLIBC = 28  # 2.28: Amazon Linux 2023 has 2.34, Debian 10 and RHEL 8 have 2.28

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]


def run(
    *command: str | Path, cwd: Path, code: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "PYTHON": sys.executable, **(env or {})}
    done = subprocess.run(command, cwd=cwd, env=told, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree alone. What cargo makes stays with the checkout, so that the next time is quicker."""
    skipped = shutil.ignore_patterns(".*", "target", "build", "dist", "*.so", "*.egg-info", "__pycache__", "tests")
    place = tmp_path_factory.mktemp("tree") / "source"
    shutil.copytree(ROOT, place, ignore=skipped)
    shutil.copytree(ROOT / "deploy" / "wheel", place / "deploy" / "wheel", dirs_exist_ok=True)
    return place


@pytest.fixture(scope="module")
def dist(tree: Path) -> Path:
    """Where the wheel and the bundle of this machine's architecture are."""
    if CARGO is None and not twins.REQUIRED:
        pytest.skip("no Rust to build a wheel with")
    run(tree / "deploy/wheel/build", cwd=tree, env={"CARGO_TARGET_DIR": str(ROOT / "build" / f"rust-{ARCH}")})
    run(tree / "deploy/wheel/bundle", cwd=tree)
    return tree / "dist"


def test_the_wheel_asks_for_no_newer_glibc(dist: Path) -> None:
    [wheel] = dist.glob("*.whl")
    found = re.fullmatch(rf"csv2kafka-.*-cp311-abi3-manylinux_2_(\d+)_{ARCH}\.whl", wheel.name)
    assert found, wheel.name
    assert int(found[1]) <= OLDEST_GLIBC
    with zipfile.ZipFile(wheel) as archive:
        [library] = [name for name in archive.namelist() if name.endswith(".so")]
        asked = {int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", archive.read(library))}
    assert asked
    assert max(asked) <= OLDEST_GLIBC


def unpacked(dist: Path, place: Path) -> tuple[Path, tuple[str | Path, ...]]:
    """A fresh environment's folder, and how the bundle is installed there, as user data does."""
    [bundle] = dist.glob("*.tar.gz")
    run("tar", "-xzf", bundle, cwd=place)
    run(sys.executable, "-m", "venv", "fresh", cwd=place)
    told = ("install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--require-hashes")
    where = ("--find-links", "bundle/wheels", "--requirement", "bundle/requirements.txt")
    return place / "fresh" / "bin", (place / "fresh" / "bin" / "pip", *told, *where)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the bundle is for Python 3.11")
def test_the_bundle_installs_without_a_registry(dist: Path, tmp_path: Path) -> None:
    bin, install = unpacked(dist, tmp_path)
    alone = {"PYTHONPATH": "", "PIP_FIND_LINKS": "", "CSV2KAFKA_KERNEL": "native"}
    run(*install, cwd=tmp_path, env=alone)
    run(bin / "pip", "check", cwd=tmp_path, env=alone)
    shown = run(bin / "csv2kafka", "--version", cwd=tmp_path, env=alone)
    assert "(kernel: native, " in shown.stdout
    (tmp_path / "rows.csv").write_text("id,name\n1,one\n")
    written = ("--output", "rows.jsonl", "--checkpoints", "sqlite:///jobs.db")
    run(bin / "csv2kafka", "run", "rows.csv", *written, cwd=tmp_path, env=alone)
    assert (tmp_path / "rows.jsonl").read_text() == '{"id":"1","name":"one"}\n'


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the bundle is for Python 3.11")
def test_a_wheel_that_was_changed_is_not_installed(dist: Path, tmp_path: Path) -> None:
    _, install = unpacked(dist, tmp_path)
    [wheel] = tmp_path.glob("bundle/wheels/csv2kafka-*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("more.py", "")
    refused = run(*install, cwd=tmp_path, code=1)
    assert "DO NOT MATCH THE HASHES" in refused.stderr


@pytest.mark.skipif(CARGO is None, reason="it looks for cargo first")
def test_without_rusts_library_for_the_other_architecture_it_says_so(tree: Path, tmp_path: Path) -> None:
    rustc = tmp_path / "rustc"
    rustc.write_text("#!/bin/sh\necho /nowhere\n")
    rustc.chmod(0o755)
    refused = run(tree / "deploy/wheel/build", "aarch64", cwd=tree, code=2, env={"RUSTC": str(rustc)})
    assert refused.stderr == (
        "wheel: Rust's standard library for aarch64-unknown-linux-gnu is not here (/nowhere): run rustup target add "
        "aarch64-unknown-linux-gnu, or build the image's wheel stage with docker buildx --platform linux/arm64.\n"
    )


@pytest.mark.parametrize(("script", "says"), [("build", "wheel: "), ("bundle", "bundle: ")])
def test_an_architecture_that_is_none(script: str, says: str, tree: Path) -> None:
    refused = run(tree / "deploy/wheel" / script, "sparc", cwd=tree, code=2)
    assert refused.stderr.startswith(f"{says}the architecture is x86_64 or aarch64, found sparc")
