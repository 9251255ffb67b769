"""What check says of a bootstrap server, with a connection that is not one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from csv2kafka.errors import Doubt
from csv2kafka.kafka import wire
from csv2kafka.kafka.connection import Connection
from csv2kafka.kafka.preflight.servers import AWAY, server_findings
from csv2kafka.kafka.settings import client_settings


class _Open:
    login = None

    def speaks(self, request: type[wire.Request]) -> None:
        pass

    def certificate(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass


async def test_the_login_is_told_by_the_mechanism_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(*_: Any) -> Any:
        return _Open()

    monkeypatch.setattr(Connection, "open", opened)
    settings = client_settings(
        {
            "bootstrap_servers": "b-1.x.kafka.eu-west-1.amazonaws.com:9098",
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "AWS_MSK_IAM",
        }
    )
    (found,) = await server_findings(settings)
    assert "lets us in by AWS_MSK_IAM" in found.message


@pytest.mark.parametrize(("hint", "told"), [("", AWAY), ("is TLS missing?", "is TLS missing?")])
async def test_one_that_is_away_comes_with_what_to_do(monkeypatch: pytest.MonkeyPatch, hint: str, told: str) -> None:
    async def away(*_: Any) -> Any:
        raise Doubt("host:9092: no answer in time", hint=hint)

    monkeypatch.setattr(Connection, "open", away)
    (found,) = await server_findings(client_settings({"bootstrap_servers": "host:9092"}))
    assert (found.status, found.exit_code, found.hint) == ("fail", 69, told)
