"""A real one-node Apache Kafka for demo, tests and benchmarks: KRaft mode, from Maven Central's jars.

    with LocalKafka(directory) as kafka:
        kafka.bootstrap_servers      # 127.0.0.1:24017
        kafka.kill(); kafka.restart()

Needs Java 17 and, the first time, Maven; nothing is installed. The jars are cached for the user, the node's data
and log stand in the given directory. The node never outlives this process, however that ends. All calls block:
from a running event loop use ``asyncio.to_thread``.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs

from csv2kafka.cli import guarded
from csv2kafka.errors import Unreachable

KAFKA_VERSION = "4.1.0"
JAVA_VERSION = 17
HOST = "127.0.0.1"
PORTS = range(20000, 30000)  # below where kernels take ports for outgoing connections, so a port stays free
FETCH_SECONDS = 900.0
FORMAT_SECONDS = 60.0
START_SECONDS = 60.0
STOP_SECONDS = 15.0
NODE_ID = 1
LOG_TAIL_BYTES = 4000

# What a single node needs, then what makes it start and answer quickly.
BASE_CONFIG = {
    "process.roles": "broker,controller",
    "node.id": str(NODE_ID),
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "4000",  # a node that was killed is let in again only after this time
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",  # of the small heap; the default is 128 MiB
}
JVM_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:-UsePerfData", "-Djava.awt.headless=true")
LOG_CONFIG = """\
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
"""


def java() -> str | None:
    """The Java to run: ``JAVA_HOME``'s, else that on the path; None if there is none."""
    home = os.environ.get("JAVA_HOME")
    return (home and shutil.which("java", path=str(Path(home, "bin")))) or shutil.which("java")


def missing_tools() -> list[str]:
    """What this machine lacks to run a Kafka, each in a few words; empty if it can."""
    missing = []
    program = java()
    version = _java_version(program) if program else None
    if version is None:
        missing.append(f"Java {JAVA_VERSION} or later (no working java)")
    elif version < JAVA_VERSION:
        missing.append(f"Java {JAVA_VERSION} or later (found {version})")
    if not shutil.which("mvn") and not _jars_directory().is_dir():
        missing.append("Maven (no mvn on the path)")
    return missing


def fetch_jars(say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder with Kafka's jars, filled by Maven the first time. Several processes may ask at once.

    ``say`` is told before anything is fetched. Raises Unreachable with Maven's own words.
    """
    jars = _jars_directory()
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with _locked(jars.with_name(f"{jars.name}.lock")):
        if not jars.is_dir():
            say(f"fetching Apache Kafka {KAFKA_VERSION} from Maven Central (about 60 MB, once)")
            partial = jars.with_name(f"{jars.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            pom = Path(__file__).with_name("kafka-pom.xml")
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
            done, output = _run(["mvn", "-B", "-q", "-f", str(pom), *goal], jars.parent, FETCH_SECONDS)
            if not done or not (partial / f"kafka_2.13-{KAFKA_VERSION}.jar").is_file():
                raise Unreachable(
                    f"Maven could not fetch Apache Kafka {KAFKA_VERSION}: {output[-LOG_TAIL_BYTES:].strip()}",
                    hint="see that Maven can reach its repository (its settings.xml names mirrors and proxies)",
                )
            partial.rename(jars)  # at once and whole: a folder of that name is never half-filled
    return jars


class LocalKafka:
    """One node, broker and controller in one, with its data in ``directory``.

    ``port``: of the PLAINTEXT listener, 0 for any free one; it stays the same over restarts. ``config``: broker
    settings, over the ones here. ``listeners``: further ones, name → security protocol (``{"TLS": "SSL"}``);
    ``address(name)`` tells where they are. ``advertised``: listener name → ``host:port`` that clients are sent
    to instead, such as a proxy's. ``scram_users``: name → password, for SCRAM-SHA-256 and -512.
    ``cluster_id``: of the cluster it is to be a part of (``config`` names the others). ``classes``: a folder of Java
    classes that ``config`` names. ``say``: told what takes long. Raises Unreachable, with the end of the log, if it
    does not come up.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        config: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        advertised: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
        cluster_id: str = "",
        classes: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.directory = directory
        self.log = directory / "kafka.log"
        self._protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **(listeners or {})}
        self._advertised = dict(advertised or {})
        self._config = dict(config or {})
        self._scram_users = dict(scram_users or {})
        self._cluster_id = cluster_id or new_cluster_id()
        self._classes = classes
        self._say = say
        self._ports = dict(zip(self._protocols, _free_ports(len(self._protocols)), strict=True))
        if port:
            self._ports["PLAINTEXT"] = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` of the PLAINTEXT listener."""
        return self.address("PLAINTEXT")

    @property
    def pid(self) -> int:
        """The node's process id while it is running, to send signals to."""
        if self._process is None:
            raise RuntimeError("Kafka is not running")
        return self._process.pid

    def address(self, listener: str) -> str:
        """``host:port`` at which a listener is bound."""
        return f"{HOST}:{self._ports[listener]}"

    def configure(self, config: Mapping[str, str]) -> None:
        """More broker settings, from the next start on."""
        self._config |= config

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, on the data that is there, and wait until it answers."""
        if self._process is not None:
            raise RuntimeError("Kafka is running already")
        properties = self._prepare()
        with self.log.open("ab") as log:
            self._process = guarded.start(
                self._java("kafka.Kafka", str(properties)), directory=self.directory, output=log
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough. Nothing if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL. Nothing if it is not running."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same data and ports."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            guarded.end(process, how, STOP_SECONDS)

    def _prepare(self) -> Path:
        """The configuration's file, and formatted storage."""
        properties = self.directory / "server.properties"
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "tmp").mkdir(exist_ok=True)
        (self.directory / "log4j2.properties").write_text(LOG_CONFIG)
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        if not (self.directory / "data" / "meta.properties").exists():
            command = [*self._java("kafka.tools.StorageTool", "format"), "-t", self._cluster_id, "-c", str(properties)]
            for name, password in self._scram_users.items():
                for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                    command += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
            done, output = _run(command, self.directory, FORMAT_SECONDS)
            if not done:
                raise Unreachable(f"Kafka's storage could not be made: {output[-LOG_TAIL_BYTES:].strip()}")
        return properties

    def _settings(self) -> dict[str, str]:
        public = [name for name in self._protocols if name != "CONTROLLER"]
        return {
            **BASE_CONFIG,
            "log.dirs": str(self.directory / "data"),
            "controller.quorum.voters": f"{NODE_ID}@{self.address('CONTROLLER')}",
            "listeners": ",".join(f"{name}://{self.address(name)}" for name in self._protocols),
            "advertised.listeners": ",".join(
                f"{name}://{self._advertised.get(name, self.address(name))}" for name in public
            ),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in self._protocols.items()),
            **self._config,
        }

    def _java(self, main: str, *arguments: str) -> list[str]:
        program = java()
        if program is None:
            raise Unreachable("there is no java to run Kafka with", hint=f"install Java {JAVA_VERSION} or later")
        options = [*JVM_OPTIONS, f"-Djava.io.tmpdir={self.directory / 'tmp'}"]
        options += [f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}"]
        classpath = [f"{fetch_jars(self._say)}/*", *([str(self._classes)] if self._classes else [])]
        return [program, *options, "-cp", os.pathsep.join(classpath), main, *arguments]

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self._ports["PLAINTEXT"]):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = f"ended with {self._process.returncode}" if ended else f"did not answer in {START_SECONDS:.0f} s"
                raise Unreachable(f"Kafka {what}; the end of its log:\n{_tail(self.log)}")
            time.sleep(0.05)


def _jars_directory() -> Path:
    return Path(platformdirs.user_cache_dir("csv2kafka"), f"kafka-{KAFKA_VERSION}")


def _java_version(program: str) -> int | None:
    """17 for ``openjdk version "17.0.15"``; None if it does not run."""
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file; the kernel gives it back when the holder ends. Unreachable after FETCH_SECONDS."""
    deadline = time.monotonic() + FETCH_SECONDS
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unreachable(f"another process holds {path} for {FETCH_SECONDS:.0f} s") from None
                time.sleep(0.1)
        yield


def _run(command: Sequence[str], directory: Path, seconds: float) -> tuple[bool, str]:
    """Run it to its end: whether it went well, and all it printed."""
    path = directory / f"output-{uuid.uuid4().hex}.log"
    try:
        with path.open("wb") as output:
            process = guarded.start(command, directory=directory, output=output)
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            guarded.end(process, signal.SIGKILL, STOP_SECONDS)
        return status == 0, path.read_text(errors="replace") + (
            "" if status is not None else f"\nno end in {seconds} s"
        )
    finally:
        path.unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    """Ports nothing is bound to now, all different."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            if len(ports) == count:
                break
            sock = held.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                sock.bind((HOST, port))
                ports.append(port)
        return ports


def _answers(port: int) -> bool:
    """Whether a Kafka there answers a Metadata request (v1, no topics) and names a broker."""
    body = struct.pack(">hhih4si", 3, 1, 1, 4, b"demo", 0)
    try:
        with socket.create_connection((HOST, port), timeout=2) as sock:
            sock.sendall(struct.pack(">i", len(body)) + body)
            with sock.makefile("rb") as answer:
                head = answer.read(12)  # length, correlation id, number of brokers
    except OSError:
        return False
    return len(head) == 12 and struct.unpack(">iii", head)[2] > 0


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()


def new_cluster_id() -> str:
    """A UUID as Kafka writes it; never with a leading dash, which its tools take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
