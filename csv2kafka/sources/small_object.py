"""One small object of S3 as a whole, before there is a run: a configuration file that many machines share."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from csv2kafka.aws.client import FAILURES, AwsClient
from csv2kafka.aws.http import held
from csv2kafka.errors import ConfigError, Doubt, Unreachable
from csv2kafka.sources.s3_errors import client_for, told
from csv2kafka.sources.s3_settings import s3_settings
from csv2kafka.sources.s3_urls import S3Url, parse

MOST_BYTES = 8 << 20  # the options of 10,000 children, the most that an array job has, are 2 or 3 MiB
PATIENCE_SECONDS = 30.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0

_log = logging.getLogger(__name__)


def read(url: str, *, patience: float = PATIENCE_SECONDS) -> bytes:
    """``fetch`` for callers without a loop. A running one would wait for it: ``await asyncio.to_thread(load, …)``."""
    if asyncio._get_running_loop() is None:
        return asyncio.run(fetch(url, patience=patience))
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, fetch(url, patience=patience)).result()


async def fetch(url: str, *, patience: float = PATIENCE_SECONDS) -> bytes:
    """The content of ``s3://BUCKET/KEY``. ConfigError, with the IAM action, where that cannot be had; Unreachable when
    S3 has not answered for ``patience`` seconds."""
    try:
        parsed = parse(url)
    except ValueError:
        parsed = S3Url("", "")
    if parsed.is_prefix:
        raise ConfigError(f"{url}: expected a file or s3://BUCKET/KEY")
    client = client_for(s3_settings({}))
    last: Doubt | None = None
    pause = FIRST_PAUSE
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    return await _whole(client, parsed)
                except Doubt as error:
                    if last is None:
                        _log.warning("%s; trying again, for %.0f s at most", error.message, patience)
                    last = error
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
    except TimeoutError:
        why, hint = (last.message, last.hint) if last else (f"reading {url}: no answer", "")
        hint = hint or "see that the network lets this machine reach it"
        raise Unreachable(f"{why} (tried for {patience:.0f} s)", hint=hint) from last
    finally:
        await client.close()


async def _whole(client: AwsClient, url: S3Url) -> bytes:
    doing = f"reading {url}"
    try:
        opened = await client.raw()
        answer = await opened.get_object(Bucket=url.bucket, Key=url.key)
        async with answer["Body"] as body:
            size = answer.get("ContentLength", 0)
            if size > MOST_BYTES:
                raise ConfigError(f"{url}: expected at most {MOST_BYTES:,} bytes of configuration, found {size:,}")
            content = await held(body.read, MOST_BYTES)
    except FAILURES as error:
        raise told(error, url, "s3:GetObject", doing) from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{url}: expected at most {MOST_BYTES:,} bytes of configuration, found more")
    return content
