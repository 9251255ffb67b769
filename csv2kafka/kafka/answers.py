"""What a broker's answer means for a session, above all its error code: ask again, ask who owns the job, doubt, stop.

``refusal`` is the one place where codes become exceptions. What is not in its tables is a doubt, as is an answer about
something else than was asked (``sole``, ``of_partition``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, NotAuthorized
from csv2kafka.kafka.port import BrokerError, Fenced, NothingDone, OffsetOutOfRange, TopicPartition
from csv2kafka.kafka.wire import Request

T = TypeVar("T")


class Code(enum.IntEnum):
    """Kafka's error codes that are told apart here; ``NAMES`` has all."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    MESSAGE_TOO_LARGE = 10
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    TOPIC_AUTHORIZATION_FAILED = 29
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_CONFIG = 40
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    INVALID_PRODUCER_EPOCH = 47
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    OPERATION_NOT_ATTEMPTED = 55
    UNSUPPORTED_COMPRESSION_TYPE = 76
    INVALID_RECORD = 87
    PRODUCER_FENCED = 90


# Kafka 4.1's, from NONE (0) on.
_NAMES = """
NONE OFFSET_OUT_OF_RANGE CORRUPT_MESSAGE UNKNOWN_TOPIC_OR_PARTITION INVALID_FETCH_SIZE LEADER_NOT_AVAILABLE
NOT_LEADER_OR_FOLLOWER REQUEST_TIMED_OUT BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE MESSAGE_TOO_LARGE
STALE_CONTROLLER_EPOCH OFFSET_METADATA_TOO_LARGE NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS
COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR INVALID_TOPIC_EXCEPTION RECORD_LIST_TOO_LARGE NOT_ENOUGH_REPLICAS
NOT_ENOUGH_REPLICAS_AFTER_APPEND INVALID_REQUIRED_ACKS ILLEGAL_GENERATION INCONSISTENT_GROUP_PROTOCOL
INVALID_GROUP_ID UNKNOWN_MEMBER_ID INVALID_SESSION_TIMEOUT REBALANCE_IN_PROGRESS INVALID_COMMIT_OFFSET_SIZE
TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED INVALID_TIMESTAMP
UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE UNSUPPORTED_VERSION TOPIC_ALREADY_EXISTS INVALID_PARTITIONS
INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG NOT_CONTROLLER INVALID_REQUEST
UNSUPPORTED_FOR_MESSAGE_FORMAT POLICY_VIOLATION OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER
INVALID_PRODUCER_EPOCH INVALID_TXN_STATE INVALID_PRODUCER_ID_MAPPING INVALID_TRANSACTION_TIMEOUT
CONCURRENT_TRANSACTIONS TRANSACTION_COORDINATOR_FENCED TRANSACTIONAL_ID_AUTHORIZATION_FAILED SECURITY_DISABLED
OPERATION_NOT_ATTEMPTED KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND SASL_AUTHENTICATION_FAILED UNKNOWN_PRODUCER_ID
REASSIGNMENT_IN_PROGRESS DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH
DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_EXPIRED
INVALID_PRINCIPAL_TYPE NON_EMPTY_GROUP GROUP_ID_NOT_FOUND FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH
LISTENER_NOT_FOUND TOPIC_DELETION_DISABLED FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH UNSUPPORTED_COMPRESSION_TYPE
STALE_BROKER_EPOCH OFFSET_NOT_AVAILABLE MEMBER_ID_REQUIRED PREFERRED_LEADER_NOT_AVAILABLE GROUP_MAX_SIZE_REACHED
FENCED_INSTANCE_ID ELIGIBLE_LEADERS_NOT_AVAILABLE ELECTION_NOT_NEEDED NO_REASSIGNMENT_IN_PROGRESS
GROUP_SUBSCRIBED_TO_TOPIC INVALID_RECORD UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED PRODUCER_FENCED
RESOURCE_NOT_FOUND DUPLICATE_RESOURCE UNACCEPTABLE_CREDENTIAL INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION
FEATURE_UPDATE_FAILED PRINCIPAL_DESERIALIZATION_FAILURE SNAPSHOT_NOT_FOUND POSITION_OUT_OF_RANGE UNKNOWN_TOPIC_ID
DUPLICATE_BROKER_REGISTRATION BROKER_ID_NOT_REGISTERED INCONSISTENT_TOPIC_ID INCONSISTENT_CLUSTER_ID
TRANSACTIONAL_ID_NOT_FOUND FETCH_SESSION_TOPIC_ID_ERROR INELIGIBLE_REPLICA NEW_LEADER_ELECTED
OFFSET_MOVED_TO_TIERED_STORAGE FENCED_MEMBER_EPOCH UNRELEASED_INSTANCE_ID UNSUPPORTED_ASSIGNOR STALE_MEMBER_EPOCH
MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE UNKNOWN_CONTROLLER_ID UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE
INVALID_REGISTRATION TRANSACTION_ABORTABLE
"""
NAMES = tuple(_NAMES.split())

_NOTHING_DONE = {Code.CONCURRENT_TRANSACTIONS, Code.COORDINATOR_LOAD_IN_PROGRESS}
# Looking for a coordinator changes nothing. InitProducerId done twice is as good as once: what counts is the last
# answer. In a new cluster, whose transaction topic is only made when first asked for, each of these comes.
_NO_COORDINATOR = {Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR}
_OPENING = {"FindCoordinator", "InitProducerId"}
_FENCED = {Code.INVALID_PRODUCER_EPOCH, Code.PRODUCER_FENCED, Code.INVALID_PRODUCER_ID_MAPPING}

# Codes that waiting cannot change: what it means, what to do.
_FINAL: Mapping[int, tuple[str, str]] = {
    Code.MESSAGE_TOO_LARGE: (
        "the record batch is larger than the topic's max.message.bytes",
        "the limit was lowered during the run; run again, batches are made to the limit found at the start",
    ),
    Code.RECORD_LIST_TOO_LARGE: (
        "the record batch is larger than the topic's segment.bytes",
        "raise the topic's segment.bytes above its max.message.bytes",
    ),
    Code.INVALID_TOPIC_EXCEPTION: (
        "not a name a topic can have, or a topic that clients may not write to",
        "a topic's name has letters, digits, dots, dashes and underscores, 249 at most",
    ),
    Code.INVALID_TIMESTAMP: (
        "the broker does not take records of this time",
        "set this machine's clock right, or see the topic's message.timestamp.before.max.ms and after.max.ms",
    ),
    Code.UNSUPPORTED_VERSION: ("the broker is too old for this", "Kafka 2.8 or later is needed"),
    Code.UNSUPPORTED_FOR_MESSAGE_FORMAT: (
        "the topic's message format is too old for this",
        "raise the topic's message.format.version to 2.8 or later",
    ),
    Code.UNSUPPORTED_COMPRESSION_TYPE: ("the broker does not know this compression", "choose another --compression"),
    Code.INVALID_RECORD: (
        "the broker refuses these records",
        "records of a compacted topic need keys: give --key, or set cleanup.policy=delete",
    ),
    Code.INVALID_PARTITIONS: ("the cluster does not take this number of partitions", "create the topic by hand"),
    Code.INVALID_REPLICATION_FACTOR: (
        "the cluster has fewer brokers than its default.replication.factor",
        "start the missing brokers, or create the topic by hand",
    ),
    Code.INVALID_CONFIG: ("the cluster refuses this topic configuration", "create the topic by hand"),
    Code.POLICY_VIOLATION: ("the cluster's policy forbids it", "create the topic by hand, as the policy wants it"),
    Code.INVALID_TRANSACTION_TIMEOUT: (
        "the transaction time-out is larger than the broker's transaction.max.timeout.ms",
        "raise transaction.max.timeout.ms on the brokers to 60000 or more (default: 900000)",
    ),
}

_WRITE = ("Write on the topic", "WriteData")
_DESCRIBE = ("Describe on the topic", "DescribeTopic")
_CREATE = ("Create on the topic or the cluster", "CreateTopic")
_IDEMPOTENT = ("IdempotentWrite on the cluster", "WriteDataIdempotently")
_TRANSACTIONAL = ("Write and Describe on the transactional id", "AlterTransactionalId and DescribeTransactionalId")

# (operation, code) → the permission that is missing, as Kafka's ACLs and as MSK's IAM actions name it.
_PERMISSIONS: Mapping[tuple[str, int], tuple[str, str]] = {
    ("Produce", Code.TOPIC_AUTHORIZATION_FAILED): _WRITE,
    ("AddPartitionsToTxn", Code.TOPIC_AUTHORIZATION_FAILED): _WRITE,
    ("Fetch", Code.TOPIC_AUTHORIZATION_FAILED): ("Read on the topic", "ReadData"),
    ("ListOffsets", Code.TOPIC_AUTHORIZATION_FAILED): _DESCRIBE,
    ("Metadata", Code.TOPIC_AUTHORIZATION_FAILED): _DESCRIBE,
    ("CreateTopics", Code.TOPIC_AUTHORIZATION_FAILED): _CREATE,
    ("CreateTopics", Code.CLUSTER_AUTHORIZATION_FAILED): _CREATE,
    ("Produce", Code.CLUSTER_AUTHORIZATION_FAILED): _IDEMPOTENT,
    ("InitProducerId", Code.CLUSTER_AUTHORIZATION_FAILED): _IDEMPOTENT,
}
_AUTHORIZATION = {
    Code.TOPIC_AUTHORIZATION_FAILED: ("an operation on the topic", "DescribeTopic"),
    Code.CLUSTER_AUTHORIZATION_FAILED: ("ClusterAction on the cluster", "DescribeCluster"),
    Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: _TRANSACTIONAL,
}


def refusal(operation: str, subject: str, code: int, message: str | None = None) -> Csv2KafkaError:
    """The exception for an answer with an error. ``subject``: what the request was about (``orders-0``)."""
    about = f"{operation} ({subject})" if subject else operation
    name, detail = code_name(code), message or ""
    if code in _AUTHORIZATION:
        acl, action = _PERMISSIONS.get((operation, code), _AUTHORIZATION[Code(code)])
        actions = " and ".join(f"kafka-cluster:{part}" for part in action.split(" and "))
        return NotAuthorized(
            f"{about}: the broker answered {name}: not allowed",
            hint=f"give the user this permission: {acl} (with IAM: {actions})",
        )
    if code in _FINAL:
        meaning, hint = _FINAL[code]
        return ConfigError(f"{about}: {meaning} ({name}{': ' + detail if detail else ''})", hint=hint)
    kind: type[BrokerError] = BrokerError
    if code in _FENCED:
        kind = Fenced
    elif code in _NOTHING_DONE or (code in _NO_COORDINATOR and operation in _OPENING):
        kind = NothingDone
    elif code == Code.OFFSET_OUT_OF_RANGE:
        kind = OffsetOutOfRange
    return kind(about, code, name, detail)


def code_name(code: int) -> str:
    """Kafka's name of an error code."""
    if 0 <= code < len(NAMES):
        return NAMES[code]
    return "UNKNOWN_SERVER_ERROR" if code == -1 else "UNKNOWN_ERROR"


def sole(entries: Sequence[T] | None, request: Request | type[Request]) -> T:
    """What an answer says of the one thing that was asked about; Doubt if it is not about one."""
    if entries is None or len(entries) != 1:
        raise Doubt(f"{request.NAME}: asked about one thing, the broker's answer is about {len(entries or ())}")
    return entries[0]


def of_partition(
    target: TopicPartition,
    topics: Sequence[tuple[str, Sequence[T] | None]] | None,
    request: Request | type[Request],
) -> T:
    """The same of the one partition; Doubt also if it is about another."""
    topic, entries = sole(topics, request)
    entry = sole(entries, request)
    about: Any = entry
    if (topic, about[0]) != (target.topic, target.partition):
        raise Doubt(f"{request.NAME}: asked about {target}, the broker's answer is about {topic}-{about[0]}")
    return entry
