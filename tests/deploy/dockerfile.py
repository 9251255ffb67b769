"""A Dockerfile's stages made without Docker: each instruction is carried out in an overlay of this machine's root.

    builder = Builder(context, file, directory, caches, arguments={"TARGETARCH": "amd64"})
    image = builder.build()
    builder.stages["wheel"]

For the instructions and forms that the project's file has; any other is an error. What a base image has and this
machine keeps elsewhere (Rust, Python) is put where the image has it; all else of the base is this machine's.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen
from docker.utils.build import exclude_paths
from dockerfile_parse import DockerfileParser

from tests.deploy.overlay import Root, lay_python

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STEP_SECONDS = 900.0
# How the network is reached from here is no part of the image.
NETWORK = re.compile(r"PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST)|SSL_CERT_FILE|(?i:https?_proxy|no_proxy)")


@frozen
class Instruction:
    """``flags``: such as ``--mount``, each with its values. ``rest``: what follows them."""

    name: str
    flags: Mapping[str, list[str]]
    rest: str

    @property
    def exec_form(self) -> bool:
        return self.rest.startswith("[")


def instructions(text: str) -> list[Instruction]:
    """All of a Dockerfile, without comments."""
    structure = DockerfileParser(fileobj=io.BytesIO(text.encode())).structure
    return [_instruction(each) for each in structure if each["instruction"] != "COMMENT"]


def _instruction(found: Mapping[str, Any]) -> Instruction:
    flags: dict[str, list[str]] = {}
    rest = found["value"]
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
        flags.setdefault(match[1], []).append(match[2])
        rest = rest[match.end() :]
    return Instruction(found["instruction"].upper(), flags, rest)


def sent(context: Path) -> list[str]:
    """The files that .dockerignore leaves of a context."""
    lines = (context / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return sorted(name for name in exclude_paths(str(context), patterns) if (context / name).is_file())


@frozen
class Image:
    """What a stage has become so far."""

    root: Root
    environment: Mapping[str, str] = {}
    arguments: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    workdir: str = "/"
    user: str = "0"
    stop_signal: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def layer(self) -> Path:
        return self.root.layer

    def expanded(self, text: str) -> str:
        """``$NAME`` and ``${NAME}``, as everywhere but in RUN."""
        known = {**self.arguments, **self.environment}
        return re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda match: known.get(match[1] or match[2], ""), text)

    def at(self, path: str) -> str:
        """The path seen from the working directory."""
        return os.path.normpath(os.path.join(self.workdir, self.expanded(path)))  # noqa: PTH118


@define
class Builder:
    """``directory``: for the layers. ``caches``: for what ``--mount=type=cache`` keeps. ``arguments``: of the build."""

    context: Path
    file: Path
    directory: Path
    caches: Path
    arguments: Mapping[str, str] = {}
    stages: dict[str, Image] = field(factory=dict, init=False)
    _folders: int = field(default=0, init=False)

    @property
    def log(self) -> Path:
        return self.directory / "build.log"

    def build(self) -> Image:
        """Every stage of the file; gives the last."""
        stage, image = "", Image(Root(Path()))
        for each in instructions(self.file.read_text()):
            if each.name == "FROM":
                base, _, name = re.sub(r"(?i)\s+as\s+", " ", each.rest).partition(" ")
                stage = name or "last"
                image = self._base(base)
            else:
                image = self._carried_out(each, image)
            self.stages[stage] = image
        return image

    def _base(self, name: str) -> Image:
        layer = self._folder()
        layer.chmod(0o755)
        if name in self.stages:
            base = self.stages[name]
            subprocess.run(["cp", "-a", f"{base.layer}/.", layer], check=True)
            return evolve(base, root=evolve(base.root, layer=layer), arguments={})
        if name == "scratch":
            return Image(Root(layer))
        if name.startswith("rust:"):
            homes = {"RUSTUP_HOME": ("/usr/local/rustup", ".rustup"), "CARGO_HOME": ("/usr/local/cargo", ".cargo")}
            here = {at: Path(os.environ.get(name, Path.home() / usual)) for name, (at, usual) in homes.items()}
            variables = {name: at for name, (at, _) in homes.items()}
            return Image(Root(layer, here), {**variables, "PATH": f"/usr/local/cargo/bin:{SYSTEM_PATH}"})
        if name.startswith("python:"):
            lay_python(".".join(name.removeprefix("python:").split(".")[:2]), layer / "usr" / "local")
            image = Image(Root(layer), {"PATH": SYSTEM_PATH})
            self._run(Instruction("RUN", {}, "ldconfig"), image)  # finds Python's own library
            return image
        raise AssertionError(f"there is nothing like {name} here")

    def _carried_out(self, each: Instruction, image: Image) -> Image:
        match each.name:
            case "RUN":
                self._run(each, image)
                return image
            case "COPY":
                self._copy(each, image)
                return image
            case "ARG":
                name, _, default = each.rest.partition("=")
                value = self.arguments.get(name, image.expanded(default))
                return evolve(image, arguments={**image.arguments, name: value})
            case "ENV":
                return evolve(image, environment={**image.environment, **_pairs(each, image)})
            case "LABEL":
                return evolve(image, labels={**image.labels, **_pairs(each, image)})
            case "WORKDIR":
                path = image.at(each.rest)
                (image.layer / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
                return evolve(image, workdir=path)
            case "USER":
                return evolve(image, user=image.expanded(each.rest))
            case "STOPSIGNAL":
                return evolve(image, stop_signal=each.rest)
            case "ENTRYPOINT" if each.exec_form:
                return evolve(image, entrypoint=tuple(json.loads(each.rest)), command=())
            case "CMD" if each.exec_form:
                return evolve(image, command=tuple(json.loads(each.rest)))
            case "HEALTHCHECK" if each.rest == "NONE":
                return image
        raise AssertionError(f"this form of {each.name} is not known here: {each.rest}")

    def _run(self, each: Instruction, image: Image) -> None:
        assert (each.exec_form, image.user) == (False, "0"), each
        binds = {}
        for flag in each.flags.get("mount", ()):
            options = dict(word.split("=", 1) for word in flag.split(","))
            assert options["type"] == "cache", flag
            binds[options["target"]] = self.caches / options["target"].lstrip("/")
            binds[options["target"]].mkdir(parents=True, exist_ok=True)
        network = {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name)}
        command = image.root.command(
            ["/bin/sh", "-c", each.rest],
            scratch=self._folder(),
            environment={"HOME": "/root", **network, **image.arguments, **image.environment},
            workdir=image.workdir,
            binds=binds,
        )
        with self.log.open("ab") as log:
            log.write(f"\n# {time.strftime('%H:%M:%S')} {each.rest}\n".encode())
            log.flush()
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=STEP_SECONDS, check=False
            )
        assert done.returncode == 0, f"exit code {done.returncode}: {self.log.read_text(errors='replace')[-6000:]}"

    def _copy(self, each: Instruction, image: Image) -> None:
        *sources, target = (image.expanded(word) for word in shlex.split(each.rest))
        place = image.layer / image.at(target).lstrip("/")
        for source in sources:
            if "from" in each.flags:
                folder = self.stages[each.flags["from"][0]].layer / source.strip("/")
                assert folder.is_dir(), f"COPY {each.rest}: there is no such folder in what that stage has made"
                shutil.copytree(folder, place, symlinks=True, dirs_exist_ok=True)
            else:
                self._copy_sent(source.strip("/"), place)

    def _copy_sent(self, source: str, place: Path) -> None:
        files = [name for name in sent(self.context) if name == source or name.startswith(f"{source}/")]
        assert files, f"COPY {source}: .dockerignore leaves nothing of it"
        for name in files:
            to = place / (Path(name).name if name == source else Path(name).relative_to(source))
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.context / name, to)

    def _folder(self) -> Path:
        self._folders += 1
        folder = self.directory / str(self._folders)
        folder.mkdir(parents=True)
        return folder


def _pairs(each: Instruction, image: Image) -> dict[str, str]:
    return dict(image.expanded(word).split("=", 1) for word in shlex.split(each.rest))
