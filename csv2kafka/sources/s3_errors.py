"""What S3 refuses, as this package's errors that say what to do; and a client for a source's settings."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from botocore import UNSIGNED
from botocore.exceptions import ClientError

from csv2kafka.aws.client import AwsClient, code_of, explained
from csv2kafka.errors import ConfigError, Csv2KafkaError, NotAuthorized, SourceChanged
from csv2kafka.sources.s3_settings import S3Settings
from csv2kafka.sources.s3_urls import S3Url

# A 404 without S3's word for what is missing may be somebody else's: a proxy that knows no such host must not make an
# object look gone. To a HEAD S3 has no words either; a GET has gone before each, and the next one gets them.
MISSING = frozenset({"NoSuchKey", "NoSuchVersion"})
CHANGED = frozenset({"412", "PreconditionFailed"})
NO_RANGE = frozenset({"416", "InvalidRange"})
REFUSED = frozenset({"403", "AccessDenied"})
ELSEWHERE = frozenset(
    {"301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
CHANGED_HINT = "put that version back, or begin anew with --restart, or as another job with --job"
CONNECTIONS = 16  # botocore has 10; as many objects are pinned at once

T = TypeVar("T")


def client_for(settings: S3Settings) -> AwsClient:
    """A client that is asked as ``settings`` say; what they leave open botocore takes from its own configuration."""
    values = settings.values
    config: dict[str, Any] = {
        "max_pool_connections": max(CONNECTIONS, values["parallel"] + 2),
        "response_checksum_validation": "when_required",  # ranges have no checksums
    }
    s3 = {"use_accelerate_endpoint": True} if values["use_accelerate_endpoint"] else {}
    if values["addressing_style"] != "auto":
        s3["addressing_style"] = values["addressing_style"]
    if s3:
        config["s3"] = s3
    config |= {name: True for name in ("use_dualstack_endpoint", "use_fips_endpoint") if values[name]}
    if values["anonymous"]:
        config["signature_version"] = UNSIGNED
    return AwsClient(
        "s3",
        region=values["region"],
        endpoint_url=values["endpoint_url"],
        connect_seconds=values["connect_timeout"],
        read_seconds=values["read_timeout"],
        **config,
    )


def told(error: BaseException, url: S3Url, action: str, doing: str) -> Csv2KafkaError:
    """``explained``, with what is S3's own. ``action``: the IAM permission that was needed."""
    if not isinstance(error, ClientError):
        return explained(error, doing=doing)
    code, message = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    if code == "InvalidObjectState":
        return ConfigError(
            f"{doing}: it is archived: {message}", hint="restore it first (aws s3api restore-object), then run again"
        )
    if code == "NoSuchBucket":
        return ConfigError(f"{doing}: there is no bucket {url.bucket!r}")
    if code in MISSING:
        return ConfigError(f"{doing}: no such object")
    if code in ELSEWHERE:
        return ConfigError(
            f"{doing}: the bucket is in another region ({code}): {message}",
            hint="name it: --s3 region=…, or AWS_REGION",
        )
    on_key = "kms:" in message or "KMS" in message
    if code in REFUSED and on_key:
        return explained(error, doing=doing, action="kms:Decrypt", resource="the KMS key that encrypts the object")
    found = explained(error, doing=doing, action=action, resource=arn(url, of_bucket=action == "s3:ListBucket"))
    if code in REFUSED and isinstance(found, NotAuthorized) and action.startswith("s3:GetObject"):
        return NotAuthorized(
            found.message,
            hint=f"{found.hint}. If it is allowed, the object is not there: without s3:ListBucket on "
            f"{arn(url, of_bucket=True)} S3 answers the same for a key that does not exist",
        )
    return found


def changed(uri: str, version: str, found: str) -> SourceChanged:
    """``found``: the version that is there now."""
    return SourceChanged(
        f"{uri}: it is no longer the version this job began with\n  expected {version}\n  found    {found}",
        hint=CHANGED_HINT,
    )


def gone(uri: str, version: str) -> SourceChanged:
    """It is not there any more."""
    return SourceChanged(f"{uri}: it is gone; this job began with {version}", hint=CHANGED_HINT)


def not_that(uri: str, exact: Mapping[str, str], found: str) -> SourceChanged:
    """The version that ``--s3 version_id`` or ``if_match`` names is not there. ``found``: what is."""
    expected = f"versionId={exact['VersionId']}" if "VersionId" in exact else f"etag={exact['IfMatch']}"
    return SourceChanged(
        f"{uri}: it is not the version that was asked for\n  expected {expected}\n  found    {found}",
        hint="put that version back, or load what is there now as a job of another name",
    )


def arn(url: S3Url, *, of_bucket: bool = False) -> str:
    """What a policy calls the object, or its bucket."""
    if url.bucket.startswith("arn:"):
        return url.bucket if of_bucket else f"{url.bucket}/object/{url.key}"
    return f"arn:aws:s3:::{url.bucket}" if of_bucket else f"arn:aws:s3:::{url.bucket}/{url.key}"


async def all_of(asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results. Of errors, one that may pass is raised at once, those that cannot all together."""
    results = await asyncio.gather(*asked, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if not isinstance(error, ConfigError):
            raise error
    refused = [error for error in errors if isinstance(error, ConfigError)]
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise ConfigError(*(p for e in refused for p in (e.problems if len(e.problems) > 1 else [str(e)])))
    return [result for result in results if not isinstance(result, BaseException)]
