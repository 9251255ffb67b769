"""TLS and SASL options: what fits together, and what a failed handshake means."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aiokafka import errors as kafka_errors
from aiokafka.abc import AbstractTokenProvider

from csv2kafka.errors import ConfigError, Csv2KafkaError, NotAuthorized
from csv2kafka.kafka.security import Security, check_scram, likely_cause, refused_handshake, words
from csv2kafka.kafka.settings import client_settings
from tests.certificates import Authority

HERE = {"bootstrap_servers": "localhost:9092"}
LOGIN = {"sasl_plain_username": "me", "sasl_plain_password": "secret"}


def problems(**options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        client_settings(HERE | options)
    assert "secret" not in str(caught.value)
    return "\n".join(caught.value.problems)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_tls_checks_the_broker_unless_told_not_to_check_its_name(authority: Authority) -> None:
    options = {**HERE, "security_protocol": "SSL", "ssl_cafile": str(authority.certificate)}
    context = client_settings(options).security.context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    context = client_settings({**options, "ssl_check_hostname": "no"}).security.context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_a_context_can_be_given_ready() -> None:
    context = ssl.create_default_context()
    settings = client_settings({**HERE, "security_protocol": "SSL", "ssl_context": context})
    assert settings.security.arguments["ssl_context"] is context


def test_sasl_arguments_are_the_connections() -> None:
    settings = client_settings(
        {**HERE, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512", **LOGIN}
    )
    arguments = settings.security.arguments
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("me", "secret")


def test_a_login_needs_name_and_password() -> None:
    told = problems(security_protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-256")
    assert "sasl_plain_username): missing, and SCRAM-SHA-256 needs it" in told
    assert "sasl_plain_password): missing" in told


def test_credentials_without_sasl_are_a_mistake() -> None:
    told = problems(**LOGIN)
    assert told.count("without SASL it has no effect") == 2


def test_certificates_without_tls_are_a_mistake(authority: Authority) -> None:
    assert "without TLS it has no effect" in problems(ssl_cafile=str(authority.certificate))


def test_a_key_needs_its_certificate(authority: Authority) -> None:
    _, key = authority.sign("client")
    assert "a key is of no use without its certificate" in problems(security_protocol="SSL", ssl_keyfile=str(key))


def test_a_context_and_files_exclude_each_other(authority: Authority) -> None:
    told = problems(
        security_protocol="SSL", ssl_context=ssl.create_default_context(), ssl_cafile=str(authority.certificate)
    )
    assert "it stands for the other ssl_ options" in told


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_key_that_cannot_be_opened_never_asks_on_the_terminal(authority: Authority, password: str | None) -> None:
    certificate, key = authority.sign("client", password="of the key")
    told = problems(security_protocol="SSL", ssl_certfile=str(certificate), ssl_keyfile=str(key), ssl_password=password)
    assert "the certificates cannot be used" in told


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    assert "the certificates cannot be used" in problems(security_protocol="SSL", ssl_cafile=str(tmp_path / "ca.pem"))


def test_oauthbearer_needs_a_token_provider() -> None:
    assert "AbstractTokenProvider" in problems(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER")

    class Provider(AbstractTokenProvider):
        async def token(self) -> str:
            return "token"

    provider = Provider()
    settings = client_settings(
        {
            **HERE,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_provider": provider,
        }
    )
    assert settings.security.arguments["sasl_oauth_token_provider"] is provider


PLAIN = Security(protocol="PLAINTEXT", sasl={})


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (kafka_errors.SaslAuthenticationFailed("Authentication failed"), NotAuthorized, "Authentication failed"),
        (kafka_errors.UnsupportedSaslMechanismError(object()), ConfigError, "does not take"),
        (kafka_errors.IllegalSaslStateError(object()), ConfigError, "no SASL login"),
        (asyncio.IncompleteReadError(b"", 0x15030300), ConfigError, "speaks TLS"),
    ],
)
def test_what_waiting_does_not_help(error: Exception, kind: type[Csv2KafkaError], said: str) -> None:
    outer = kafka_errors.KafkaConnectionError("closed")
    outer.__cause__ = error
    for one in (error, outer):
        told = refused_handshake(one, "b1:9092", PLAIN)
        assert type(told) is kind
        assert "b1:9092" in told.message
        assert said in told.message


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError(),
        asyncio.IncompleteReadError(b"", 4),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        kafka_errors.KafkaConnectionError("closed"),
    ],
)
def test_what_may_pass(error: Exception) -> None:
    assert refused_handshake(error, "b1:9092", PLAIN) is None


@pytest.mark.parametrize(
    ("protocol", "guess"),
    [
        ("PLAINTEXT", "is TLS or SASL missing?"),
        ("SSL", "is SASL missing? is this listener without TLS?"),
        ("SASL_PLAINTEXT", "is TLS missing?"),
        ("SASL_SSL", "is this listener without TLS?"),
    ],
)
def test_guesses_at_why_a_server_hung_up(protocol: str, guess: str) -> None:
    assert likely_cause(asyncio.IncompleteReadError(b"", 4), protocol).startswith(guess)
    assert likely_cause(ConnectionRefusedError(), protocol) == ""
    assert likely_cause(TimeoutError(), protocol) == ""


def test_words_for_a_cause() -> None:
    late = TimeoutError()
    late.__cause__ = asyncio.CancelledError()
    assert words(late) == "no answer in time"
    assert words(kafka_errors.KafkaConnectionError("closed")) == "the connection was closed"
    assert words(ConnectionResetError()) == "the server closed the connection"
    assert words(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"


@pytest.mark.parametrize("in_memory", [True, False])
def test_certificates_and_keys_can_be_given_as_text(
    authority: Authority, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.delattr("os.memfd_create", raising=False)
    certificate, key = authority.sign("client", password="of the key")
    settings = client_settings(
        {
            **HERE,
            "security_protocol": "SSL",
            "ssl_cafile": authority.certificate.read_text(),
            "ssl_certfile": "\n" + certificate.read_text(),
            "ssl_keyfile": key.read_text(),
            "ssl_password": "of the key",
        }
    )
    context = settings.security.context
    assert context is not None
    (trusted,) = context.get_ca_certs()
    assert trusted["subject"] == ((("commonName", "authority"),),)


@pytest.mark.parametrize("password", [None, "wrong"])
@pytest.mark.parametrize("protocol", ["SSL", "PLAINTEXT"])
def test_a_key_given_as_text_is_in_no_error(authority: Authority, password: str | None, protocol: str) -> None:
    certificate, key = authority.sign("client", password="of the key")
    text = key.read_text()
    told = problems(
        security_protocol=protocol, ssl_certfile=certificate.read_text(), ssl_keyfile=text, ssl_password=password
    )
    assert "TLS" in told
    assert "-----BEGIN" not in told
    damaged = problems(security_protocol="SSL", ssl_certfile=certificate.read_text(), ssl_keyfile=text[:100])
    assert "the certificates cannot be used" in damaged
    assert text[40:60] not in damaged
    assert "-----BEGIN" not in problems(security_protocol="SSL", ssl_keyfile=text)


def test_what_is_secret_is_not_shown() -> None:
    settings = client_settings({**HERE, "security_protocol": "SASL_PLAINTEXT", **LOGIN})
    assert "secret" not in repr(settings)


MSK = {"bootstrap_servers": "b-1.orders.a1b2c3.c2.kafka.eu-west-1.amazonaws.com:9098", "sasl_mechanism": "AWS_MSK_IAM"}


def test_iam_is_oauthbearer_with_tokens_of_its_own() -> None:
    secured = client_settings({**MSK, "security_protocol": "SASL_SSL"}).security
    assert secured.mechanism == "AWS_MSK_IAM"
    assert secured.arguments["sasl_mechanism"] == "OAUTHBEARER"
    assert isinstance(secured.arguments["sasl_oauth_token_provider"], AbstractTokenProvider)


def test_iam_is_for_tls_only() -> None:
    assert "AWS_MSK_IAM is for TLS only" in problems(**MSK, security_protocol="SASL_PLAINTEXT")


def test_iam_needs_a_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    told = problems(security_protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM")
    assert "sasl_mechanism" in told
    assert "set AWS_REGION" in told


def test_iam_needs_its_signer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "aws-msk-iam-sasl-signer-python" in problems(**MSK, security_protocol="SASL_SSL")


def test_a_login_that_was_refused_is_hinted_at_by_its_mechanism() -> None:
    refused = kafka_errors.SaslAuthenticationFailed("no")
    for mechanism, hint in (("AWS_MSK_IAM", "kafka-cluster:Connect"), ("PLAIN", "sasl_plain_password")):
        told = refused_handshake(refused, "b1:9098", Security(protocol="SASL_SSL", mechanism=mechanism, sasl={}))
        assert told is not None
        assert hint in told.hint


def test_on_msk_the_ports_are_named() -> None:
    host = "b-1.orders.a1b2c3.c2.kafka.eu-west-1.amazonaws.com"
    assert "9098 is for AWS_MSK_IAM" in likely_cause(TimeoutError(), "SASL_SSL", host)
    assert "9098" not in likely_cause(TimeoutError(), "SASL_SSL", "broker.example.org")


@pytest.mark.parametrize("asked", ["0", "1", "4095", "1000001", "4294967295", "9" * 400, "-4096", "", "many", "4096 "])
def test_a_scram_server_that_asks_for_too_little_or_too_much(asked: str) -> None:
    """Billions would keep a thread at work for an hour, which nothing can end."""
    with pytest.raises(ConfigError, match=r"broker:9092: SASL: the server asks for .* iterations of SCRAM, expected"):
        check_scram(f"r=nonce,s=c2FsdA==,i={asked}".encode(), "broker:9092")


@pytest.mark.parametrize(
    "said", [b"r=n,s=c2FsdA==,i=4096", b"r=n,s=c2FsdA==,i=1000000", b"v=c2FsdA==", b"e=other", b""]
)
def test_what_a_scram_server_may_say(said: bytes) -> None:
    check_scram(said, "broker:9092")
