"""What the requests share."""

from __future__ import annotations

from io import BytesIO
from typing import ClassVar

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import CompactString, Schema, String

TEXT = String("utf-8")
COMPACT_TEXT = CompactString("utf-8")


class Uuid(AbstractType[bytes]):
    """16 bytes as they stand."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class Request(RequestStruct):
    """A request in its one version. What follows the schema's fields on the wire is given when it is sent."""

    API_KEY = -1
    API_VERSION = -1
    RESPONSE_TYPE = Response
    SCHEMA = Schema()
    NAME: ClassVar[str] = ""
