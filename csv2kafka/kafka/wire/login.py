"""Logging in: SASL's conversation, which may be held again on an open connection (KIP-368)."""

from __future__ import annotations

from aiokafka.protocol.api import Response
from aiokafka.protocol.types import Array, Bytes, Int16, Int64, Schema

from csv2kafka.kafka.wire.base import TEXT, Request


class SaslHandshakeResponse(Response):
    API_KEY = 17
    API_VERSION = 1
    SCHEMA = Schema(("error_code", Int16), ("mechanisms", Array(TEXT)))

    error_code: int
    mechanisms: list[str]


class SaslHandshakeRequest(Request):
    """v1: what follows are SaslAuthenticate requests, not bare bytes."""

    NAME = "SaslHandshake"
    API_KEY = 17
    API_VERSION = 1
    RESPONSE_TYPE = SaslHandshakeResponse
    SCHEMA = Schema(("mechanism", TEXT))


class SaslAuthenticateResponse(Response):
    """v1 and later say how long the login lasts, in its last answer: 0 is for ever."""

    API_KEY = 36
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16), ("error_message", TEXT), ("auth_bytes", Bytes), ("session_lifetime_ms", Int64)
    )

    error_code: int
    error_message: str | None
    auth_bytes: bytes
    session_lifetime_ms: int


class SaslAuthenticateRequest(Request):
    NAME = "SaslAuthenticate"
    API_KEY = 36
    API_VERSION = 1
    RESPONSE_TYPE = SaslAuthenticateResponse
    SCHEMA = Schema(("auth_bytes", Bytes))
