"""A machine for user data: a copy of this one's files (an overlay), its own processes, and an init of a few lines.

    machine = Machine(directory).start(user_data)
    machine.wait()                      # until it is off
    machine.shutdowns                   # ["-h +1500", "-h now"]

Root is needed, and Linux. In place of systemd, dnf, shutdown and the AWS CLI it has programs that note what they were
asked, and can be made to fail. The network is this machine's: moto, the broker, a fake of the metadata.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import Factory, define

from tests.conftest import IN_CI

ROOT = Path(__file__).parents[2]
LONGEST_SECONDS = 90.0

# Process 1 of the machine's, once its files are mounted.
INIT = """
trap 'touch /sandbox/off' TERM
/bin/bash /sandbox/user_data >/var/log/cloud-init-output.log 2>&1 &
while [ ! -e /sandbox/off ]; do sleep 0.05; done
# As systemd does at a stop: SIGTERM to the unit's first process, and some time for it.
if [ -e /sandbox/unit ]; then
  unit=$(cat /sandbox/unit)
  kill -TERM "$unit" 2>/dev/null
  for _ in $(seq 600); do kill -0 "$unit" 2>/dev/null || exit 0; sleep 0.05; done
  echo "the unit did not end" >/sandbox/killed
fi
"""

MOUNT = """
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/tree"
for place in $2; do mkdir -p "$1/tree$place"; mount --bind "$place" "$1/tree$place"; done
for place in $3; do chmod o+x "$1/tree$place"; done
mkdir -p "$1/tree/sandbox"
mount --bind "$1/sandbox" "$1/tree/sandbox"
mount -t proc proc "$1/tree/proc"
for device in null zero urandom; do touch "$1/tree/dev/$device"; mount --bind "/dev/$device" "$1/tree/dev/$device"; done
ln -sfn /proc/self/fd "$1/tree/dev/fd"
rm -f "$1/tree/dev/console" "$1/tree/usr/bin/python3.11"
touch "$1/tree/dev/console"
cp "$1"/sandbox/programs/* "$1/tree/usr/local/sbin/"
exec chroot "$1/tree" /bin/bash /sandbox/init
"""

# Each begins so: a number in fail/NAME is how often it is to fail yet.
BEGIN = r"""#!/bin/bash
name=${0##*/}
if [ "$name" = aws ]; then
  for word; do case $word in s3 | autoscaling | create-log-stream | put-log-events) name=aws-$word ;; esac; done
fi
echo "$name $*" >>/sandbox/calls
left=$(cat "/sandbox/fail/$name" 2>/dev/null || echo 0)
if [ "$left" -gt 0 ]; then
  echo $((left - 1)) >"/sandbox/fail/$name"
  echo "$name was made to fail" >&2
  exit 9
fi
"""

PROGRAMS = {
    "shutdown": """
echo "$*" >>/sandbox/shutdowns
case "$*" in
  *now*) touch /sandbox/off ;;
  *) (while [ ! -e /sandbox/time-is-over ]; do sleep 0.2; done; touch /sandbox/off) & ;;
esac
""",
    "systemctl": "touch /sandbox/off\n",
    "systemd-run": """
while :; do case ${1:-} in --*) echo "$1" >>/sandbox/unit.options; shift ;; *) break ;; esac; done
"$@" &
echo $! >/sandbox/unit
""",
    "dnf": "ln -sf /sandbox/python3.11 /usr/local/bin/python3.11\n",
    "tar": 'exec /usr/bin/tar "$@"\n',
    "useradd": 'exec /usr/sbin/useradd "$@"\n',
    "python3": f'exec {sys.base_prefix}/bin/python3 "$@"\n',
    # S3 is a folder, CloudWatch Logs another, the group a number.
    "aws": r"""
case " $* " in
  *" s3 cp "*) source=${*: -2:1}; cp "/sandbox/s3/${source##*/}" "${*: -1}" ;;
  *" create-log-stream "*) ;;
  *" put-log-events --cli-input-json "*) file=${*: -1}; cp "${file#file://}" "/sandbox/put/$(date +%s%N).json" ;;
  *" put-log-events "*) echo "{\"logEvents\": ${*: -1}}" >"/sandbox/put/$(date +%s%N).json" ;;
  *" set-desired-capacity "*) echo "${*: -1}" >/sandbox/desired ;;
  *) exit 2 ;;
esac
""",
}

# What python3.11 is where the job is a script of the test's: `-m venv`, and a pip that installs it.
PYTHON = """#!/bin/bash
left=$(cat /sandbox/fail/venv 2>/dev/null || echo 0)
if [ "$left" -gt 0 ]; then echo $((left - 1)) >/sandbox/fail/venv; exit 9; fi
mkdir -p venv/bin
cp /usr/local/sbin/pip venv/bin/pip
"""
PIP = "cp /sandbox/job venv/bin/csv2kafka && chmod 755 venv/bin/csv2kafka\n"


@functools.cache
def missing() -> str:
    """Why no machine can be had here; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it takes Linux and root to make a machine for user data"
    for tool in ("unshare", "chroot", "setpriv", "useradd", "curl"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            return f"{tool} is not installed"
    with tempfile.TemporaryDirectory() as place:
        for name in ("upper", "work", "tree"):
            Path(place, name).mkdir()
        layers = f"lowerdir=/,upperdir={place}/upper,workdir={place}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", layers, f"{place}/tree"]
        command = ["unshare", "--mount", "--pid", "--fork", *mount]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()


def need_machine() -> None:
    """Skips the test where there can be none; in CI it fails."""
    if missing() and IN_CI:
        pytest.fail(f"no machine for user data can be made, and CI is set: {missing()}", pytrace=False)
    elif missing():
        pytest.skip(missing())


@define
class Machine:
    """``directory``: the test's own. ``variables``: of user data's environment. ``bound``: folders that it shares with
    this machine, as they are. ``real``: it has this machine's AWS CLI and Python."""

    directory: Path
    variables: Mapping[str, str] = Factory(dict)
    bound: tuple[Path, ...] = ()
    real: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def __attrs_post_init__(self) -> None:
        for name in (
            "upper",
            "work",
            "tree",
            "sandbox",
            *(f"sandbox/{name}" for name in ("fail", "put", "s3", "programs")),
        ):
            (self.directory / name).mkdir(parents=True)
        self.write("desired", "1")
        for name, text in {**PROGRAMS, **({} if self.real else {"pip": PIP})}.items():
            self.program(name, BEGIN + text)
        real = f'#!/bin/bash\nexec {sys.base_prefix}/bin/python3 "$@"\n'
        self.write("python3.11", real if self.real else PYTHON).chmod(0o755)

    @property
    def sandbox(self) -> Path:
        return self.directory / "sandbox"

    def write(self, name: str, text: str) -> Path:
        """A file in /sandbox."""
        file = self.sandbox / name
        file.write_text(text)
        return file

    def program(self, name: str, text: str) -> None:
        """One that comes before all others of its name."""
        self.write(f"programs/{name}", text).chmod(0o755)

    def fail(self, name: str, times: int) -> None:
        """This program, or service of AWS, fails so often."""
        self.write(f"fail/{name}", str(times))

    def start(self, user_data: str) -> Machine:
        self.write("user_data", user_data)
        self.write("init", INIT)
        parents = sorted({str(parent) for place in self.bound for parent in place.parents} - {"/"}, key=len)
        places = " ".join(str(place) for place in self.bound)
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/bash", "-c", MOUNT, "mount"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        with (self.sandbox / "init.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, str(self.directory), places, " ".join(parents)],
                env={"PATH": path, "LANG": "C.UTF-8", **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def wait(self, seconds: float = LONGEST_SECONDS) -> None:
        """Until it is off, by itself."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it is still on:\n{self.told}") from None
        assert self._process.returncode == 0, self.told
        assert not (self.sandbox / "killed").exists(), self.told

    def stop(self) -> None:
        """As EC2 and the group do it: the machine is to shut down."""
        (self.sandbox / "off").touch()

    def kill(self) -> None:
        """However the test ended, nothing is left."""
        if self._process is not None and self.on:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def on(self) -> bool:
        """It has not ended yet."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The file that is shipped."""
        return self._text(self.directory / "upper" / "var" / "log" / "csv2kafka.log")

    @property
    def console(self) -> str:
        """What `aws ec2 get-console-output` would show of it."""
        return self._text(self.directory / "upper" / "dev" / "console")

    @property
    def shutdowns(self) -> list[str]:
        """How `shutdown` was called."""
        return self._text(self.sandbox / "shutdowns").splitlines()

    @property
    def calls(self) -> list[str]:
        """All calls of the programs that are not the real ones."""
        return self._text(self.sandbox / "calls").splitlines()

    @property
    def desired(self) -> int:
        """The group's desired size: 1 at first."""
        return int(self._text(self.sandbox / "desired"))

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Those that reached CloudWatch Logs."""
        return [json.loads(file.read_text()) for file in sorted((self.sandbox / "put").iterdir())]

    @property
    def shipped(self) -> list[str]:
        """The messages in them."""
        return [event["message"] for request in self.requests for event in request["logEvents"]]

    @property
    def told(self) -> str:
        """All there is to say where a test fails."""
        cloud_init = self.directory / "upper" / "var" / "log" / "cloud-init-output.log"
        files = (self.sandbox / "init.log", cloud_init, self.sandbox / "calls")
        return "\n".join([*(f"--- {file.name}\n{self._text(file)[-3000:]}" for file in files), self.log[-6000:]])

    @staticmethod
    def _text(file: Path) -> str:
        return file.read_text(errors="replace") if file.exists() else ""


def events(lines: list[str], name: str) -> Iterator[dict[str, Any]]:
    """Those lines that are JSON and about this."""
    for line in lines:
        if line.startswith("{"):
            found = json.loads(line)
            if found.get("event") == name:
                yield found


def with_settings(user_data: str, **settings: str) -> str:
    """User data with other settings than the planned ones."""
    for name, value in settings.items():
        user_data, found = re.subn(rf"^{name}=.*$", f"{name}={value}", user_data, flags=re.MULTILINE)
        assert found == 1, f"user data does not set {name}"
    return user_data
