"""Values from Secrets Manager and from the SSM parameter store, by reference.

    secretsmanager://NAME        the whole secret; NAME may be an ARN, of another region too
    secretsmanager://NAME#key    one value of a secret that is a JSON object
    ssm://NAME                   a parameter, decrypted (ssm:///prod/kafka for the name /prod/kafka); #key as above

``load(RunConfig, …, resolve=secrets.resolve)`` takes them in any option; ``secret`` gives one to a program.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from attrs import frozen
from botocore.exceptions import ClientError

from csv2kafka.aws.client import DENIED, AwsClient, code_of, explained, not_aws
from csv2kafka.errors import ConfigError, Doubt, NotAuthorized, Unreachable

PATIENCE_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
SECRETS_MANAGER, SSM = "secretsmanager", "ssm"
MISSING = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})
KEY_REFUSED = frozenset({"DecryptionFailure", "InvalidKeyId"})

_log = logging.getLogger(__name__)


@frozen
class _Name:
    """What a reference names: a secret or parameter of a service, for the picking of ``key`` (empty: all of it)."""

    service: str
    name: str
    key: str

    @property
    def region(self) -> str | None:
        """That of an ARN; None: the one that botocore finds."""
        parts = self.name.split(":")
        return parts[3] or None if parts[0] == "arn" and len(parts) > 5 else None


@frozen
class _Found:
    text: str
    secret: bool


def resolve(
    references: Collection[str], *, hide: Callable[[str], None] = lambda _: None
) -> dict[str, str | ConfigError]:
    """``fetch`` for callers without a loop. A running one would wait for it: ``await asyncio.to_thread(load, …)``."""
    if asyncio._get_running_loop() is None:
        return asyncio.run(fetch(references, hide=hide))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, fetch(references, hide=hide)).result()


async def secret(reference: str) -> str:
    """What one reference gives. Raises ConfigError, or Unreachable."""
    found = (await fetch([reference]))[reference]
    if isinstance(found, ConfigError):
        raise found
    return found


async def fetch(
    references: Collection[str],
    *,
    hide: Callable[[str], None] = lambda _: None,
    patience: float = PATIENCE_SECONDS,
) -> dict[str, str | ConfigError]:
    """What each gives, or why it gives nothing: no such secret, no permission, no such key in it.

    Each secret is asked for once, however many of its keys are. ``hide`` is told the values that are secret: all but
    parameters of type String. Unreachable when a service has not answered for ``patience`` seconds.
    """
    given: dict[str, str | ConfigError] = {}
    names: dict[str, _Name] = {}
    for reference in references:
        try:
            names[reference] = _parsed(reference)
        except ConfigError as error:
            given[reference] = error
    found = await _all(list(dict.fromkeys((name.service, name.name) for name in names.values())), patience)
    for reference, name in names.items():
        whole = found[name.service, name.name]
        if isinstance(whole, ConfigError):
            given[reference] = whole
            continue
        try:
            value = _picked(whole.text, name.key, reference)
        except ConfigError as error:
            given[reference] = error
            continue
        given[reference] = value
        if whole.secret:
            hide(value)
    return given


def _parsed(reference: str) -> _Name:
    service, _, rest = reference.partition("://")
    name, hash_, key = rest.partition("#")
    if service not in (SECRETS_MANAGER, SSM) or not name or (hash_ and not key):
        raise ConfigError(f"expected {SECRETS_MANAGER}://NAME, …#KEY or {SSM}://NAME, found {reference!r}")
    return _Name(service, name, key)


async def _all(wanted: Collection[tuple[str, str]], patience: float) -> Mapping[tuple[str, str], _Found | ConfigError]:
    """One client for each service and region, all secrets at once."""
    clients: dict[tuple[str, str | None], AwsClient] = {}

    async def one(service: str, name: str) -> _Found:
        region = _Name(service, name, "").region
        if (service, region) not in clients:
            clients[service, region] = AwsClient(service, region=region, connect_seconds=3.0, read_seconds=5.0)
        return await _patiently(clients[service, region], service, name, patience)

    try:
        found = await asyncio.gather(*(one(*key) for key in wanted), return_exceptions=True)
    finally:
        for client in clients.values():
            await client.close()
    for result in found:
        if isinstance(result, BaseException) and not isinstance(result, ConfigError):
            raise result
    return dict(zip(wanted, cast("list[_Found | ConfigError]", found), strict=True))


async def _patiently(client: AwsClient, service: str, name: str, patience: float) -> _Found:
    """Asks again, with growing pauses, as long as the service does not answer or says that it cannot now."""
    last: Doubt | None = None
    pause = FIRST_PAUSE
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    return await (_of_secrets_manager if service == SECRETS_MANAGER else _of_ssm)(client, name)
                except Doubt as error:
                    if last is None:
                        _log.warning("%s; trying again, for %.0f s at most", error.message, patience)
                    last = error
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
    except TimeoutError:
        why = last.message if last else f"reading {service}://{name}: no answer"
        hint = last.hint if last and last.hint else "see that the network lets this machine reach it"
        raise Unreachable(f"{why} (tried for {patience:.0f} s)", hint=hint) from last


async def _of_secrets_manager(client: AwsClient, name: str) -> _Found:
    answer = await _asked(client, "get_secret_value", "secretsmanager:GetSecretValue", SECRETS_MANAGER, name)(
        SecretId=name
    )
    if not isinstance(answer.get("SecretString", answer.get("SecretBinary")), (str, bytes)):
        raise not_aws(f"reading {SECRETS_MANAGER}://{name}", "there is no secret in it")
    if "SecretString" in answer:
        return _Found(answer["SecretString"], secret=True)
    try:
        return _Found(bytes(answer["SecretBinary"]).decode("utf-8"), secret=True)
    except UnicodeDecodeError:
        # Without its cause, which shows the bytes.
        raise ConfigError(
            f"{SECRETS_MANAGER}://{name}: expected a text, found a binary secret that is not UTF-8"
        ) from None


async def _of_ssm(client: AwsClient, name: str) -> _Found:
    answer = await _asked(client, "get_parameter", "ssm:GetParameter", SSM, name)(Name=name, WithDecryption=True)
    parameter = answer.get("Parameter", {})
    if not isinstance(parameter.get("Value"), str):
        raise not_aws(f"reading {SSM}://{name}", "there is no parameter in it")
    return _Found(parameter["Value"], secret=parameter.get("Type") not in ("String", "StringList"))


def _asked(client: AwsClient, operation: str, action: str, service: str, name: str) -> Callable[..., Any]:
    """The operation, with what it is told to be when it fails."""
    doing = f"reading {service}://{name}"

    async def ask(**parameters: Any) -> Any:
        try:
            return await client.call(
                operation,
                doing=doing,
                action=action,
                resource=name,
                passing=MISSING | KEY_REFUSED | DENIED,
                **parameters,
            )
        except ClientError as error:
            raise _refused(error, doing, action, service, name) from error

    return ask


def _refused(error: ClientError, doing: str, action: str, service: str, name: str) -> Exception:
    message = str(error.response.get("Error", {}).get("Message", ""))
    if code_of(error) in MISSING:
        slash = service == SSM and "/" in name and not name.startswith(("/", "arn:"))
        return ConfigError(
            f"{doing}: there is none of that name in this account and region",
            hint=f"a name with slashes begins with one: {SSM}:///{name}"
            if slash
            else "see that the name, AWS_REGION and the account (AWS_PROFILE) are right",
        )
    if code_of(error) in KEY_REFUSED or re.search(r"kms:|\bKMS\b", message):
        told = f": {message}" if message else ""
        return NotAuthorized(
            f"{doing}: AWS may not decrypt it for us ({code_of(error)}){told}",
            hint="allow kms:Decrypt on its key for this role or user, and see that the key is enabled",
        )
    return explained(error, doing=doing, action=action, resource=name)


def _picked(text: str, key: str, reference: str) -> str:
    """The value of ``key`` in a JSON object; the whole text without a key."""
    if not key:
        return text
    try:
        # Numbers as they are written.
        values = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        # Nothing of what was found: it is a secret.
        raise ConfigError(f"{reference}: expected a JSON object with the key {key!r}, found a text that is none")
    if key not in values:
        keys = ", ".join(sorted(values)) or "none"
        raise ConfigError(f"{reference}: expected the key {key!r}, found {keys}")
    value = values[key]
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise ConfigError(f"{reference}: expected a text, a number or true or false, found something else")
    return value
