"""How the installed command ends when something is wrong: its exit code, and what it says."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import evolve
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.broker.command import Job
from tests.certificates import Authority
from tests.conftest import OwnKafka, create_topic
from tests.faults.installed import Installed, expected_values, write_csv
from tests.faults.proxy import FaultProxy

SECONDS = 60.0
ROWS = 100_000
ISO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@pytest.fixture
def job(bootstrap_servers: str, topic: str, tmp_path: Path) -> Job:
    """Its sixth row is bad: without an option it stops there, with five rows committed."""
    source = tmp_path / "rows.csv"
    source.write_bytes(b"id,name\n" + b"".join(b"%d,x\n" % row if row != 6 else b"6\n" for row in range(1, 11)))
    return Job(source=source, servers=bootstrap_servers, topic=topic, directory=tmp_path)


@pytest.fixture
def large(job: Job) -> Job:
    """Enough rows for a run of some seconds."""
    write_csv(job.source, ROWS)
    return job


class TestTopics:
    def test_a_dead_port_is_named(self, job: Job) -> None:
        with socket.socket() as bound:  # and not listening
            bound.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{bound.getsockname()[1]}"
            assert address in evolve(job, servers=address).run("--connect-timeout", "2", code=69)

    def test_a_missing_topic_is_made_if_asked(self, job: Job) -> None:
        job = evolve(job, topic=f"{job.topic}-missing")
        told = job.run("--on-bad-row", "skip", code=2)
        assert job.topic in told
        assert "--create-topic" in told
        job.run("--on-bad-row", "skip", "--create-topic")
        assert len(job.values()) == 9

    def test_a_topic_made_anew_amid_a_job(self, job: Job) -> None:
        job.run(code=65)
        admin = AdminClient({"bootstrap.servers": job.servers})
        admin.delete_topics([job.topic])[job.topic].result(SECONDS)
        while job.topic in admin.list_topics(timeout=SECONDS).topics:
            time.sleep(0.05)
        create_topic(job.servers, job.topic)
        produce(job, *[b"other"] * 20)  # so that it reaches as far as the one before
        told = job.run("--on-bad-row", "skip", code=70)
        assert f"topic {job.topic} is another one than the checkpoint's" in told
        assert job.values() == [b"other"] * 20


class TestVerify:
    def test_rows_that_are_missing_are_placed(self, job: Job) -> None:
        job.run(code=65)
        told = job.verify(code=65)
        assert re.search(r"row 7 \(\S*rows\.csv, line 8, byte 30\): is not in the topic", told), told
        assert "5 rows are committed" in told

    def test_a_record_of_others_between_the_rows(self, job: Job) -> None:
        job.run(code=65)
        before = len(job.rows())
        produce(job, b"foreign")
        (foreign,) = job.rows()[before:]
        job.run("--on-bad-row", "skip")
        assert f"the first at offset {foreign.offset}" in job.verify(code=65)

    def test_equal(self, job: Job) -> None:
        job.run("--on-bad-row", "skip")
        assert "9 rows" in job.verify()


def test_a_lease_that_is_held_is_told_with_since_when(job: Job) -> None:
    """The first waits for more input, so it is surely alive when the second looks."""
    job = evolve(job, source=Path("-"))
    first = Installed(
        ["run", "-", "-b", job.servers, "-t", job.topic, "--job", job.topic, "--progress", "json"], job.directory
    ).start(subprocess.PIPE)
    assert first.process.stdin is not None
    try:
        first.process.stdin.write(b"id\n1\n")
        first.process.stdin.flush()
        wait_for(lambda: '"session' in first.output, first)
        told = job.run("--job", job.topic, code=76)
        assert re.search(rf"process {first.process.pid} on .*, since {ISO_TIME}", told), told
    finally:
        first.process.stdin.close()
        first.end()


class TestSignals:
    """To a run whose broker has fallen silent, behind a proxy that passes nothing on any more."""

    async def test_a_second_interrupt_ends_it_at_once(self, large: Job) -> None:
        async with FaultProxy(large.servers) as proxy, amid(evolve(large, servers=proxy.bootstrap_servers)) as run:
            proxy.pause()
            await asyncio.sleep(0.5)
            run.signal(signal.SIGINT)
            await asyncio.sleep(0.5)
            assert run.process.poll() is None
            run.signal(signal.SIGINT)
            assert await asyncio.to_thread(run.end, 5) == 130, run.output[-3000:]  # the first alone: 9.5 s

    async def test_an_interrupt_ends_it_within_ten_seconds(self, large: Job) -> None:
        async with FaultProxy(large.servers) as proxy, amid(evolve(large, servers=proxy.bootstrap_servers)) as run:
            proxy.pause()
            await asyncio.sleep(0.5)
            run.signal(signal.SIGINT)
            assert await asyncio.to_thread(run.end, 10) == 75, run.output[-3000:]
            committed = run.committed_rows()
        assert 0 < committed <= len(await asyncio.to_thread(large.rows)) < ROWS
        await asyncio.to_thread(large.run)
        assert await asyncio.to_thread(lambda: large.values() == list(expected_values(large.source)))


def produce(job: Job, *values: bytes) -> None:
    """Records of somebody else in the job's topic."""
    producer = Producer({"bootstrap.servers": job.servers})
    for value in values:
        producer.produce(job.topic, value=value)
    assert producer.flush(SECONDS) == 0


@asynccontextmanager
async def amid(job: Job) -> AsyncIterator[Installed]:
    """A run that has committed rows and has many more commits to do."""
    run = job.start("--checkpoint-rows", "500", progress="json")
    try:
        await asyncio.to_thread(wait_for, lambda: run.committed_rows() > 0, run)
        yield run
    finally:
        run.kill()


def wait_for(done: Callable[[], bool], run: Installed) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert run.process.poll() is None, f"ended with {run.process.poll()}:\n{run.output[-3000:]}"
        assert time.monotonic() < deadline, run.output[-3000:]
        time.sleep(0.01)


def test_tls_and_scram_by_flags_and_by_file(job: Job, own_kafka: OwnKafka, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    listener = "listener.name.safe"
    node = own_kafka(
        listeners={"SAFE": "SASL_SSL"},
        scram_users={"writer": "correct-horse"},
        config={
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            f"{listener}.ssl.keystore.type": "PEM",
            f"{listener}.ssl.keystore.location": str(authority.keystore("broker", hosts=("127.0.0.1",))),
            f"{listener}.scram-sha-512.sasl.jaas.config": SCRAM_LOGIN,
        },
    )
    settings = {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(authority.certificate),
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "writer",
        "sasl_plain_password": "correct-horse",
    }
    flags = [part for name, value in settings.items() for part in ("--kafka", f"{name}={value}")]
    file = tmp_path / "csv2kafka.toml"
    file.write_text("[kafka]\n" + "".join(f'{name} = "{value}"\n' for name, value in settings.items()))
    for topic, options in (("flags", flags), ("file", ["--config", str(file)])):
        safe = evolve(job, servers=node.address("SAFE"), topic=topic)
        safe.run("--create-topic", "--on-bad-row", "skip", *options)
        assert len(evolve(safe, servers=node.bootstrap_servers).values()) == 9
        assert "9 rows" in safe.verify(*options)
    told = safe.run("--restart", *flags, "--kafka", "sasl_plain_password=wrong", code=2)
    assert "SASL" in told
    assert "wrong" not in told
