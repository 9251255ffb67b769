"""The options of the Kafka client, by aiokafka's names: one table, checked when a factory is built.

What comes in is text (``--kafka KEY=VALUE``), TOML values, or objects from a library user. What goes out is a
``ClientSettings`` in which everything fits together, or one ConfigError with all problems.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from csv2kafka.config.kinds import Kind, choice, count, optional, switch
from csv2kafka.config.option import did_you_mean
from csv2kafka.errors import ConfigError
from csv2kafka.kafka.security import MECHANISMS, PROTOCOLS, Security, security

CLIENT_ID = "csv2kafka"
REQUEST_TIMEOUT_MS = 30_000  # as Kafka's own clients; below the 60 s of a transaction
CONNECT_SECONDS = 10.0  # for a connection with TLS, SASL and all; a host that is away says nothing
DEFAULT_PORT = 9092

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:,\[\]]+))(?::(?P<port>\d{1,5}))?")


@frozen(kw_only=True)
class ClientOption:
    """An option. ``used`` is False for those that are taken so that an aiokafka set-up can be given as it is."""

    kind: Kind
    about: str
    default: Any = None
    used: bool = True


def _anything(metavar: str, expected: str, kind: type) -> Kind:
    def parse(raw: Any) -> Any:
        if not isinstance(raw, kind) or raw == "":
            raise ValueError(f"expected {expected}, found {raw!r}")
        return raw

    return Kind(metavar=metavar, expected=expected, parse=parse)


def _text(metavar: str, expected: str) -> Kind:
    return optional(_anything(metavar, expected, str))


_FILE = _text("FILE|PEM", "a file's path, or its text from -----BEGIN on")
_OBJECT = optional(_anything("OBJECT", "an object, from Python only", object))
_MILLISECONDS = count("MS", 0, 2**31 - 1)

OPTIONS: Mapping[str, ClientOption] = {
    "bootstrap_servers": ClientOption(
        kind=_anything("HOST:PORT,...", "brokers such as broker1:9092,broker2:9092", object),
        about="Brokers to begin with.",
    ),
    "client_id": ClientOption(
        kind=_anything("NAME", "a name", str), about="How brokers name this client in their logs.", default=CLIENT_ID
    ),
    "request_timeout_ms": ClientOption(
        kind=count("MS", 1000, 600_000),  # below a second a broker under load looks like one that is away
        about="How long an answer may take before its outcome counts as unknown.",
        default=REQUEST_TIMEOUT_MS,
    ),
    "retry_backoff_ms": ClientOption(
        kind=count("MS", 10, 60_000),
        about="Longest pause between two looks for a topic that was just created.",
        default=100,
    ),
    "security_protocol": ClientOption(
        kind=choice(*PROTOCOLS), about="Whether TLS and SASL are used.", default="PLAINTEXT"
    ),
    "ssl_cafile": ClientOption(kind=_FILE, about="Certificates (PEM) of who may vouch for brokers; else the system's."),
    "ssl_certfile": ClientOption(kind=_FILE, about="This client's certificate (PEM), for mutual TLS."),
    "ssl_keyfile": ClientOption(kind=_FILE, about="Its private key (PEM), if that is not in the same file."),
    "ssl_password": ClientOption(kind=_text("TEXT", "a password"), about="The private key's password."),
    "ssl_check_hostname": ClientOption(
        kind=switch(), about="Whether a broker's certificate must name its host.", default=True
    ),
    "ssl_context": ClientOption(kind=_OBJECT, about="A ready ssl.SSLContext, instead of the files."),
    "sasl_mechanism": ClientOption(
        kind=choice(*MECHANISMS), about="How to log in. AWS_MSK_IAM: as AWS's role or user.", default="PLAIN"
    ),
    "sasl_plain_username": ClientOption(kind=_text("NAME", "a user's name"), about="Who logs in (PLAIN, SCRAM)."),
    "sasl_plain_password": ClientOption(kind=_text("TEXT", "a password"), about="The password (PLAIN, SCRAM)."),
    "sasl_oauth_token_provider": ClientOption(
        kind=_OBJECT, about="An aiokafka.abc.AbstractTokenProvider, for OAUTHBEARER."
    ),
    "sasl_kerberos_service_name": ClientOption(
        kind=_text("NAME", "a service's name"), about="The brokers' Kerberos service.", default="kafka"
    ),
    "sasl_kerberos_domain_name": ClientOption(kind=_text("NAME", "a domain"), about="The brokers' Kerberos domain."),
    # A session has connections of its own, which are never closed for being idle nor opened again, asks who
    # leads when it begins, and learns a broker's versions from the broker.
    "connections_max_idle_ms": ClientOption(kind=optional(_MILLISECONDS), about="Without effect.", used=False),
    "metadata_max_age_ms": ClientOption(kind=_MILLISECONDS, about="Without effect.", used=False),
    "api_version": ClientOption(kind=_text("VERSION", "a version"), about="Without effect.", used=False),
}


@frozen(kw_only=True)
class ClientSettings:
    """What a client needs. ``servers``: (host, port) of the bootstrap servers, as given."""

    servers: tuple[tuple[str, int], ...]
    client_id: str
    request_seconds: float
    poll_seconds: float
    security: Security

    @property
    def connect_seconds(self) -> float:
        """How long opening a connection may take."""
        return min(CONNECT_SECONDS, self.request_seconds)


def client_settings(given: Mapping[str, Any]) -> ClientSettings:
    """Check and convert. Raises ConfigError with all problems at once."""
    problems = [
        f"{_label(name)}: no such option{did_you_mean(name, list(OPTIONS))} (known: {', '.join(sorted(OPTIONS))})"
        for name in given
        if name not in OPTIONS
    ]
    values: dict[str, Any] = {name: said.default for name, said in OPTIONS.items()}
    for name, raw in given.items():
        if name in OPTIONS:
            try:
                values[name] = OPTIONS[name].kind.parse(raw)
            except ValueError as error:
                problems.append(f"{_label(name)}: {_without_secret(name, error)}")
    servers: tuple[tuple[str, int], ...] = ()
    try:
        servers = _addresses(values["bootstrap_servers"])
    except ValueError as error:
        problems.append(f"--bootstrap-servers: {error}")
    secured: Security | None = None
    try:
        secured = security(values, [host for host, _ in servers], _label)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems or secured is None:
        raise ConfigError(*problems)
    return ClientSettings(
        servers=servers,
        client_id=values["client_id"],
        request_seconds=values["request_timeout_ms"] / 1000,
        poll_seconds=values["retry_backoff_ms"] / 1000,
        security=secured,
    )


def _addresses(given: Any) -> tuple[tuple[str, int], ...]:
    """``b1:9092,[::1]:9093`` or a list of such, to pairs."""
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, (list, tuple)) or not parts:
        raise ValueError("expected brokers such as broker1:9092,broker2:9092, found none")
    found = []
    for part in parts:
        match = _ADDRESS.fullmatch(part.strip()) if isinstance(part, str) else None
        port = int(match["port"] or DEFAULT_PORT) if match else 0
        if match is None or not 0 < port < 65536:
            raise ValueError(f"expected brokers such as broker1:9092,broker2:9092, found {part!r}")
        found.append((match["v6"] or match["host"], port))
    return tuple(found)


def _label(name: str) -> str:
    """How errors name an option: flag, variable and TOML key."""
    return f"--kafka {name}=… (environment CSV2KAFKA_KAFKA_{name.upper()}, file key [kafka] {name})"


def _without_secret(name: str, error: ValueError) -> str:
    return str(error).partition(", found")[0] if "password" in name or name == "ssl_keyfile" else str(error)
