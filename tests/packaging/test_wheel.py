"""What users install: a wheel with the native kernel, and a source tree where there is no Rust."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import twins

ROOT = Path(__file__).parents[2]
CARGO = shutil.which("cargo")
SECONDS = 900
SHOW = """
from csv2kafka import kernel
from csv2kafka.model import Dialect
records = kernel.encode_json(b'1,"a, b"\\n', dialect=Dialect(), header=("x", "y"))
print(kernel.NAME, kernel.__file__, bytes(records.values).decode())
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]


def without_rust(**more: str) -> dict[str, str]:
    """An environment in which no cargo and no rustc is found."""
    folders = os.environ["PATH"].split(os.pathsep)
    kept = [folder for folder in folders if not any((Path(folder) / tool).exists() for tool in ("cargo", "rustc"))]
    unset = ("CSV2KAFKA_KERNEL", "CSV2KAFKA_REQUIRE_NATIVE", "PYTHONPATH", "CARGO", "RUSTC")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return environment | {"PATH": os.pathsep.join(kept)} | more


def run(*command: str | Path, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The source tree alone, with nothing built in it."""
    skipped = shutil.ignore_patterns(".*", "target", "build", "dist", "*.so", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, tmp_path / "source", ignore=skipped)
    return tmp_path / "source"


@pytest.mark.skipif(CARGO is None and not twins.REQUIRED, reason="no Rust to build a wheel with")
def test_a_wheel_brings_the_native_kernel(tmp_path: Path) -> None:
    python = sys.executable
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    required = {**os.environ, "CSV2KAFKA_REQUIRE_NATIVE": "1"}
    run(python, *pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT, cwd=tmp_path, env=required)
    [wheel] = tmp_path.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    run(python, "-m", "venv", "fresh", cwd=tmp_path, env=without_rust())
    bin = tmp_path / "fresh" / "bin"
    run(bin / "python", *pip, "install", wheel, cwd=tmp_path, env=without_rust())
    shown = run(bin / "python", "-c", SHOW, cwd=tmp_path, env=without_rust(CSV2KAFKA_KERNEL="native"))
    name, place, value = shown.stdout.split(" ", 2)
    assert (name, value.strip()) == ("native", '{"x":"1","y":"a, b"}')
    assert Path(place).is_relative_to(tmp_path)
    assert "(kernel: native, " in run(bin / "csv2kafka", "--version", cwd=tmp_path, env=without_rust()).stdout


def test_without_rust_it_installs_and_falls_back(source: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--target", there, source, cwd=tmp_path, env=without_rust())
    shown = run(sys.executable, "-c", SHOW, cwd=tmp_path, env=without_rust(PYTHONPATH=str(there)))
    name, place, value = shown.stdout.split(" ", 2)
    assert (name, value.strip()) == ("python", '{"x":"1","y":"a, b"}')
    assert Path(place).is_relative_to(there)
    assert shown.stderr.count("the native kernel is not here") == 1


def test_a_build_that_requires_it_fails_without_rust(source: Path, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    command = (*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, source)
    environment = without_rust(CSV2KAFKA_REQUIRE_NATIVE="1")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode != 0
    assert not list(tmp_path.glob("*.whl"))
