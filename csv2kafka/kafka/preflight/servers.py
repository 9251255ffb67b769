"""Each bootstrap server by itself: does it answer, by which certificate, does it let us in, what does it speak."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any

from attrs import evolve

from csv2kafka.errors import ConfigError, Csv2KafkaError
from csv2kafka.kafka import wire
from csv2kafka.kafka.connection import Connection, close_all
from csv2kafka.kafka.settings import ClientSettings
from csv2kafka.model.findings import Finding

CERTIFICATE_DAYS = 14.0  # fewer are worth a word
DAY = 86400.0
AWAY = "see that the address is right, Kafka runs, and the network lets this machine reach it"


async def server_findings(settings: ClientSettings) -> list[Finding]:
    """One for each server, all asked at once. A run needs one of them: if another let us in, none of them fails."""
    found = await asyncio.gather(*(_ask(host, port, settings) for host, port in settings.servers))
    refused = [finding for finding in found if finding.status == "fail"]
    if len(refused) < len(found):
        return [_spared(finding) for finding in found]
    # A run ends for what waiting does not help, if any server says so.
    return sorted(found, key=lambda finding: finding.exit_code != ConfigError.exit_code)


async def _ask(host: str, port: int, settings: ClientSettings) -> Finding:
    name = f"broker {host}:{port}"
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        connection = await Connection.open(host, port, settings)
    except Csv2KafkaError as error:
        return evolve(Finding.failed(name, error), hint=error.hint or AWAY)
    seconds = loop.time() - began
    try:
        for request in wire.REQUESTS:
            connection.speaks(request)
        certificate = connection.certificate()
    except Csv2KafkaError as error:
        return Finding.failed(name, error)
    finally:
        await close_all([connection])
    security = settings.security
    told = [f"answers in {seconds * 1000:.0f} ms, speaks what a run needs"]
    if security.context is not None:
        told.append("TLS")
    if security.mechanism:
        told.append(f"lets us in by {security.mechanism}")
    days = _days_left(certificate)
    if days is not None:
        told.append(f"its certificate is valid for {days:.0f} days")
    if days is not None and days < CERTIFICATE_DAYS:
        return Finding.warned(name, "; ".join(told), "see that it is renewed: connections fail from that day on")
    return Finding.passed(name, "; ".join(told))


def _days_left(certificate: Mapping[str, Any]) -> float | None:
    until = certificate.get("notAfter")
    return None if until is None else (ssl.cert_time_to_seconds(str(until)) - time.time()) / DAY


def _spared(finding: Finding) -> Finding:
    if finding.status != "fail":
        return finding
    hint = f"another one answers, so a run begins; {finding.hint or 'see that it is up'}"
    return Finding.warned(finding.name, finding.message, hint)
