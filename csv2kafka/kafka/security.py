"""TLS and SASL: what the options ask for, put together and checked before anything is connected to.

Also what a failed handshake means: a wrong password or certificate cannot pass by waiting, so these end a run.

``AWS_MSK_IAM`` is OAUTHBEARER on the wire, with tokens of ``aws/msk.py``. Certificates and keys are files, or their
text (PEM), as a store of secrets gives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiokafka.errors as kafka_errors
from aiokafka.abc import AbstractTokenProvider
from aiokafka.helpers import create_ssl_context
from attrs import field, frozen

from csv2kafka.errors import ConfigError, Csv2KafkaError, NotAuthorized

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
IAM = "AWS_MSK_IAM"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", IAM, "GSSAPI")
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

_PEM = "-----BEGIN"
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
_MSK_PORTS = "on Amazon MSK, port 9098 is for AWS_MSK_IAM, 9096 for SCRAM, 9094 for TLS, 9092 without (public: 9198, …)"

# RFC 7677 and Kafka itself have no fewer; Kafka takes no more than 16,384 of a user, others somewhat more. A million
# take a second. Without a bound the server says for how long we work, in a thread that cannot be ended; and few let
# whoever plays the server try passwords on our answer quickly.
SCRAM_ITERATIONS = range(4096, 1_000_001)

_PASSWORD_HINT = "check --kafka sasl_plain_username, sasl_plain_password and sasl_mechanism"  # noqa: S105
_LOGIN_HINTS = {
    IAM: "see that this role or user may kafka-cluster:Connect on this cluster, that AWS_REGION is the cluster's, and "
    "that this machine's clock is right",
    "OAUTHBEARER": "see that the broker trusts the token's issuer, and that the token is for it and has not expired",
    "GSSAPI": "see that there is a Kerberos ticket, and check --kafka sasl_kerberos_service_name",
}

# A TLS server answers plain text with an alert record (type 21, version 3.x); read as Kafka's length it is this.
_TLS_ALERT_AS_LENGTH = range(0x15030000, 0x15030500)
# OpenSSL's reasons for: the server wants a certificate, or does not like the one it got.
_CLIENT_CERTIFICATE_REASONS = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE", "ALERT_UNKNOWN_CA")


@frozen(kw_only=True)
class Security:
    """How connections are secured; ``arguments`` are the connection's, by aiokafka's names.

    ``mechanism``: how to log in, as it was asked for; empty without SASL.
    """

    protocol: str
    mechanism: str = ""
    context: ssl.SSLContext | None = None
    sasl: Mapping[str, Any] = field(repr=False)  # there are secrets in it

    @property
    def arguments(self) -> dict[str, Any]:
        return {"security_protocol": self.protocol, "ssl_context": self.context, **self.sasl}


def security(values: Mapping[str, Any], hosts: Sequence[str], label: Callable[[str], str]) -> Security:
    """From the options' values; ``label`` names an option for errors. Reads the certificates' files.

    ``hosts``: the bootstrap servers', which may name an AWS region. Raises ConfigError with all problems.
    """
    problems = [*_tls_problems(values, label), *_sasl_problems(values, label)]
    protocol, mechanism = values["security_protocol"], values["sasl_mechanism"]
    context = values["ssl_context"]
    if _has_tls(protocol) and context is None and not problems:
        try:
            context = _context(values)
        except (ssl.SSLError, OSError, ValueError) as error:
            problems.append(f"TLS: the certificates cannot be used: {error}")
    sasl: dict[str, Any] = {}
    if _has_sasl(protocol) and not problems:
        sasl = {name: values[name] for name in values if name.startswith("sasl_")}
        if mechanism == IAM:
            try:
                sasl |= _iam(hosts)
            except ConfigError as error:
                problems.append(f"{label('sasl_mechanism')}: {error}")
    if problems:
        raise ConfigError(*problems)
    return Security(
        protocol=protocol,
        mechanism=mechanism if sasl else "",
        context=context if _has_tls(protocol) else None,
        sasl=sasl,
    )


def _iam(hosts: Sequence[str]) -> dict[str, Any]:
    """What AWS_MSK_IAM is for a connection."""
    from csv2kafka.aws.msk import MskTokens, region_of  # late: for those who use it

    AbstractTokenProvider.register(MskTokens)
    return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": MskTokens(region_of(hosts))}


def _has_tls(protocol: str) -> bool:
    return protocol in ("SSL", "SASL_SSL")


def _has_sasl(protocol: str) -> bool:
    return protocol in ("SASL_PLAINTEXT", "SASL_SSL")


def _tls_problems(values: Mapping[str, Any], label: Callable[[str], str]) -> Iterator[str]:
    files = [name for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile") if values[name] is not None]
    given = [*files, *(name for name in ("ssl_password", "ssl_context") if values[name] is not None)]
    if not _has_tls(values["security_protocol"]):
        for name in given:
            yield f"{label(name)}: without TLS it has no effect; expected {label('security_protocol')} SSL or SASL_SSL"
        return
    if values["ssl_context"] is not None and len(given) > 1:
        yield f"{label('ssl_context')}: it stands for the other ssl_ options; give one or the other"
    if values["ssl_context"] is not None and not isinstance(values["ssl_context"], ssl.SSLContext):
        yield f"{label('ssl_context')}: expected an ssl.SSLContext, found {values['ssl_context']!r}"
    if values["ssl_keyfile"] is not None and values["ssl_certfile"] is None:
        yield f"{label('ssl_keyfile')}: a key is of no use without its certificate, {label('ssl_certfile')}"
    for name in files:
        if not _is_text(values[name]) and not Path(values[name]).is_file():
            yield f"{label(name)}: no such file: {values[name]!r}"


def _sasl_problems(values: Mapping[str, Any], label: Callable[[str], str]) -> Iterator[str]:
    mechanism = values["sasl_mechanism"]
    credentials = ("sasl_plain_username", "sasl_plain_password")
    if not _has_sasl(values["security_protocol"]):
        for name in credentials:
            if values[name] is not None:
                yield (
                    f"{label(name)}: without SASL it has no effect; "
                    f"expected {label('security_protocol')} SASL_SSL or SASL_PLAINTEXT"
                )
        return
    if mechanism in PASSWORD_MECHANISMS:
        for name in credentials:
            if values[name] is None:
                yield f"{label(name)}: missing, and {mechanism} needs it"
    provider = values["sasl_oauth_token_provider"]
    if mechanism == "OAUTHBEARER" and not isinstance(provider, AbstractTokenProvider):
        wanted = "an aiokafka.abc.AbstractTokenProvider"
        yield f"{label('sasl_oauth_token_provider')}: expected {wanted}, found {provider!r}"
    if mechanism == IAM and not _has_tls(values["security_protocol"]):
        yield f"{label('sasl_mechanism')}: {IAM} is for TLS only; expected {label('security_protocol')} SASL_SSL"
    if mechanism == IAM and importlib.util.find_spec("aws_msk_iam_sasl_signer") is None:
        yield f"{label('sasl_mechanism')}: {IAM} needs the package aws-msk-iam-sasl-signer-python, not installed"
    if mechanism == "GSSAPI" and importlib.util.find_spec("gssapi") is None:
        yield f"{label('sasl_mechanism')}: GSSAPI needs the package gssapi, which is not installed"


def _context(values: Mapping[str, Any]) -> ssl.SSLContext:
    authority = values["ssl_cafile"]
    # A callable, because OpenSSL asks on the terminal for a password it was not given.
    password = values["ssl_password"] or ""
    with _file(values["ssl_certfile"]) as certificate, _file(values["ssl_keyfile"]) as key:
        context = create_ssl_context(
            **{"cadata" if _is_text(authority) else "cafile": authority},
            certfile=certificate,
            keyfile=key,
            password=lambda: password,
        )
    context.check_hostname = values["ssl_check_hostname"]
    return context


def _is_text(value: str | None) -> bool:
    """Whether it is a certificate or key itself, not the path of one."""
    return value is not None and value.lstrip().startswith(_PEM)


@contextlib.contextmanager
def _file(value: str | None) -> Iterator[str | None]:
    """A path at which it can be read, now: ssl takes certificates and keys from files alone.

    In memory where the system has such files; there may be no disk to write to, and a key is better not on one.
    """
    if value is None or not _is_text(value):
        yield value
    elif hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("pem"), "wb") as file:
            file.write(value.encode())
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:  # for this user alone
            file.write(value.encode())
            file.flush()
            yield file.name


def refused_handshake(error: BaseException, address: str, secured: Security) -> Csv2KafkaError | None:
    """What a connection's failure means, where waiting does not help; None where it may pass."""
    for cause in _causes(error):
        told = _refused_tls(cause, address, secured) or _refused_login(cause, address, secured)
        if told is not None:
            return told
    return None


def check_scram(said: bytes, address: str) -> None:
    """ConfigError if the first thing a SCRAM server said asks for too little work, or too much (RFC 5802, 5.1)."""
    for part in said.split(b","):
        if not part.startswith(b"i="):
            continue
        digits = part[2:]
        asked = int(digits) if digits.isdigit() and len(digits) <= 9 else None
        if asked not in SCRAM_ITERATIONS:
            raise ConfigError(
                f"{address}: SASL: the server asks for {digits[:20].decode(errors='backslashreplace')} iterations of "
                f"SCRAM, expected {SCRAM_ITERATIONS[0]:,} to {SCRAM_ITERATIONS[-1]:,}",
                hint="see that this is your broker; if it is, set the user's password anew with iterations=8192",
            )


def likely_cause(error: BaseException, protocol: str, host: str = "") -> str:
    """A guess at why a server hung up on us, or is not there; empty without one."""
    guesses = []
    if _hung_up(error):
        missing = [name for name, has in (("TLS", _has_tls), ("SASL", _has_sasl)) if not has(protocol)]
        guesses += [f"is {' or '.join(missing)} missing?"] if missing else []
        guesses += ["is this listener without TLS?"] if _has_tls(protocol) else []
        guesses.append("(--kafka security_protocol=…)")
    if host.endswith(_AMAZON):
        guesses.append(_MSK_PORTS)
    return " ".join(guesses)


def _hung_up(error: BaseException) -> bool:
    causes = [*_causes(error)]
    refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
    return not refused and any(isinstance(cause, (asyncio.IncompleteReadError, ConnectionError)) for cause in causes)


def words(error: BaseException) -> str:
    """The innermost cause in a few words."""
    causes = [*_causes(error)]
    cause = causes[-1]
    if isinstance(cause, asyncio.IncompleteReadError) or (isinstance(cause, ConnectionError) and not str(cause)):
        return "the server closed the connection"
    if isinstance(cause, kafka_errors.KafkaConnectionError):
        return "the connection was closed"
    if any(isinstance(one, TimeoutError) and not str(one) for one in causes):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        if cause.errno and cause.strerror.startswith("Connect call failed"):  # asyncio's: the address, not the reason
            return os.strerror(cause.errno)
        return cause.strerror
    return str(cause) or type(cause).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _refused_tls(error: BaseException, address: str, secured: Security) -> Csv2KafkaError | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"{address}: TLS: the broker's certificate is not accepted: {error.verify_message or error}",
            hint="name the authority that signed it with --kafka ssl_cafile=FILE, and the host as the certificate does",
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        reason = error.reason or ""
        if any(sign in reason for sign in _CLIENT_CERTIFICATE_REASONS):
            return NotAuthorized(
                f"{address}: TLS: the broker does not accept this client's certificate, or asks for one: {reason}",
                hint="set --kafka ssl_certfile=FILE and ssl_keyfile=FILE to what the broker trusts",
            )
        return ConfigError(
            f"{address}: TLS: {reason or error}", hint="is this listener without TLS? (--kafka security_protocol=…)"
        )
    if getattr(error, "expected", None) in _TLS_ALERT_AS_LENGTH:
        wanted = "SASL_SSL" if _has_sasl(secured.protocol) else "SSL or SASL_SSL"
        return ConfigError(
            f"{address}: the broker speaks TLS here, and security_protocol is {secured.protocol}",
            hint=f"set --kafka security_protocol={wanted}",
        )
    return None


def _refused_login(error: BaseException, address: str, secured: Security) -> Csv2KafkaError | None:
    mechanism = secured.mechanism
    if isinstance(error, kafka_errors.SaslAuthenticationFailed):
        told = ", ".join(str(argument) for argument in error.args if argument)
        return NotAuthorized(
            f"{address}: SASL: the broker refused to let us in: {told or 'authentication failed'}",
            hint=_LOGIN_HINTS.get(mechanism, _PASSWORD_HINT),
        )
    if isinstance(error, kafka_errors.UnsupportedSaslMechanismError):
        others = ", ".join(one for one in MECHANISMS if one != mechanism)
        return ConfigError(
            f"{address}: SASL: the broker does not take {mechanism} here",
            hint=f"set --kafka sasl_mechanism to what it takes: one of {others}",
        )
    if isinstance(error, kafka_errors.IllegalSaslStateError):
        return ConfigError(
            f"{address}: the broker takes no SASL login here", hint="set --kafka security_protocol without SASL"
        )
    return None
