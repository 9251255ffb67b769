"""This machine's clock against AWS's, where the job uses AWS: it refuses requests that are five minutes off."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from csv2kafka.config import RunConfig
from csv2kafka.errors import Csv2KafkaError
from csv2kafka.model.findings import Finding
from csv2kafka.preflight.bounds import bounded

CLOCK = "clock"
WORTH_A_WORD_SECONDS = 60.0
REFUSED_SECONDS = 300.0
# What is asked of a service for the date on its answer; a refusal has one too, so no permission is needed.
ASKED = {"s3": "list_buckets", "dynamodb": "list_tables"}


async def clock_finding(config: RunConfig, now: Callable[[], float] = time.time) -> Finding:
    """By the ``Date`` of an answer, to a second or so. Without AWS there is nothing to compare with."""
    service = _service(config)
    if service is None:
        return Finding.not_checked(CLOCK, "nothing that this job uses tells the time")
    options = {name: config.s3[name] for name in ("region", "endpoint_url") if service == "s3" and name in config.s3}
    try:
        date = await bounded(_date(service, options), f"the time of {service}")
    except Csv2KafkaError as error:
        return Finding.not_checked(CLOCK, error.message)
    if date is None:
        return Finding.not_checked(CLOCK, f"{service} did not tell the time")
    skew = now() - date
    told = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {service}'s"
    if abs(skew) < WORTH_A_WORD_SECONDS:
        return Finding.passed(CLOCK, told)
    word = "AWS refuses such requests" if abs(skew) >= REFUSED_SECONDS else "AWS refuses requests five minutes off"
    return Finding.warned(CLOCK, f"{told}: {word}", "set this machine's clock, and keep it set (NTP, chrony)")


def _service(config: RunConfig) -> str | None:
    if config.sources[0].startswith("s3://") or config.checkpoints.startswith("s3://"):
        return "s3"
    return "dynamodb" if config.checkpoints.startswith("dynamodb://") else None


async def _date(service: str, options: dict[str, str]) -> float | None:
    """Seconds since the epoch, by the service; None where it does not say. Raises Csv2KafkaError."""
    from botocore.exceptions import ClientError  # late, because a run without AWS does not pay for it

    from csv2kafka.aws.client import FAILURES, AwsClient, explained

    client = AwsClient(service, attempts=1, **options)  # type: ignore[arg-type]
    try:
        answer: Any = await getattr(await client.raw(), ASKED[service])()
    except ClientError as refused:
        answer = refused.response
    except FAILURES as error:
        raise explained(error, doing=f"asking {service} for the time") from error
    finally:
        await client.close()
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):  # not AWS's: what answered in its place has no date, or one of its own kind
        return None
