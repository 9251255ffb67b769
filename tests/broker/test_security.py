"""TLS, mutual TLS and SASL against a real broker: right and wrong, and what is said when it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import frozen

from csv2kafka.cli.local_kafka import LocalKafka
from csv2kafka.errors import ConfigError, Doubt, NotAuthorized, NotReachable
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.port import Isolation, TopicPartition
from tests.certificates import Authority
from tests.conftest import need_local_kafka
from tests.record_batches import batch, opened_producer, values

USER, PASSWORD = "writer", "correct-horse"
STRANGER = "stranger"
PLAIN_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}" user_{STRANGER}="{PASSWORD}";'
)
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
# A listener may be used by everyone the broker lets in; ``stranger`` may do nothing.
LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "NAMED": "SSL",  # its certificate is for another host
    "LOGIN": "SASL_PLAINTEXT",
    "LOGINTLS": "SASL_SSL",
}


@frozen
class Secured:
    """A broker with a listener of each kind, and the files to come in with."""

    node: LocalKafka
    authority: Authority
    other: Authority

    def settings(self, listener: str, **more: object) -> dict[str, object]:
        """For a listener, with its protocol and the authority that is right."""
        protocol = LISTENERS.get(listener, "PLAINTEXT")
        tls = {"ssl_cafile": str(self.authority.certificate)} if protocol.endswith("SSL") else {}
        return {
            "bootstrap_servers": self.node.address(listener),
            "security_protocol": protocol,
            "request_timeout_ms": 5000,
            **tls,
            **more,
        }


def broker_config(authority: Authority) -> Mapping[str, str]:
    right = authority.keystore("broker", hosts=("127.0.0.1",))
    named = authority.keystore("elsewhere", hosts=("broker.example.org",))
    config = {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.mutual.ssl.client.auth": "required",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER};User:CN=client;User:CN=broker",
    }
    for listener, store in (("tls", right), ("mutual", right), ("named", named), ("logintls", right)):
        config |= {
            f"listener.name.{listener}.ssl.keystore.type": "PEM",
            f"listener.name.{listener}.ssl.keystore.location": str(store),
            f"listener.name.{listener}.ssl.truststore.type": "PEM",
            f"listener.name.{listener}.ssl.truststore.location": str(authority.certificate),
        }
    for listener in ("login", "logintls"):
        config |= {
            f"listener.name.{listener}.plain.sasl.jaas.config": PLAIN_LOGIN,
            f"listener.name.{listener}.scram-sha-256.sasl.jaas.config": SCRAM_LOGIN,
            f"listener.name.{listener}.scram-sha-512.sasl.jaas.config": SCRAM_LOGIN,
        }
    return config


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    need_local_kafka()
    directory = tmp_path_factory.mktemp("secured")
    authority, other = Authority(directory / "right"), Authority(directory / "wrong", "other")
    users = {USER: PASSWORD, STRANGER: PASSWORD}
    with LocalKafka(
        directory / "kafka", config=broker_config(authority), listeners=LISTENERS, scram_users=users
    ) as node:
        yield Secured(node, authority, other)


async def works(settings: Mapping[str, object]) -> None:
    """Write and read a transaction, over a connection of each role."""
    async with broker_factory(settings)() as broker:
        await broker.create_topic("rows", partitions=1, config={})
        target = TopicPartition("rows", 0)
        start = (await broker.log_ends(target)).end
        producer = await opened_producer(broker, "job")
        await broker.add_partitions("job", producer, [target])
        large = bytes(range(256)) * 3000  # many TLS records
        await broker.produce(target, batch([large], producer, transactional=True), transactional_id="job")
        await broker.end_transaction("job", producer, commit=True)
        fetched = await broker.read(target, start, Isolation.READ_UNCOMMITTED, max_bytes=1 << 20)
        assert values(fetched.batches[0].data) == [large]


async def fails(settings: Mapping[str, object]) -> None:
    async with broker_factory(settings)():
        pass


def login(mechanism: str, name: str = USER, password: str = PASSWORD) -> dict[str, object]:
    return {"sasl_mechanism": mechanism, "sasl_plain_username": name, "sasl_plain_password": password}


async def test_tls(secured: Secured) -> None:
    await works(secured.settings("TLS"))


@pytest.mark.parametrize("key_password", ["", "of the key"])
async def test_mutual_tls(secured: Secured, key_password: str) -> None:
    certificate, key = secured.authority.sign("client", password=key_password)
    settings = secured.settings("MUTUAL", ssl_certfile=str(certificate), ssl_keyfile=str(key))
    await works(settings | ({"ssl_password": key_password} if key_password else {}))


async def test_certificates_and_key_as_text(secured: Secured) -> None:
    """As a store of secrets gives them."""
    certificate, key = secured.authority.sign("client", password="of the key")
    texts = {"ssl_certfile": certificate.read_text(), "ssl_keyfile": key.read_text(), "ssl_password": "of the key"}
    await works(secured.settings("MUTUAL", **texts) | {"ssl_cafile": secured.authority.certificate.read_text()})


@pytest.mark.parametrize("listener", ["LOGIN", "LOGINTLS"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_sasl(secured: Secured, listener: str, mechanism: str) -> None:
    await works(secured.settings(listener, **login(mechanism)))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize(("name", "password"), [(USER, "wrong"), ("nobody", PASSWORD)])
async def test_wrong_credentials_end_the_run(secured: Secured, mechanism: str, name: str, password: str) -> None:
    with pytest.raises(NotAuthorized, match=r"SASL: the broker refused to let us in: .*[Aa]uthentication") as caught:
        await fails(secured.settings("LOGIN", **login(mechanism, name, password)))
    assert "sasl_plain_password" in caught.value.hint
    assert password not in str(caught.value)


async def test_a_mechanism_the_broker_does_not_have_is_named(tmp_path: Path, secured: Secured) -> None:
    config = {**broker_config(secured.authority), "sasl.enabled.mechanisms": "PLAIN"}
    with LocalKafka(tmp_path / "kafka", config=config, listeners=LISTENERS) as node:
        settings = secured.settings("LOGIN", **login("SCRAM-SHA-256")) | {"bootstrap_servers": node.address("LOGIN")}
        with pytest.raises(ConfigError, match="does not take SCRAM-SHA-256 here"):
            await fails(settings)


async def test_an_authority_we_do_not_know_ends_the_run(secured: Secured) -> None:
    with pytest.raises(ConfigError, match="TLS: the broker's certificate is not accepted") as caught:
        await fails(secured.settings("TLS", ssl_cafile=str(secured.other.certificate)))
    assert "ssl_cafile" in caught.value.hint


async def test_a_certificate_for_another_host_ends_the_run_unless_that_is_allowed(secured: Secured) -> None:
    with pytest.raises(ConfigError, match=r"not accepted: .*127\.0\.0\.1"):
        await fails(secured.settings("NAMED"))
    await works(secured.settings("NAMED", ssl_check_hostname="false"))


async def test_no_client_certificate_where_one_is_wanted(secured: Secured) -> None:
    with pytest.raises(NotAuthorized, match="client's certificate") as caught:
        await fails(secured.settings("MUTUAL"))
    assert "ssl_certfile" in caught.value.hint


async def test_a_client_certificate_the_broker_does_not_trust(secured: Secured) -> None:
    certificate, key = secured.other.sign("client")
    with pytest.raises(NotAuthorized, match="client's certificate"):
        await fails(secured.settings("MUTUAL", ssl_certfile=str(certificate), ssl_keyfile=str(key)))


async def test_plain_text_to_a_tls_listener_is_recognised(secured: Secured) -> None:
    with pytest.raises(ConfigError, match="the broker speaks TLS here, and security_protocol is PLAINTEXT"):
        await fails(secured.settings("PLAINTEXT") | {"bootstrap_servers": secured.node.address("TLS")})


async def test_tls_to_a_plain_listener_is_guessed_at(secured: Secured) -> None:
    with pytest.raises(NotReachable, match=r"is this listener without TLS\?"):
        await fails(secured.settings("TLS") | {"bootstrap_servers": secured.node.address("PLAINTEXT")})


async def test_a_missing_login_is_guessed_at(secured: Secured) -> None:
    settings = secured.settings("PLAINTEXT") | {"bootstrap_servers": secured.node.address("LOGIN")}
    with pytest.raises(NotReachable, match=r"is TLS or SASL missing\?"):
        await fails(settings)


async def test_a_login_where_none_is_taken_ends_the_run(secured: Secured) -> None:
    settings = secured.settings("LOGIN", **login("PLAIN")) | {"bootstrap_servers": secured.node.address("PLAINTEXT")}
    with pytest.raises(ConfigError, match="takes no SASL login here"):
        await fails(settings)


async def test_a_user_who_may_do_nothing_is_told_what_is_missing(secured: Secured) -> None:
    await works(secured.settings("PLAINTEXT"))
    target = TopicPartition("rows", 0)
    async with broker_factory(secured.settings("LOGIN", **login("PLAIN", STRANGER)))() as broker:
        with pytest.raises(NotAuthorized) as describing:
            await broker.topic("rows")
        with pytest.raises(NotAuthorized) as ends:
            await broker.log_ends(target)
        with pytest.raises(NotAuthorized) as creating:
            await broker.create_topic("other", partitions=1, config={})
        with pytest.raises(NotAuthorized) as opening:
            await broker.init_producer("job", timeout_ms=60_000)
    assert "Describe on the topic" in describing.value.hint
    assert "kafka-cluster:DescribeTopic" in ends.value.hint
    assert "kafka-cluster:CreateTopic" in creating.value.hint
    assert "kafka-cluster:AlterTransactionalId" in opening.value.hint


async def test_a_broker_killed_under_tls_is_a_doubt_and_not_a_mistake_in_the_settings(
    tmp_path: Path, secured: Secured
) -> None:
    config = broker_config(secured.authority)
    with LocalKafka(tmp_path / "kafka", config=config, listeners=LISTENERS) as node:
        async with broker_factory(secured.settings("TLS") | {"bootstrap_servers": node.address("TLS")})() as broker:
            assert await broker.topic("rows") is None
            node.kill()
            with pytest.raises(Doubt) as caught:
                await broker.topic("rows")
    assert "TLS" not in caught.value.hint
