"""``csv2kafka check`` against a real broker: what it finds, that the run then ends alike, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from csv2kafka.cli.check import exit_code
from csv2kafka.cli.local_kafka import LocalKafka
from csv2kafka.config import RunConfig
from csv2kafka.errors import Csv2KafkaError, NotAuthorized
from csv2kafka.kafka import preflight
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import LogEnds, TopicPartition
from csv2kafka.model.findings import Finding
from csv2kafka.pipeline import Pipeline
from csv2kafka.preflight import Preflight
from tests.certificates import Authority
from tests.conftest import ADMIN_SECONDS, MakeTopic, create_topic, need_local_kafka
from tests.record_batches import batch

ROWS = b"id,name\n1,a\n2,b\n3,c\n"
CHECKPOINTS = "csv2kafka-checkpoints"
PASSWORD = "correct-horse"
USERS = [f"loader{number}" for number in range(8)]
LISTENERS = {"LOGIN": "SASL_PLAINTEXT", "TLS": "SSL"}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "a.csv"
    path.write_bytes(ROWS)
    return path


def config(csv: Path, servers: str, topic: str, **more: Any) -> RunConfig:
    """With a store beside the file, and a job named as the topic."""
    given: dict[str, Any] = {
        "sources": (str(csv),),
        "bootstrap_servers": servers,
        "topic": topic,
        "job": topic,
        "checkpoints": f"sqlite:///{csv.parent}/jobs.db",
        "connect_timeout": 2.0,
    }
    return RunConfig(**(given | more))


async def found(config: RunConfig) -> list[Finding]:
    return [finding async for finding in Preflight(config).findings()]


def named(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def failing(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.status == "fail"]


async def runs(config: RunConfig) -> int:
    """The run's exit code."""
    try:
        await Pipeline.from_config(config).run()
    except Csv2KafkaError as error:
        return error.exit_code
    return 0


async def seen_from_outside(servers: str, *topics: str) -> tuple[set[str], list[LogEnds]]:
    """All topics, and the ends of these logs."""
    listed = set(AdminClient({"bootstrap.servers": servers}).list_topics(timeout=ADMIN_SECONDS).topics)
    async with broker_factory({"bootstrap_servers": servers})() as broker:
        return listed, [await broker.log_ends(TopicPartition(topic, 0)) for topic in topics if topic in listed]


class TestLeavesNothingBehind:
    async def test_before_anything_is_there(self, bootstrap_servers: str, topic: str, csv: Path) -> None:
        given = config(
            csv,
            bootstrap_servers,
            f"{topic}-new",
            create_topic=True,
            checkpoint_topic=f"{topic}-checkpoints",
            completion_topic=f"{topic}-done",
            dead_letter_topic=f"{topic}-bad",
        )
        before = await seen_from_outside(bootstrap_servers, topic)
        findings = await found(given)
        assert failing(findings) == []
        for new in (given.topic, given.checkpoint_topic, given.completion_topic, given.dead_letter_topic):
            assert "a run makes it" in named(findings, f"topic {new}").message
        assert await seen_from_outside(bootstrap_servers, topic) == before
        assert await runs(given) == 0

    @pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
    async def test_amid_a_job(self, bootstrap_servers: str, topic: str, csv: Path, delivery: str) -> None:
        csv.write_bytes(ROWS + b"4\n")
        soon = {"request_timeout_ms": "1000"}  # a new run waits for one, at-least-once
        given = config(csv, bootstrap_servers, topic, delivery=delivery, kafka=soon)
        assert await runs(given) == 65
        before = await seen_from_outside(bootstrap_servers, topic, CHECKPOINTS)
        store = (csv.parent / "jobs.db").read_bytes()
        findings = await found(given)
        assert failing(findings) == ["first rows"]
        assert exit_code(findings) == 65
        assert named(findings, "job").message == f"{topic}: 3 rows are done; a run would go on at row 4"
        assert await seen_from_outside(bootstrap_servers, topic, CHECKPOINTS) == before
        assert (csv.parent / "jobs.db").read_bytes() == store
        skipping = config(csv, bootstrap_servers, topic, delivery=delivery, kafka=soon, on_bad_row="skip")
        assert await runs(skipping) == 0

    async def test_a_run_that_is_at_work_is_not_fenced(self, bootstrap_servers: str, topic: str, csv: Path) -> None:
        first = topic + "-first"
        await runs(config(csv, bootstrap_servers, first, create_topic=True))  # so that there are transactions
        target, run_id = TopicPartition(topic, 0), f"csv2kafka.{topic}"
        async with broker_factory({"bootstrap_servers": bootstrap_servers})() as broker:
            producer = await broker.init_producer(run_id, timeout_ms=60_000)
            await broker.add_partitions(run_id, producer, [target])
            await broker.produce(target, batch([b"row"], producer, transactional=True), transactional_id=run_id)
            findings = await found(config(csv, bootstrap_servers, topic))
            assert failing(findings) == []
            assert named(findings, "transactions").status == "pass"
            await broker.end_transaction(run_id, producer, commit=True)


class TestTopics:
    async def test_a_missing_topic_and_a_missing_partition(self, bootstrap_servers: str, topic: str, csv: Path) -> None:
        for given in (
            config(csv, bootstrap_servers, f"{topic}-missing"),
            config(csv, bootstrap_servers, topic, partition=7),
            config(csv, bootstrap_servers, topic, completion_topic=f"{topic}-missing"),
        ):
            assert exit_code(await found(given)) == 2
            assert await runs(given) == 2

    @pytest.mark.parametrize(
        ("settings", "options", "name", "status", "code"),
        [
            ({"cleanup.policy": "compact"}, {"key": "id"}, "cleanup.policy", "warn", 0),
            ({"cleanup.policy": "compact"}, {}, "cleanup.policy", "fail", 2),
            ({"retention.ms": "3600000"}, {}, "retention", "warn", 0),
            ({"retention.bytes": "1"}, {}, "retention", "warn", 0),
            ({"max.message.bytes": "60"}, {}, "max.message.bytes", "fail", 65),
            ({"max.message.bytes": "60"}, {"on_bad_row": "skip"}, "max.message.bytes", "warn", 0),
            ({}, {"max_record": 20_000_000}, "max.message.bytes", "warn", 0),
            ({"unclean.leader.election.enable": "true"}, {}, "unclean.leader.election.enable", "warn", 0),
        ],
    )
    async def test_settings(
        self,
        bootstrap_servers: str,
        make_topic: MakeTopic,
        csv: Path,
        settings: Mapping[str, str],
        options: Mapping[str, Any],
        name: str,
        status: str,
        code: int,
    ) -> None:
        topic = make_topic(config=settings)
        given = config(csv, bootstrap_servers, topic, **options)
        findings = await found(given)
        finding = named(findings, f"topic {topic}: {name}")
        assert finding.status == status
        assert finding.hint
        assert exit_code(findings) == code
        assert await runs(given) == code

    async def test_fewer_copies_than_must_be_in_sync(
        self, bootstrap_servers: str, make_topic: MakeTopic, csv: Path
    ) -> None:
        topic = make_topic(config={"min.insync.replicas": "2"})
        findings = await found(config(csv, bootstrap_servers, topic))
        assert failing(findings) == [f"topic {topic}: replication"]
        assert exit_code(findings) == 69

    async def test_a_checkpoint_topic_that_forgets(
        self, bootstrap_servers: str, topic: str, make_topic: MakeTopic, csv: Path
    ) -> None:
        forgets = make_topic(config={"cleanup.policy": "delete"})
        given = config(csv, bootstrap_servers, topic, checkpoint_topic=forgets)
        findings = await found(given)
        assert failing(findings) == [f"topic {forgets}: settings"]
        assert await runs(given) == exit_code(findings) == 2

    async def test_a_topic_made_anew_under_a_job(
        self, bootstrap_servers: str, make_topic: MakeTopic, csv: Path
    ) -> None:
        topic = make_topic()
        given = config(csv, bootstrap_servers, topic)
        assert await runs(given) == 0
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        admin.delete_topics([topic])[topic].result(ADMIN_SECONDS)
        gone = await found(given)
        assert "it was deleted" in named(gone, f"topic {topic}").message
        assert exit_code(gone) == 70
        create_topic(bootstrap_servers, topic)
        anew = await found(given)
        assert failing(anew) == [f"topic {CHECKPOINTS}: checkpoint"]
        assert await runs(given) == exit_code(anew) == 70

    async def test_the_checkpoint_topic_alone_knows_the_job(
        self, bootstrap_servers: str, topic: str, csv: Path
    ) -> None:
        given = config(csv, bootstrap_servers, topic, checkpoints="kafka://")
        assert await runs(given) == 0
        findings = await found(given)
        assert failing(findings) == []
        assert "complete: 3 rows" in named(findings, f"topic {CHECKPOINTS}: checkpoint").message
        assert "has none" in named(findings, "lease").message
        other = await found(config(csv, bootstrap_servers, topic, checkpoints="kafka://", format="raw"))
        assert exit_code(other) == 2


@frozen
class Guarded:
    """A broker that lets its users do only what is allowed to them."""

    node: LocalKafka
    authority: Authority

    def options(self, user: str) -> dict[str, str]:
        return {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": user,
            "sasl_plain_password": PASSWORD,
        }

    def allow(self, user: str, *rights: tuple[ResourceType, str, AclOperation]) -> None:
        """``rights``: on names that begin so."""
        bindings = [
            AclBinding(
                kind, name, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW
            )
            for kind, name, operation in rights
        ]
        admin = AdminClient({"bootstrap.servers": self.node.bootstrap_servers})
        for done in admin.create_acls(bindings).values():
            done.result(ADMIN_SECONDS)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    need_local_kafka()
    directory = tmp_path_factory.mktemp("guarded")
    authority = Authority(directory)
    store = authority.keystore("broker", hosts=("127.0.0.1",))
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in USERS)
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.login.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        ),
        "listener.name.tls.ssl.keystore.type": "PEM",
        "listener.name.tls.ssl.keystore.location": str(store),
    }
    with LocalKafka(directory / "kafka", config=settings, listeners=LISTENERS) as node:
        yield Guarded(node, authority)


READ, WRITE, CREATE = AclOperation.READ, AclOperation.WRITE, AclOperation.CREATE
DESCRIBE_CONFIGS = AclOperation.DESCRIBE_CONFIGS
TOPIC, ID = ResourceType.TOPIC, ResourceType.TRANSACTIONAL_ID
ALL = {
    (TOPIC, "rows", READ),
    (TOPIC, "rows", WRITE),
    (TOPIC, "rows", DESCRIBE_CONFIGS),
    (TOPIC, "marks", READ),
    (TOPIC, "marks", WRITE),
    (TOPIC, "marks", DESCRIBE_CONFIGS),
    (TOPIC, "marks", CREATE),
    (ID, "csv2kafka", WRITE),
}


class TestRights:
    """Each user lacks something. Topics ``rows-USER`` and ``marks-USER`` (the checkpoint topic)."""

    async def checked(
        self, guarded: Guarded, csv: Path, user: str, lacks: set[Any], *, made: bool = True
    ) -> tuple[list[Finding], RunConfig]:
        servers, rows, marks = guarded.node.bootstrap_servers, f"rows-{user}", f"marks-{user}"
        create_topic(servers, rows)
        if made:
            create_topic(servers, marks, config={"cleanup.policy": "compact"})
        create_topic(servers, f"other-{user}")
        other = config(csv, servers, f"other-{user}", checkpoint_topic=f"others-{user}", checkpoints="kafka://")
        assert await runs(other) == 0  # so that there are transactions
        guarded.allow(user, *(ALL - lacks))
        given = config(csv, guarded.node.address("LOGIN"), rows, checkpoint_topic=marks, kafka=guarded.options(user))
        before = await seen_from_outside(servers, rows, marks)
        findings = await found(given)
        assert await seen_from_outside(servers, rows, marks) == before
        return findings, given

    async def test_all_of_them(self, guarded: Guarded, csv: Path) -> None:
        findings, given = await self.checked(guarded, csv, USERS[0], set())
        assert failing(findings) == []
        assert "lets us in by PLAIN" in next(one for one in findings if one.name.startswith("broker")).message
        assert await runs(given) == 0

    @pytest.mark.parametrize(
        ("user", "lacks", "name", "says"),
        [
            (USERS[1], {(TOPIC, "rows", WRITE)}, f"topic rows-{USERS[1]}: rights", "may not Write"),
            (USERS[2], {(TOPIC, "marks", WRITE)}, f"topic marks-{USERS[2]}: rights", "may not Write"),
            (USERS[3], {(TOPIC, "rows", READ), (TOPIC, "rows", WRITE)}, f"topic rows-{USERS[3]}", "Describe on the"),
            (USERS[4], {(ID, "csv2kafka", WRITE)}, "transactions", "AlterTransactionalId"),
        ],
    )
    async def test_one_that_is_missing_is_found_and_stops_the_run(
        self, guarded: Guarded, csv: Path, user: str, lacks: set[Any], name: str, says: str
    ) -> None:
        if lacks & {(TOPIC, "rows", READ)}:
            lacks = lacks | {(TOPIC, "rows", DESCRIBE_CONFIGS)}
        findings, given = await self.checked(guarded, csv, user, lacks)
        finding = named(findings, name)
        assert finding.status == "fail"
        assert says in f"{finding.message} {finding.hint}"
        assert await runs(given) == exit_code(findings) == NotAuthorized.exit_code

    async def test_the_right_to_make_the_checkpoint_topic(self, guarded: Guarded, csv: Path) -> None:
        user = USERS[5]
        lacks = {(TOPIC, "marks", CREATE)}
        findings, given = await self.checked(guarded, csv, user, lacks, made=False)
        finding = named(findings, f"topic marks-{user}")
        assert finding.status == "fail"
        assert "kafka-cluster:CreateTopic" in finding.hint
        assert await runs(given) == exit_code(findings) == 2

    async def test_settings_that_may_not_be_described_stop_nobody(self, guarded: Guarded, csv: Path) -> None:
        user = USERS[6]
        lacks = {(TOPIC, "rows", DESCRIBE_CONFIGS), (TOPIC, "marks", DESCRIBE_CONFIGS)}
        findings, given = await self.checked(guarded, csv, user, lacks)
        assert named(findings, f"topic rows-{user}: settings").status == "not checked"
        assert named(findings, f"topic marks-{user}: settings").status == "not checked"
        assert failing(findings) == []
        assert await runs(given) == 0

    async def test_where_brokers_do_not_say_what_we_may_the_transaction_does(
        self, guarded: Guarded, csv: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("csv2kafka.kafka.client._operations", lambda _: None)
        user = USERS[7]
        findings, _ = await self.checked(guarded, csv, user, {(TOPIC, "rows", WRITE)})
        assert named(findings, f"topic rows-{user}: rights").status == "not checked"
        assert failing(findings) == ["transactions"]
        assert "Write on the topic" in named(findings, "transactions").hint
        assert exit_code(findings) == 2


async def test_tls_says_how_long_the_certificate_is_valid(guarded: Guarded, csv: Path) -> None:
    options = {"security_protocol": "SSL", "ssl_cafile": str(guarded.authority.certificate)}
    given = config(csv, guarded.node.address("TLS"), "nowhere", kafka=options)
    broker = next(one for one in await found(given) if one.name.startswith("broker"))
    assert broker.status == "warn"  # the test's authority signs for a day from now
    assert "its certificate is valid for 1 days" in broker.message


async def test_one_dead_server_of_two_is_no_failure(guarded: Guarded, csv: Path) -> None:
    servers = f"127.0.0.1:1,{guarded.node.bootstrap_servers}"
    dead, alive = [one for one in await found(config(csv, servers, "nowhere")) if one.name.startswith("broker")]
    assert (dead.status, alive.status) == ("warn", "pass")
    assert "another one answers" in dead.hint


async def test_a_wrong_password_fails_as_the_run_does(guarded: Guarded, csv: Path) -> None:
    options = guarded.options(USERS[0]) | {"sasl_plain_password": "wrong"}
    given = config(csv, guarded.node.address("LOGIN"), "nowhere", kafka=options)
    findings = await found(given)
    assert "refused to let us in" in next(one for one in findings if one.name.startswith("broker")).message
    assert await runs(given) == exit_code(findings) == 2


async def test_a_cluster_without_transactions_stays_so(tmp_path: Path, csv: Path) -> None:
    need_local_kafka()
    with LocalKafka(tmp_path / "kafka") as node:
        create_topic(node.bootstrap_servers, "rows")
        before = await seen_from_outside(node.bootstrap_servers, "rows")
        findings = await found(config(csv, node.bootstrap_servers, "rows"))
        assert named(findings, "transactions").status == "not checked"
        assert preflight.TRANSACTION_LOG in named(findings, "transactions").message
        assert await seen_from_outside(node.bootstrap_servers, "rows") == before
