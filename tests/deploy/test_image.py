"""The container image: the Dockerfile is carried out without Docker, and its command runs in what comes out."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import pytest
from attrs import define, frozen
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from csv2kafka import __version__
from tests.conftest import IN_CI
from tests.deploy import overlay
from tests.deploy.dockerfile import Builder, Image, instructions, sent
from tests.faults.installed import expected_values, write_csv

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "image" / "Dockerfile"
LOCK = ROOT / "deploy" / "image" / "requirements.lock"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "csv2kafka" / "image-build"
TARGETARCH = {"x86_64": "amd64", "aarch64": "arm64"}
PYTHONS = ("3.11", "3.12", "3.13")
SECONDS = 900


@frozen
class Locked:
    """A line of the lock file. ``marker``: where it counts, or everywhere."""

    requirement: Requirement
    hashes: int

    def counts_in(self, python: str) -> bool:
        where = {"python_version": python, "python_full_version": f"{python}.0"}
        return self.requirement.marker is None or self.requirement.marker.evaluate(where)


@pytest.fixture(scope="module")
def locked() -> dict[str, Locked]:
    """The lock file's lines by the names of the packages."""
    blocks = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", LOCK.read_text(), re.MULTILINE | re.DOTALL)
    found = [Locked(Requirement(each.split(" \\\n")[0]), each.count("--hash=sha256:")) for each in blocks]
    return {canonicalize_name(each.requirement.name): each for each in found}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_file_satisfies_what_the_package_asks_for(locked: Mapping[str, Locked], python: str) -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert wanted
    for line in wanted:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"python_version": python}):
            continue
        pin = locked[canonicalize_name(requirement.name)]
        assert pin.counts_in(python), f"{line}: make lock"
        [version] = pin.requirement.specifier
        assert requirement.specifier.contains(version.version), f"{line}: make lock"


def test_every_line_of_the_lock_file_is_one_version_with_its_hashes(locked: Mapping[str, Locked]) -> None:
    assert len(locked) > 30
    for pin in locked.values():
        assert [version.operator for version in pin.requirement.specifier] == ["=="], pin
        assert pin.hashes, pin


def test_only_what_the_build_needs_is_sent_to_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    kept = (
        "csv2kafka/cli/run.py",
        "rust/src/lib.rs",
        "deploy/wheel/build",
        "deploy/image/requirements.lock",
        "setup.py",
    )
    left = (
        ".git/config",
        ".env",
        "csv2kafka/.env",
        "csv2kafka/kernel/_rust.abi3.so",
        "csv2kafka/cli/__pycache__/run.cpython-313.pyc",
        "deploy/ecs/terraform.tfvars",
        "deploy/ecs/terraform.tfstate",
        "rust/target/release/lib_rust.so",
        "tests/conftest.py",
        "docs/aws.md",
        "dist/csv2kafka-0.1.0.whl",
    )
    for name in (*kept, *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(sent(tmp_path)) - {".dockerignore"} == set(kept)


def test_bases_are_named_with_their_version() -> None:
    bases = [each.rest.split(" ")[0] for each in instructions(FILE.read_text()) if each.name == "FROM"]
    official = [base for base in bases if ":" in base]
    assert [base.split(":")[0] for base in official] == ["rust", "python"]
    for base in official:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-slim-[a-z]+", base), base


@define
class Container:
    """Starts of the image with its root read-only. ``tmp`` is its /tmp, all that it can write to."""

    image: Image
    directory: Path
    _starts: int = 0

    def __attrs_post_init__(self) -> None:
        self.tmp.mkdir()
        self.tmp.chmod(0o1777)

    @property
    def tmp(self) -> Path:
        return self.directory / "tmp"

    def command(self, argv: Sequence[str], *, user: str | None = None) -> list[str]:
        self._starts += 1
        scratch = self.directory / str(self._starts)
        scratch.mkdir()
        image = self.image
        return image.root.command(
            argv,
            scratch=scratch,
            environment={**image.environment, "CSV2KAFKA_PROGRESS": "json"},
            workdir=image.workdir,
            user=user or image.user,
            binds={"/tmp": self.tmp},
            read_only=True,
        )

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The image's entry point, with its own arguments or these, until it ends."""
        return self.run([*self.image.entrypoint, *(arguments or self.image.command)])

    def run(self, argv: Sequence[str], *, user: str | None = None) -> subprocess.CompletedProcess[str]:
        command = self.command(argv, user=user)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS)
def test_the_image_is_built_and_does_its_work(tmp_path: Path) -> None:
    """One test, for it is built once. Rust's output is kept in the user's cache; without it, this takes minutes."""
    if lacks := overlay.lacking():
        (pytest.fail if IN_CI else pytest.skip)(f"the image's steps can't be tried: {lacks}")
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)  # its user gets through
    builder = build(tmp_path / "image")
    told(builder.stages["last"])
    one_wheel(builder.stages["wheel"].layer)
    compiled_and_owned_by_root(builder.stages["last"])
    (tmp_path / "starts").mkdir()
    container = Container(builder.stages["last"], tmp_path / "starts")
    native_kernel(container)
    missing_settings(container)
    only_tmp_is_written(container)
    nothing_is_compiled_at_start(container)
    certificates(container)
    from_file_to_file(container)
    stopped_and_gone_on(container)


def build(directory: Path) -> Builder:
    """Every stage of the Dockerfile."""
    directory.mkdir(mode=0o755)
    CACHE.mkdir(parents=True, exist_ok=True)
    arguments = {"TARGETARCH": TARGETARCH[platform.machine()], "VERSION": __version__}
    builder = Builder(ROOT, FILE, directory, CACHE, arguments)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        builder.build()
    return builder


def told(image: Image) -> None:
    """How it starts, how it is stopped, who it is."""
    assert (image.entrypoint, image.command, image.stop_signal) == (("csv2kafka",), ("run",), "SIGTERM")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.user)
    assert image.labels["org.opencontainers.image.version"] == __version__
    assert {"title", "description", "licenses"} <= {label.rpartition(".")[2] for label in image.labels}


def one_wheel(folder: Path) -> None:
    """The stage `wheel` has a wheel for systems with an older glibc, and nothing else."""
    [wheel] = folder.rglob("*")
    assert re.fullmatch(rf"csv2kafka-{__version__}-cp311-abi3-.*manylinux.*_{platform.machine()}\.whl", wheel.name)


def compiled_and_owned_by_root(image: Image) -> None:
    package = next(image.layer.glob("opt/csv2kafka/lib/python3*/site-packages/csv2kafka"))
    compiled = list(package.rglob("*.pyc"))
    assert len(compiled) == len(list(package.rglob("*.py"))) > 50
    assert {file.read_bytes()[4] for file in compiled} == {1}, "by hash, and unchecked"
    assert [file for file in package.rglob("*") if file.stat().st_uid or file.stat().st_mode & 0o022] == []


def native_kernel(container: Container) -> None:
    shown = container.start("--version")
    assert shown.returncode == 0, shown.stderr
    assert f"csv2kafka {__version__} (kernel: native, " in shown.stdout


def missing_settings(container: Container) -> None:
    """Started without any: it runs, and says what it needs."""
    ended = container.start()
    assert ended.returncode == 2
    assert "SOURCE" in ended.stderr


def only_tmp_is_written(container: Container) -> None:
    for user in (None, "0:0"):
        assert container.run(["touch", "/tmp/new"], user=user).returncode == 0
        for place in ("/new", "/opt/csv2kafka/new", "/var/tmp/new"):
            assert "Read-only file system" in container.run(["touch", place], user=user).stderr


def nothing_is_compiled_at_start(container: Container) -> None:
    """A read-only root could not keep it: each start would do it again."""
    shown = container.run(["python", "-v", "-c", "import csv2kafka.pipeline, csv2kafka.cli.run"])
    assert shown.returncode == 0, shown.stderr
    assert len(re.findall(r"^# code object from .*\.pyc", shown.stderr, re.MULTILINE)) > 100
    assert re.findall(r"^# code object from '?(/\S+\.py)\b", shown.stderr, re.MULTILINE) == []


def certificates(container: Container) -> None:
    """What TLS trusts is there."""
    count = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"
    assert int(container.run(["python", "-c", count]).stdout) > 50


def from_file_to_file(container: Container) -> None:
    write_csv(container.tmp / "small.csv", 5000)
    ended = container.start("run", "/tmp/small.csv", "--output", "/tmp/small.jsonl")
    assert ended.returncode == 0, ended.stderr
    assert lines(container.tmp / "small.jsonl") == list(expected_values(container.tmp / "small.csv"))
    assert {str((container.tmp / name).stat().st_uid) for name in ("small.jsonl", "state")} == {
        container.image.user.partition(":")[0]
    }


def stopped_and_gone_on(container: Container) -> None:
    """SIGTERM to the container's process 1, amid rows; then the same again."""
    rows = 2_000_000
    write_csv(container.tmp / "large.csv", rows)
    job = ("run", "/tmp/large.csv", "--output", "/tmp/large.jsonl", "--checkpoint-rows", "20000")
    log = container.directory / "log"
    with log.open("wb") as to:
        command = container.command([*container.image.entrypoint, *job])
        process = subprocess.Popen(command, stdout=to, stderr=to, stdin=subprocess.DEVNULL)
    wait_for(log, '"committed"', process)
    [first] = psutil.Process(process.pid).children()
    first.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75, log.read_text()[-3000:]
    assert 0 < len(lines(container.tmp / "large.jsonl")) < rows
    ended = container.start(*job)
    assert ended.returncode == 0, ended.stderr
    written = lines(container.tmp / "large.jsonl")
    assert len(written) == rows
    assert [line for number, line in enumerate(written) if not line.startswith(b'{"id":"%d",' % number)] == []


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines()


def wait_for(log: Path, what: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while what not in log.read_text():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.02)
