"""A producer's identity, and its transactions."""

from __future__ import annotations

from aiokafka.protocol.api import Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Int64, Schema

from csv2kafka.kafka.wire.base import TEXT, Request


class InitProducerIdResponse(Response):
    API_KEY = 22
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32), ("error_code", Int16), ("producer_id", Int64), ("producer_epoch", Int16)
    )

    error_code: int
    producer_id: int
    producer_epoch: int


class InitProducerIdRequest(Request):
    """Without the old producer's id and epoch (v3 and later): opening is meant to fence whoever was there."""

    NAME = "InitProducerId"
    API_KEY = 22
    API_VERSION = 1
    RESPONSE_TYPE = InitProducerIdResponse
    SCHEMA = Schema(("transactional_id", TEXT), ("transaction_timeout_ms", Int32))


class AddPartitionsToTxnResponse(Response):
    API_KEY = 24
    API_VERSION = 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", Array(("name", TEXT), ("partitions", Array(("partition", Int32), ("error_code", Int16))))),
    )

    topics: list[tuple[str, list[tuple[int, int]]]]


class AddPartitionsToTxnRequest(Request):
    NAME = "AddPartitionsToTxn"
    API_KEY = 24
    API_VERSION = 2
    RESPONSE_TYPE = AddPartitionsToTxnResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("topics", Array(("name", TEXT), ("partitions", Array(Int32)))),
    )


class EndTxnResponse(Response):
    API_KEY = 26
    API_VERSION = 2
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))

    error_code: int


class EndTxnRequest(Request):
    """Version 2: the last before the broker itself begins a next epoch with each transaction (KIP-890)."""

    NAME = "EndTxn"
    API_KEY = 26
    API_VERSION = 2
    RESPONSE_TYPE = EndTxnResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT), ("producer_id", Int64), ("producer_epoch", Int16), ("committed", Boolean)
    )
