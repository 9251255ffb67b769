"""One AWS service: opened when first used, asked through aiobotocore, its errors told as this package's.

Endpoints, regions, profiles and credentials come from where botocore finds them (``AWS_*``, files, roles), retries
of single requests are botocore's ("standard": three attempts, with jitter). What still fails then is a ``Doubt``,
and the caller's way to recover.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import exceptions as botocore_errors
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from csv2kafka.aws.http import NoAnswer, Session
from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, NotAuthorized, NotReachable

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
ATTEMPTS = 3
LONGEST_NONSENSE = 200  # of what an answer had in it
NOT_AWS_HINT = "see AWS_ENDPOINT_URL, proxies, and whether this network wants a login first"

DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedAccess", "Forbidden", "403"}
)
UNKNOWN_KEYS = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "InvalidToken",
    }
)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
SKEWED = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
PASSING = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
UNANSWERED = (
    botocore_errors.EndpointConnectionError,
    botocore_errors.ConnectTimeoutError,
    botocore_errors.ConnectionClosedError,
    botocore_errors.ReadTimeoutError,
    botocore_errors.ProxyConnectionError,
    botocore_errors.SSLError,
)
# Of what botocore raises itself, what the same request may not meet again. Everything else is credentials, region,
# settings or the request, and is wrong before anything is sent: it must stop the run, not be asked again for ever.
PASSING_FAILURES = (
    botocore_errors.HTTPClientError,
    botocore_errors.ConnectionError,
    botocore_errors.IncompleteReadError,
    botocore_errors.ChecksumError,
    botocore_errors.FlexibleChecksumError,
    botocore_errors.CredentialRetrievalError,
    botocore_errors.MetadataRetrievalError,
    botocore_errors.CapacityNotAvailableError,
)
# What reading an answer that makes no sense comes to in botocore's own hands.
NONSENSE = (ResponseParserError, LookupError, TypeError, AttributeError, AssertionError, RecursionError, NoAnswer)
FAILURES = (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError, ValueError, *NONSENSE)


class AwsClient:
    """One service. ``attempts``: at each request. ``config``: arguments of botocore's ``Config``.

    Its client belongs to the running loop until ``close``; the next use opens another.
    """

    def __init__(
        self,
        service: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        attempts: int = ATTEMPTS,
        **config: Any,
    ) -> None:
        self._service = service
        self._region = region
        self._endpoint_url = endpoint_url
        self._config = AioConfig(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts},
            user_agent_extra="csv2kafka",
            **config,
        )
        self._opening = asyncio.Lock()
        self._opened = AsyncExitStack()
        self._client: Any = None

    async def call(
        self,
        operation: str,
        *,
        doing: str,
        action: str,
        resource: str,
        passing: Collection[str] = (),
        **parameters: Any,
    ) -> Any:
        """The service's answer to ``operation`` (boto3's name of it).

        ``doing``: begins the message of an error. ``action``, ``resource``: the IAM permission it needs, for its
        hint. ``passing``: error codes that are raised as botocore's ClientError.
        Raises NotAuthorized, ConfigError, Doubt or NotReachable for everything else.
        """
        client: Any = None
        try:
            client = await self.raw()
            return await getattr(client, operation)(**parameters)
        except FAILURES as error:
            if isinstance(error, ClientError) and code_of(error) in passing:
                raise
            if isinstance(error, ClientError) and code_of(error) in EXPIRED and client is self._client:
                await self.close()  # the next finds credentials anew: those in files may have been renewed
            raise explained(error, doing=doing, action=action, resource=resource) from error

    async def raw(self) -> Any:
        """aiobotocore's client. Raises what botocore does; ``explained`` tells it."""
        async with self._opening:
            if self._client is None:
                session = get_session()
                # Also of the clients that botocore makes for itself, to get credentials.
                session.set_default_client_config(AioConfig(http_session_cls=Session))
                # Descriptions of services are read from disk, MiB of JSON: in a thread, then from botocore's cache.
                loader = session.get_component("data_loader")
                for described in ("service-2", "endpoint-rule-set-1"):
                    await asyncio.to_thread(loader.load_service_model, self._service, described)
                await asyncio.to_thread(loader.load_data, "endpoints")
                client = session.create_client(
                    self._service,
                    # What Lambda, ECS and Batch set, and SDKs read; but botocore knows AWS_DEFAULT_REGION alone.
                    region_name=self._region or os.environ.get("AWS_REGION"),
                    endpoint_url=self._endpoint_url,
                    config=self._config,
                )
                self._client = await self._opened.enter_async_context(client)
            return self._client

    async def close(self) -> None:
        """Give back connections."""
        opened, self._opened, self._client = self._opened, AsyncExitStack(), None
        await opened.aclose()


def code_of(error: ClientError) -> str:
    """AWS's error code, such as ``NoSuchKey``; an answer without a body has its HTTP status as code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explained(error: BaseException, *, doing: str, action: str = "", resource: str = "") -> Csv2KafkaError:
    """What botocore or the HTTP client raised, as an error of this package; see ``AwsClient.call``."""
    if isinstance(error, Csv2KafkaError):
        return error
    if isinstance(error, ClientError):
        return _answered(error, doing, action, resource)
    inner: BaseException | None = None
    if type(error) is botocore_errors.HTTPClientError:  # says no more than that there was another
        inner = getattr(error, "kwargs", {}).get("error")
    text = " ".join(str(inner or error).split()) or type(inner or error).__name__
    if isinstance(error, NONSENSE) or isinstance(inner, (NoAnswer, UnicodeError, aiohttp.ClientResponseError)):
        text = inner.message if isinstance(inner, aiohttp.ClientResponseError) else text
        named = text if isinstance(error, NoAnswer) or inner is not None else f"{type(error).__name__}: {text}"
        told = " ".join(named.split())[:LONGEST_NONSENSE]
        return not_aws(doing, told)
    if isinstance(error, UNANSWERED):
        return NotReachable(
            f"{doing}: {text}",
            hint="see that this machine can reach it (network, AWS_REGION, AWS_ENDPOINT_URL, proxies, AWS_CA_BUNDLE)",
        )
    if isinstance(error, botocore_errors.NoRegionError):
        return ConfigError(f"{doing}: no AWS region is known", hint="set AWS_REGION")
    if isinstance(error, (botocore_errors.NoCredentialsError, botocore_errors.PartialCredentialsError)):
        return ConfigError(
            f"{doing}: no AWS credentials were found: {text}",
            hint="give this machine a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if isinstance(error, botocore_errors.MissingDependencyException):
        return ConfigError(
            f"{doing}: {text}", hint="install it; a multi-region access point needs it, one of a single region does not"
        )
    if isinstance(error, (BotoCoreError, ValueError)) and not isinstance(error, PASSING_FAILURES):
        return ConfigError(f"{doing}: {text}", hint="see AWS's own settings: AWS_* variables, profile, credentials")
    return Doubt(f"{doing}: {text}")


def not_aws(doing: str, found: str) -> NotReachable:
    """Something answers in its place, or changes what it says; that may pass."""
    return NotReachable(f"{doing}: what answered is not AWS: {found}", hint=NOT_AWS_HINT)


def _answered(error: ClientError, doing: str, action: str, resource: str) -> Csv2KafkaError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = error.response.get("Error", {}).get("Message", "")
    found = f"{doing}: AWS answered {code} ({status}){f': {message}' if message else ''}"
    if code in EXPIRED:
        return Doubt(found, hint="renew the credentials; a role's are renewed by themselves")
    if code in SKEWED:
        return Doubt(found, hint="set this machine's clock (AWS refuses requests more than five minutes off)")
    if code in UNKNOWN_KEYS:
        return NotAuthorized(found, hint="see that the credentials are right, and of this account and region")
    if code in DENIED or status == 403:
        on = f" on {resource}" if resource else ""
        return NotAuthorized(found, hint=f"allow {action}{on} for this role or user" if action else "")
    if code in PASSING or status >= 500 or status == 429:
        return Doubt(found)
    if code == "404":  # AWS says what there is not; a HEAD, which has no words, lets it pass
        return not_aws(doing, "HTTP 404 without a word about what is missing")
    return ConfigError(found)
