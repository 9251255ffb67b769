"""Commands in a root file system of their own: a layer over this machine's root, of which they see nothing they change.

Mounts and processes are in namespaces that end with the command: nothing is left but what it wrote into its layer.
Needs root, `unshare` and the kernel's overlay file system.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]
TOOLS = ("unshare", "mount", "chroot")


def lacking() -> str:
    """Why it can't be done here, or nothing."""
    if os.geteuid() != 0:
        return "mounting an overlay takes root"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "this kernel has no overlay file system"
    return ", ".join(f"there is no {tool}" for tool in TOOLS if shutil.which(tool) is None)


@frozen
class Root:
    """``layer``: what differs from this machine's root, and is written to. ``copies``: folders of this machine by the
    place where they are seen too; changes to them are thrown away. The checkout and this user's home are not seen."""

    layer: Path
    copies: Mapping[str, Path] = {}

    def command(
        self,
        argv: Sequence[str],
        *,
        scratch: Path,
        environment: Mapping[str, str],
        workdir: str = "/",
        user: str = "0",
        binds: Mapping[str, Path] = {},
        read_only: bool = False,
    ) -> list[str]:
        """What to start. The process is the first of its namespace, as in a container. ``binds``: folders of this
        machine by the place where they are seen and written to. ``scratch``: an empty folder."""
        seen = scratch / "root"
        lines = ["set -e", f"mkdir -p {seen} {scratch}/work"]
        lines.append(_overlay("/", f"{self.layer}", f"{scratch}/work", f"{seen}"))
        lines += [f"mount -t proc proc {seen}/proc", f"mount --rbind /dev {seen}/dev"]
        for hidden in (Path.home(), ROOT):
            lines.append(f"[ ! -d {seen}{hidden} ] || mount -t tmpfs -o mode=755 none {seen}{hidden}")
        lines.append(f"mount -t tmpfs -o mode=1777 none {seen}/tmp")
        for number, (at, place) in enumerate(self.copies.items()):
            kept = f"{scratch}/copy-{number}"
            lines.append(f"mkdir -p {seen}{at} {kept}/upper {kept}/work")
            lines.append(_overlay(f"{place}", f"{kept}/upper", f"{kept}/work", f"{seen}{at}"))
        for at, place in binds.items():
            lines.append(f"mkdir -p {seen}{at} && mount --bind {place} {seen}{at}")
        if read_only:
            lines.append(f"mount -o remount,ro {seen}")
        who = () if user == "0" else (f"--userspec={user}", "--groups=")
        variables = (f"{name}={value}" for name, value in environment.items())
        started = ("chroot", *who, str(seen), "env", "-i", f"--chdir={workdir}", *variables, *argv)
        lines.append(f"exec {shlex.join(started)}")
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", "\n".join(lines)]


def _overlay(lower: str, upper: str, work: str, at: str) -> str:
    return f"mount -t overlay none -o lowerdir={lower},upperdir={upper},workdir={work} {at}"


def lay_python(version: str, place: Path) -> str:
    """Puts a Python into a layer as the official image has it: in /usr/local, with pip, without compiled files.

    That version if this machine has it, else the one that runs this. Gives its version.
    """
    there = [Path("/usr/local"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*"), reverse=True)]
    prefix = next((each for each in there if (each / "bin" / f"python{version}").exists()), None)
    if prefix is None:
        prefix, version = Path(sys.base_prefix), "{}.{}".format(*sys.version_info)
    library = Path("lib") / f"python{version}"
    left = shutil.ignore_patterns("__pycache__", "test", "config-*", "site-packages")
    shutil.copytree(prefix / library, place / library, symlinks=True, ignore=left)
    for each in (prefix / library / "site-packages").glob("pip*"):
        shutil.copytree(each, place / library / "site-packages" / each.name)
    for shared in (prefix / "lib").glob("libpython3*.so*"):
        shutil.copy2(shared, place / "lib", follow_symlinks=False)
    (place / "bin").mkdir()
    shutil.copy2(prefix / "bin" / f"python{version}", place / "bin")
    for name in ("python", "python3"):
        (place / "bin" / name).symlink_to(f"python{version}")
    return version
