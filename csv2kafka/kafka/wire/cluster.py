"""Questions about the cluster: its nodes, topics and coordinators, and the creation of a topic."""

from __future__ import annotations

from aiokafka.protocol.api import Response
from aiokafka.protocol.types import Array, Boolean, CompactArray, Int8, Int16, Int32, Schema, TaggedFields

from csv2kafka.kafka.wire.base import COMPACT_TEXT, TEXT, Request, Uuid

TOPIC_RESOURCE = 2  # DescribeConfigs' resource types
TRANSACTION_COORDINATOR = 1  # FindCoordinator's key types
OPERATIONS_UNKNOWN = -(2**31)  # Metadata's authorized operations, where the broker does not say
NO_TAGS: dict[int, bytes] = {}


class MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", COMPACT_TEXT), ("port", Int32), ("rack", COMPACT_TEXT),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", COMPACT_TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", COMPACT_TEXT),
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
        ("topics", CompactArray(("topic_id", Uuid), ("name", COMPACT_TEXT), ("tags", TaggedFields))),
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
        ("error_message", TEXT),
        ("node_id", Int32),
        ("host", TEXT),
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
    SCHEMA = Schema(("key", TEXT), ("key_type", Int8))


class CreateTopicsResponse(Response):
    API_KEY = 19
    API_VERSION = 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", Array(("name", TEXT), ("error_code", Int16), ("error_message", TEXT))),
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
                ("name", TEXT),
                ("num_partitions", Int32),
                ("replication_factor", Int16),
                ("assignments", Array(("partition", Int32), ("brokers", Array(Int32)))),
                ("configs", Array(("name", TEXT), ("value", TEXT))),
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
                ("error_message", TEXT),
                ("resource_type", Int8),
                ("resource_name", TEXT),
                (
                    "configs",
                    Array(
                        ("name", TEXT),
                        ("value", TEXT),
                        ("read_only", Boolean),
                        ("source", Int8),
                        ("is_sensitive", Boolean),
                        ("synonyms", Array(("name", TEXT), ("value", TEXT), ("source", Int8))),
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
        ("resources", Array(("resource_type", Int8), ("resource_name", TEXT), ("names", Array(TEXT)))),
        ("include_synonyms", Boolean),
    )
