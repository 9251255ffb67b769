"""Notices that the machine is about to be taken away, from the metadata of the EC2 instance or of the ECS task.

    EC2 (IMDSv2)  a Spot interruption, a rebalance recommendation, an Auto Scaling group that takes the instance out
    ECS           the task is to be stopped (a SIGTERM follows, or has been swallowed by whatever started this)

``spot`` minds no rebalance recommendation: where a run is started again on the same instance, which may live for
hours, every run on it would end at once.

A watch never ends a good run: what cannot be asked is told once, and asked again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any, Protocol

import aiohttp
from attrs import define, field, frozen

from csv2kafka.aws.http import held

POLL_SECONDS = 5.0  # as AWS recommends
ANSWER_SECONDS = 2.0
PROBE_SECONDS = 1.0
TOKEN_SECONDS = 6 * 3600  # the longest that IMDS gives
RENEWED_AT = 0.9  # of a token's life
MOST_BYTES = 256 << 10  # of an answer: a task's is a few KiB

ECS_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
# botocore's own variables for the same service.
ENDPOINT_VARIABLE, MODE_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
DISABLED_VARIABLE = "AWS_EC2_METADATA_DISABLED"
ENDPOINT, ENDPOINT_IPV6 = "http://169.254.169.254", "http://[fd00:ec2::254]"
TOKEN, TOKEN_TTL = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"

FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
HOP_LIMIT = (
    "in a container the instance's hop limit must be 2 (aws ec2 modify-instance-metadata-options "
    "--http-put-response-hop-limit 2)"
)

_log = logging.getLogger(__name__)


async def notice(kind: str, environ: Mapping[str, str], *, poll_seconds: float = POLL_SECONDS) -> str | None:
    """Waits for a notice, and gives what it says; None if there is nothing to watch. ``kind``: as of ``--watch``."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as session:
        watched = await _watched(kind, environ, session)
        if watched is None:
            return None
        warned = False
        while True:
            try:
                reason = await watched.look()
            except FAILURES as error:
                if not warned:
                    _log.warning("--watch %s: %s; the run goes on, and asks again", kind, _words(error))
                warned = True
            else:
                if reason is not None:
                    return reason
            await asyncio.sleep(poll_seconds)


class _Watched(Protocol):
    async def look(self) -> str | None:
        """Why this run has to stop, if it has to."""
        ...


async def _watched(kind: str, environ: Mapping[str, str], session: aiohttp.ClientSession) -> _Watched | None:
    """What there is to watch; says so where that is nothing."""
    task = environ.get(ECS_VARIABLE)
    if kind in ("ecs", "auto") and task:
        return _Task(session, task)
    if kind == "ecs":
        _log.warning("--watch ecs: %s is not set, so this is no ECS task; only a signal stops this run", ECS_VARIABLE)
    if kind not in ("ec2", "spot", "auto"):
        return None
    instance = _Instance(session, _endpoint(environ), rebalance=kind != "spot")
    if environ.get(DISABLED_VARIABLE, "").lower() == "true":
        _log.warning("--watch %s: %s is set; only a signal stops this run", kind, DISABLED_VARIABLE)
        return None
    if kind == "auto" and not await _answers(instance):
        _log.warning("--watch auto: found neither an ECS task nor an EC2 instance; only a signal stops this run")
        return None
    return instance


def _endpoint(environ: Mapping[str, str]) -> str:
    default = ENDPOINT_IPV6 if environ.get(MODE_VARIABLE, "").lower() == "ipv6" else ENDPOINT
    return (environ.get(ENDPOINT_VARIABLE) or default).rstrip("/")


async def _answers(instance: _Instance) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await instance.renew()
    except FAILURES:
        return False
    return True


@define(eq=False)
class _Instance:
    """An EC2 instance's metadata, asked with a token (IMDSv2) that is renewed before it ends."""

    _session: aiohttp.ClientSession
    _endpoint: str
    _rebalance: bool = field(kw_only=True)
    _token: str = field(default="", init=False, repr=False)
    _renew_at: float = field(default=0.0, init=False)

    async def look(self) -> str | None:
        spot = await self._get("spot/instance-action")
        if spot is not None:
            said = _object(spot)
            return f"EC2 takes this Spot instance back: {said.get('action')} at {said.get('time')}"
        rebalance = await self._get("events/recommendations/rebalance") if self._rebalance else None
        if rebalance is not None:
            return f"EC2 recommends to leave this Spot instance (since {_object(rebalance).get('noticeTime')})"
        if await self._get("autoscaling/target-lifecycle-state") == "Terminated":
            return "the Auto Scaling group takes this instance out"
        return None

    async def renew(self) -> None:
        """A new token."""
        headers = {TOKEN_TTL: str(TOKEN_SECONDS)}
        try:
            async with self._session.put(f"{self._endpoint}/latest/api/token", headers=headers) as answer:
                answer.raise_for_status()
                self._token = await _text(answer)
                lives = float(answer.headers.get(TOKEN_TTL, TOKEN_SECONDS))
        except TimeoutError:
            # Packets from further away than the limit are dropped in silence.
            raise TimeoutError(f"{self._endpoint} gives no token; {HOP_LIMIT}") from None
        self._renew_at = asyncio.get_running_loop().time() + RENEWED_AT * lives

    async def _get(self, path: str) -> str | None:
        """The text there, None if there is none."""
        if not self._token or asyncio.get_running_loop().time() >= self._renew_at:
            await self.renew()
        status, text = await self._asked(path)
        if status == 401:  # the token is not good any more, whatever was said of its life
            await self.renew()
            status, text = await self._asked(path)
        if status == 404:
            return None
        if status != 200:
            raise ValueError(f"{self._endpoint} answers {status} for {path}")
        return text

    async def _asked(self, path: str) -> tuple[int, str]:
        url = f"{self._endpoint}/latest/meta-data/{path}"
        async with self._session.get(url, headers={TOKEN: self._token}) as answer:
            return answer.status, (await _text(answer)).strip()


@frozen(eq=False)
class _Task:
    """An ECS task's metadata."""

    _session: aiohttp.ClientSession
    _uri: str

    async def look(self) -> str | None:
        async with self._session.get(f"{self._uri.rstrip('/')}/task") as answer:
            answer.raise_for_status()
            said = _object(await _text(answer))
        return "ECS stops this task" if said.get("DesiredStatus") == "STOPPED" else None


async def _text(answer: aiohttp.ClientResponse) -> str:
    """The whole of it; ValueError if it is longer than any, or no text."""
    body = await held(answer.content.read, MOST_BYTES)
    if len(body) > MOST_BYTES:
        raise ValueError(f"{answer.url} answers with more than {MOST_BYTES:,} bytes")
    return body.decode()


def _object(text: str) -> Mapping[str, Any]:
    """A JSON object; ValueError for anything else, which is nobody's notice."""
    try:
        found = json.loads(text)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, found {text[:100]!r}")
    return found


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
