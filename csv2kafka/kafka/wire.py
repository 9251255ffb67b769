"""Kafka's requests and answers that a session uses, each in the one version that Kafka 2.8 to 4.x and MSK share.

aiokafka's own are too old for topic ids (Metadata), the cluster's default replication (CreateTopics) and the
broker's words on a refused batch (Produce), or choose among versions by broker. One version each means that the
same bytes are spoken to every cluster. ``KNOWN_VERSIONS`` in the tests holds them against the brokers' ranges.

Nothing here knows a connection. ``NAME`` is how errors call the request.
"""

from __future__ import annotations

from io import BytesIO
from typing import ClassVar

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Array,
    Boolean,
    Bytes,
    CompactArray,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)

EARLIEST = -2  # ListOffsets' timestamps
LATEST = -1
TOPIC_RESOURCE = 2  # DescribeConfigs' resource types
TRANSACTION_COORDINATOR = 1  # FindCoordinator's key types
ANY_REPLICA = -1
OPERATIONS_UNKNOWN = -(2**31)  # Metadata's authorized operations, where the broker does not say
NO_TAGS: dict[int, bytes] = {}

_NAME = String("utf-8")
_COMPACT_NAME = CompactString("utf-8")


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


class MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", _COMPACT_NAME), ("port", Int32), ("rack", _COMPACT_NAME),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", _COMPACT_NAME),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _COMPACT_NAME),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )  # fmt: skip

    brokers: list[tuple[int, str, int, str | None, dict[int, bytes]]]
    cluster_id: str | None
    controller_id: int
    topics: list[tuple[int, str, bytes, bool, list[tuple[int, int, int, int, list[int], list[int], list[int], dict[int, bytes]]], int, dict[int, bytes]]]  # fmt: skip  # noqa: E501


class MetadataRequest(Request):
    NAME = "Metadata"
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("name", _COMPACT_NAME), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )

    @classmethod
    def about(cls, *topics: str, operations: bool = False) -> MetadataRequest:
        """Brokers and these topics, with what the user may do with them if asked; never creates one."""
        return cls([(bytes(16), name, NO_TAGS) for name in topics], False, False, operations, NO_TAGS)


class FindCoordinatorResponse(Response):
    API_KEY = 10
    API_VERSION = 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", _NAME),
        ("node_id", Int32),
        ("host", _NAME),
        ("port", Int32),
    )

    error_code: int
    error_message: str | None
    node_id: int
    host: str
    port: int


class FindCoordinatorRequest(Request):
    NAME = "FindCoordinator"
    API_KEY = 10
    API_VERSION = 2
    RESPONSE_TYPE = FindCoordinatorResponse
    SCHEMA = Schema(("key", _NAME), ("key_type", Int8))


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
    SCHEMA = Schema(("transactional_id", _NAME), ("transaction_timeout_ms", Int32))


class AddPartitionsToTxnResponse(Response):
    API_KEY = 24
    API_VERSION = 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", Array(("name", _NAME), ("partitions", Array(("partition", Int32), ("error_code", Int16))))),
    )

    topics: list[tuple[str, list[tuple[int, int]]]]


class AddPartitionsToTxnRequest(Request):
    NAME = "AddPartitionsToTxn"
    API_KEY = 24
    API_VERSION = 2
    RESPONSE_TYPE = AddPartitionsToTxnResponse
    SCHEMA = Schema(
        ("transactional_id", _NAME),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("topics", Array(("name", _NAME), ("partitions", Array(Int32)))),
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
        ("transactional_id", _NAME), ("producer_id", Int64), ("producer_epoch", Int16), ("committed", Boolean)
    )


class ProduceResponse(Response):
    API_KEY = 0
    API_VERSION = 8
    SCHEMA = Schema(
        (
            "topics",
            Array(
                ("name", _NAME),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("base_offset", Int64),
                        ("log_append_time_ms", Int64),
                        ("log_start_offset", Int64),
                        ("record_errors", Array(("index", Int32), ("message", _NAME))),
                        ("error_message", _NAME),
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
        ("transactional_id", _NAME),
        ("acks", Int16),
        ("timeout_ms", Int32),
        ("topics", Array(("name", _NAME), ("partitions", Array(("partition", Int32), ("records_size", Int32))))),
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
                ("name", _NAME),
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
                ("name", _NAME),
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
        ("forgotten_topics", Array(("name", _NAME), ("partitions", Array(Int32)))),
        ("rack_id", _NAME),
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
                ("name", _NAME),
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
        ("topics", Array(("name", _NAME), ("partitions", Array(("partition", Int32), ("timestamp", Int64))))),
    )

    @classmethod
    def one(cls, topic: str, partition: int, timestamp: int, *, isolation: int) -> ListOffsetsRequest:
        """One partition's EARLIEST or LATEST."""
        return cls(ANY_REPLICA, isolation, [(topic, [(partition, timestamp)])])


class CreateTopicsResponse(Response):
    API_KEY = 19
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", Array(("name", _NAME), ("error_code", Int16), ("error_message", _NAME))),
    )

    topics: list[tuple[str, int, str | None]]


class CreateTopicsRequest(Request):
    NAME = "CreateTopics"
    API_KEY = 19
    API_VERSION = 4
    RESPONSE_TYPE = CreateTopicsResponse
    SCHEMA = Schema(
        (
            "topics",
            Array(
                ("name", _NAME),
                ("num_partitions", Int32),
                ("replication_factor", Int16),
                ("assignments", Array(("partition", Int32), ("brokers", Array(Int32)))),
                ("configs", Array(("name", _NAME), ("value", _NAME))),
            ),
        ),
        ("timeout_ms", Int32),
        ("validate_only", Boolean),
    )


class DescribeConfigsResponse(Response):
    API_KEY = 32
    API_VERSION = 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            Array(
                ("error_code", Int16),
                ("error_message", _NAME),
                ("resource_type", Int8),
                ("resource_name", _NAME),
                (
                    "configs",
                    Array(
                        ("name", _NAME),
                        ("value", _NAME),
                        ("read_only", Boolean),
                        ("source", Int8),
                        ("is_sensitive", Boolean),
                        ("synonyms", Array(("name", _NAME), ("value", _NAME), ("source", Int8))),
                    ),
                ),
            ),
        ),
    )

    results: list[tuple[int, str | None, int, str, list[tuple[str, str | None, bool, int, bool, list[tuple[str, str | None, int]]]]]]  # fmt: skip  # noqa: E501


class DescribeConfigsRequest(Request):
    NAME = "DescribeConfigs"
    API_KEY = 32
    API_VERSION = 2
    RESPONSE_TYPE = DescribeConfigsResponse
    SCHEMA = Schema(
        ("resources", Array(("resource_type", Int8), ("resource_name", _NAME), ("names", Array(_NAME)))),
        ("include_synonyms", Boolean),
    )


REQUESTS: tuple[type[Request], ...] = (
    ProduceRequest,
    FetchRequest,
    ListOffsetsRequest,
    MetadataRequest,
    FindCoordinatorRequest,
    CreateTopicsRequest,
    InitProducerIdRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    DescribeConfigsRequest,
)
