"""The options of ``--s3``, by boto3's names in small letters: one table, checked when a source is built."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from csv2kafka.config.kinds import Kind, choice, count, duration, optional, size, switch, text
from csv2kafka.config.option import did_you_mean
from csv2kafka.errors import ConfigError
from csv2kafka.sources.ranges import ATTEMPTS, MIB, PARALLEL, RANGE_BYTES, STALL_SECONDS
from csv2kafka.sources.s3_urls import S3Url

CONNECT_SECONDS = 5.0
KEY_BYTES = 32


@frozen(kw_only=True)
class S3Option:
    """An option. ``secret``: its value is never shown."""

    kind: Kind
    about: str
    default: Any = None
    secret: bool = False


def _customer_key() -> Kind:
    """32 bytes: as they are (boto3's way), or in base64 (44 letters)."""
    expected = f"a key of {KEY_BYTES} bytes, or the same in base64"

    def parse(raw: Any) -> bytes:
        key = raw.encode() if isinstance(raw, str) else raw
        if isinstance(key, bytes) and len(key) != KEY_BYTES:
            try:
                key = base64.b64decode(key, validate=True)
            except binascii.Error:
                key = b""
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            raise ValueError(f"expected {expected}")
        return key

    return Kind(metavar="KEY", expected=expected, parse=parse, show=lambda value: "***")


OPTIONS: Mapping[str, S3Option] = {
    "region": S3Option(
        kind=optional(text("REGION", "a region such as eu-west-1", r"[a-z][a-z0-9-]+")),
        about="The bucket's region; else AWS_REGION, the profile's, or what S3 answers.",
    ),
    "endpoint_url": S3Option(
        kind=optional(text("URL", "an http:// or https:// address", r"https?://[^\s/]\S*")),
        about="Another server than Amazon's that speaks S3; else AWS_ENDPOINT_URL_S3.",
    ),
    "addressing_style": S3Option(
        kind=choice("auto", "path", "virtual"),
        about="Whether the bucket stands in the address's path or in its host.",
        default="auto",
    ),
    "anonymous": S3Option(
        kind=switch(), about="Requests without a signature, for buckets that all may read.", default=False
    ),
    "request_payer": S3Option(
        kind=optional(choice("requester")), about="requester: this account pays, where the bucket asks for it."
    ),
    "expected_bucket_owner": S3Option(
        kind=optional(text("ACCOUNT", "an account of 12 digits", r"\d{12}")),
        about="Refuse a bucket that belongs to another account.",
    ),
    "sse_customer_key": S3Option(
        kind=optional(_customer_key()),
        about="The key of objects that are encrypted with one of the customer's own (SSE-C).",
        secret=True,
    ),
    "sse_customer_algorithm": S3Option(kind=optional(choice("AES256")), about="Its algorithm."),
    "use_accelerate_endpoint": S3Option(kind=switch(), about="S3 Transfer Acceleration.", default=False),
    "use_dualstack_endpoint": S3Option(kind=switch(), about="Addresses of IPv6 and IPv4.", default=False),
    "use_fips_endpoint": S3Option(kind=switch(), about="Endpoints with FIPS 140 cryptography.", default=False),
    "version_id": S3Option(
        # null is what a bucket calls the object that it keeps no version of.
        kind=optional(text("ID", "the id of a version (for an object without versions: if_match)", r"(?!null$)\S+")),
        about="Exactly this version of the one object that is named, however many came after it.",
    ),
    "if_match": S3Option(
        kind=optional(text("ETAG", "an ETag, with or without its quotes", r'"[^"\s]+"|[^"\s]+')),
        about="The one object that is named, if it still has this ETag.",
    ),
    "range_bytes": S3Option(
        kind=size(MIB, 256 * MIB), about="How much is asked for with one request.", default=RANGE_BYTES
    ),
    "parallel": S3Option(
        kind=count("N", 1, 64),
        about="How many ranges are on their way at once; together with range_bytes it bounds the memory.",
        default=PARALLEL,
    ),
    "connect_timeout": S3Option(
        kind=duration(0.1, 300), about="How long a connection may take.", default=CONNECT_SECONDS
    ),
    "read_timeout": S3Option(
        kind=duration(0.1, 300), about="How long nothing may come before it is asked for again.", default=STALL_SECONDS
    ),
    "max_attempts": S3Option(
        kind=count("N", 1, 100),
        about="How often in a row a request may fail, with pauses that grow, before the run begins a new session.",
        default=ATTEMPTS,
    ),
}


@frozen(kw_only=True)
class S3Settings:
    """``values``: of all options, by name. ``of_requests``: parameters of every request (boto3's names).
    ``of_content``: those of requests for an object's content, secrets among them."""

    values: Mapping[str, Any] = field(repr=False)
    of_requests: Mapping[str, Any]
    of_content: Mapping[str, Any] = field(repr=False)

    @property
    def exact(self) -> dict[str, str]:
        """Of the request that pins the object, where one version of it is named (boto3's names)."""
        if self.values["version_id"]:
            return {"VersionId": self.values["version_id"]}
        if self.values["if_match"]:
            return {"IfMatch": '"{}"'.format(self.values["if_match"].strip('"'))}
        return {}


def s3_settings(given: Mapping[str, Any]) -> S3Settings:
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
                shown = str(error).partition(", found")[0] if OPTIONS[name].secret else str(error)
                problems.append(f"{_label(name)}: {shown}")
    if values["sse_customer_algorithm"] and not values["sse_customer_key"] and "sse_customer_key" not in given:
        problems.append(f"{_label('sse_customer_algorithm')}: is of use with sse_customer_key only")
    if values["version_id"] and values["if_match"]:
        problems.append(f"{_label('version_id')}: names a version already, expected no if_match besides")
    if problems:
        raise ConfigError(*problems)
    of_requests = {"RequestPayer": values["request_payer"], "ExpectedBucketOwner": values["expected_bucket_owner"]}
    of_content = {}
    if values["sse_customer_key"]:
        of_content = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": values["sse_customer_key"]}
    return S3Settings(
        values=values, of_requests={name: value for name, value in of_requests.items() if value}, of_content=of_content
    )


def not_one(urls: Sequence[S3Url], settings: S3Settings) -> list[str]:
    """What is wrong where a version is named, which is of one object."""
    named = "version_id" if "VersionId" in settings.exact else "if_match"
    if not settings.exact or (len(urls) == 1 and not urls[0].is_prefix):
        return []
    shown = repr(str(urls[0])) if len(urls) == 1 else f"{len(urls)} sources"
    return [f"{_label(named)}: is for one object, named by its key: expected s3://BUCKET/KEY, found {shown}"]


def _label(name: str) -> str:
    """How errors name an option: flag, variable and TOML key."""
    return f"--s3 {name}=… (environment CSV2KAFKA_S3_{name.upper()}, file key [s3] {name})"
