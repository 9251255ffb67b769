"""Writing and reading a partition's log."""

from __future__ import annotations

from aiokafka.protocol.api import Response
from aiokafka.protocol.types import Array, Bytes, Int8, Int16, Int32, Int64, Schema

from csv2kafka.kafka.wire.base import TEXT, Request

EARLIEST = -2  # ListOffsets' timestamps
LATEST = -1
ANY_REPLICA = -1


class ProduceResponse(Response):
    API_KEY = 0
    API_VERSION = 8
    SCHEMA = Schema(
        (
            "topics",
            Array(
                ("name", TEXT),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("base_offset", Int64),
                        ("log_append_time_ms", Int64),
                        ("log_start_offset", Int64),
                        ("record_errors", Array(("index", Int32), ("message", TEXT))),
                        ("error_message", TEXT),
                    ),
                ),
            ),
        ),
        ("throttle_time_ms", Int32),
    )

    topics: list[tuple[str, list[tuple[int, int, int, int, int, list[tuple[int, str | None]], str | None]]]]


class ProduceRequest(Request):
    """The batch itself follows: the records are the message's last field, so they need no copy into it."""

    NAME = "Produce"
    API_KEY = 0
    API_VERSION = 8
    RESPONSE_TYPE = ProduceResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("acks", Int16),
        ("timeout_ms", Int32),
        ("topics", Array(("name", TEXT), ("partitions", Array(("partition", Int32), ("records_size", Int32))))),
    )


class FetchResponse(Response):
    API_KEY = 1
    API_VERSION = 11
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            Array(
                ("name", TEXT),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("high_watermark", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        ("aborted_transactions", Array(("producer_id", Int64), ("first_offset", Int64))),
                        ("preferred_read_replica", Int32),
                        ("records", Bytes),
                    ),
                ),
            ),
        ),
    )

    error_code: int
    topics: list[tuple[str, list[tuple[int, int, int, int, int, list[tuple[int, int]] | None, int, bytes | None]]]]


class FetchRequest(Request):
    NAME = "Fetch"
    API_KEY = 1
    API_VERSION = 11
    RESPONSE_TYPE = FetchResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_ms", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            Array(
                ("name", TEXT),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("log_start_offset", Int64),
                        ("max_bytes", Int32),
                    ),
                ),
            ),
        ),
        ("forgotten_topics", Array(("name", TEXT), ("partitions", Array(Int32)))),
        ("rack_id", TEXT),
    )

    @classmethod
    def one(
        cls, topic: str, partition: int, offset: int, *, isolation: int, max_bytes: int, max_wait_ms: int
    ) -> FetchRequest:
        """One partition, without a fetch session."""
        wanted = [(topic, [(partition, -1, offset, -1, max_bytes)])]
        return cls(ANY_REPLICA, max_wait_ms, 1, max_bytes, isolation, 0, -1, wanted, [], "")


class ListOffsetsResponse(Response):
    API_KEY = 2
    API_VERSION = 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            Array(
                ("name", TEXT),
                (
                    "partitions",
                    Array(("partition", Int32), ("error_code", Int16), ("timestamp", Int64), ("offset", Int64)),
                ),
            ),
        ),
    )

    topics: list[tuple[str, list[tuple[int, int, int, int]]]]


class ListOffsetsRequest(Request):
    NAME = "ListOffsets"
    API_KEY = 2
    API_VERSION = 2
    RESPONSE_TYPE = ListOffsetsResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("isolation_level", Int8),
        ("topics", Array(("name", TEXT), ("partitions", Array(("partition", Int32), ("timestamp", Int64))))),
    )

    @classmethod
    def one(cls, topic: str, partition: int, timestamp: int, *, isolation: int) -> ListOffsetsRequest:
        """One partition's EARLIEST or LATEST."""
        return cls(ANY_REPLICA, isolation, [(topic, [(partition, timestamp)])])
