"""Client options: what is taken, how it is converted, and that all that is wrong is said at once."""

from __future__ import annotations

import pytest

from csv2kafka.errors import ConfigError
from csv2kafka.kafka.client import broker_factory
from csv2kafka.kafka.settings import OPTIONS, client_settings

HERE = {"bootstrap_servers": "localhost:9092"}


def test_defaults() -> None:
    settings = client_settings(HERE)
    assert settings.servers == (("localhost", 9092),)
    assert (settings.client_id, settings.request_seconds, settings.connect_seconds) == ("csv2kafka", 30.0, 10.0)
    assert settings.security.arguments == {"security_protocol": "PLAINTEXT", "ssl_context": None}


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ("b1:1,b2:2", (("b1", 1), ("b2", 2))),
        (" b1:1 , b2 ", (("b1", 1), ("b2", 9092))),
        (["b1:1", "b2:2"], (("b1", 1), ("b2", 2))),
        ("[::1]:9093", (("::1", 9093),)),
    ],
)
def test_bootstrap_servers(given: object, servers: object) -> None:
    assert client_settings({"bootstrap_servers": given}).servers == servers


@pytest.mark.parametrize("given", ["", "b1:0", "b1:70000", "b1:port", "b1:1,,b2:2", "::1", None, 5, [5]])
def test_bootstrap_servers_that_are_none(given: object) -> None:
    with pytest.raises(ConfigError, match="--bootstrap-servers: expected brokers such as"):
        client_settings({"bootstrap_servers": given})


def test_texts_are_converted_and_values_are_taken_as_they_are() -> None:
    for value in ("5000", 5000):
        assert client_settings({**HERE, "request_timeout_ms": value}).request_seconds == 5.0
    assert client_settings({**HERE, "request_timeout_ms": 2000}).connect_seconds == 2.0


def test_all_problems_are_told_at_once_with_all_their_names() -> None:
    with pytest.raises(ConfigError) as caught:
        broker_factory(
            {
                "bootstrap_servers": "here:",
                "request_timeout_ms": "soon",
                "securty_protocol": "SSL",
                "sasl_plain_password": "secret",
                "ssl_cafile": "/not/there",
            }
        )
    problems = caught.value.problems
    assert len(problems) == 5
    assert any(
        "--kafka request_timeout_ms=… (environment CSV2KAFKA_KAFKA_REQUEST_TIMEOUT_MS, "
        "file key [kafka] request_timeout_ms): expected a whole number" in problem
        for problem in problems
    )
    (unknown,) = [problem for problem in problems if "no such option" in problem]
    assert "did you mean security_protocol?" in unknown
    assert all(name in unknown for name in OPTIONS)
    assert "secret" not in str(caught.value)


def test_options_of_aiokafka_that_mean_nothing_here_are_taken() -> None:
    client_settings({**HERE, "metadata_max_age_ms": 5, "connections_max_idle_ms": "none", "api_version": "auto"})
