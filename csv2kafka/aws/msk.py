"""Tokens to log in to Amazon MSK with, as AWS's role or user (SASL mechanism AWS_MSK_IAM).

A token is a signed URL, good for 15 minutes, made here without asking anybody; the credentials it is signed with
may have to be asked for (a role's, from the metadata service), so it is made in a thread. Connections of all
sessions share it until the most of its time is over.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt

# Of a token's time, what is over when the next is made. Less than what of a login's time is over when its
# connection logs in again (kafka/connection.py): each gets a new token, and so another 15 minutes.
RENEW_AFTER = (0.7, 0.8)
LEAST_SECONDS = 60.0  # a token with less left is not worth a login
MAKING_SECONDS = 8.0  # within what opening a connection may take
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 2.0, 5.0, 2  # where credentials come from another service, such as STS

_HOST = re.compile(r"\.kafka(?:-serverless)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\Z")
_DOING = "making a token for Amazon MSK"


@frozen(kw_only=True)
class Token:
    """``until``: when it expires (``time.time``)."""

    text: str
    until: float


class MskTokens:
    """A token provider, as aiokafka wants it. ``make``: a new token, which may take its time; else the signer's.

    ``clock``: seconds since the epoch, as tokens count. ``draw``: 0 to 1, when within ``RENEW_AFTER`` to renew.
    """

    def __init__(
        self,
        region: str,
        *,
        make: Callable[[], Token] | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._make = make or _Signer(region)
        self._clock = clock
        self._draw = draw
        self._token: Token | None = None
        self._renew_at = 0.0

    async def token(self) -> str:
        """One with a good part of its time left.

        Raises ConfigError where there are no credentials, Doubt where who has them does not answer. A token that is
        still good outlives such a failure.
        """
        now = self._clock()
        if self._token is not None and now < self._renew_at:
            return self._token.text
        try:
            async with asyncio.timeout(MAKING_SECONDS):
                self._token = await asyncio.to_thread(self._make)
        except (Csv2KafkaError, TimeoutError) as error:
            if self._token is not None and now < self._token.until - LEAST_SECONDS:
                return self._token.text
            if isinstance(error, TimeoutError):
                raise Doubt(f"{_DOING}: no credentials came in {MAKING_SECONDS:g} s") from error
            if self._token is not None and not error.retryable:
                # They were there, so they may be again: the metadata service says "none" when it is not well.
                raise Doubt(error.message, hint=error.hint) from error
            raise
        low, high = RENEW_AFTER
        now = self._clock()
        self._renew_at = now + (self._token.until - now) * (low + (high - low) * self._draw())
        return self._token.text


class _Signer:
    """Makes tokens, in a thread: what it imports and whom it asks takes time. Keeps its credentials, which know by
    themselves when to ask for new ones."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._credentials: Any = None

    def __call__(self) -> Token:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
        from botocore.credentials import CredentialProvider
        from botocore.exceptions import BotoCoreError, ClientError

        from csv2kafka.aws.client import explained

        class Found(CredentialProvider):  # type: ignore[misc]  # botocore has no types
            def load(provider) -> Any:
                return self._credentials.get_frozen_credentials()  # id and secret of the same moment

        try:
            if self._credentials is None:
                self._credentials = _found_credentials()
            text, until_ms = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(self._region, Found())
        except (BotoCoreError, ClientError, OSError, ValueError) as error:
            raise explained(error, doing=_DOING, action="sts:AssumeRole") from error
        return Token(text=text, until=until_ms / 1000)


def _found_credentials() -> Any:
    """As botocore finds them: environment, files, the role of a container or machine."""
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import NoCredentialsError

    session = botocore.session.get_session()
    session.set_default_client_config(
        Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"total_max_attempts": ATTEMPTS})
    )
    credentials = session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    return credentials


def region_of(hosts: Sequence[str]) -> str:
    """The region to sign for: the cluster's, by its host name; else AWS_REGION, AWS_DEFAULT_REGION or the profile's.

    ConfigError without one.
    """
    for host in hosts:
        if named := _HOST.search(host.lower()):
            return named["region"]
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _profile_region()
    if not region:
        raise ConfigError(
            "AWS_MSK_IAM signs for the cluster's region, which the bootstrap servers' names do not tell; set AWS_REGION"
        )
    return region


def _profile_region() -> str | None:
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        region: str | None = botocore.session.get_session().get_config_variable("region")
    except BotoCoreError as error:
        raise ConfigError(f"AWS's configuration: {error}") from error
    return region
