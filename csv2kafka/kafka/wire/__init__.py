"""Kafka's requests and answers that a session uses, each in the one version that Kafka 2.8 to 4.x and MSK share.

aiokafka's own are too old for topic ids (Metadata), the cluster's default replication (CreateTopics) and the
broker's words on a refused batch (Produce), or choose among versions by broker. One version each means that the
same bytes are spoken to every cluster; test_wire.py holds them against the brokers' ranges and Kafka's own bytes.

Nothing here knows a connection. ``NAME`` is how errors call the request.
"""

from csv2kafka.kafka.wire.base import Request
from csv2kafka.kafka.wire.cluster import (
    NO_TAGS,
    OPERATIONS_UNKNOWN,
    TOPIC_RESOURCE,
    TRANSACTION_COORDINATOR,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    MetadataRequest,
    MetadataResponse,
)
from csv2kafka.kafka.wire.login import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from csv2kafka.kafka.wire.records import (
    EARLIEST,
    LATEST,
    FetchRequest,
    FetchResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ProduceRequest,
    ProduceResponse,
)
from csv2kafka.kafka.wire.transactions import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
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
    SaslHandshakeRequest,
    SaslAuthenticateRequest,
)

__all__ = [
    "EARLIEST",
    "LATEST",
    "NO_TAGS",
    "OPERATIONS_UNKNOWN",
    "REQUESTS",
    "TOPIC_RESOURCE",
    "TRANSACTION_COORDINATOR",
    "AddPartitionsToTxnRequest",
    "AddPartitionsToTxnResponse",
    "CreateTopicsRequest",
    "CreateTopicsResponse",
    "DescribeConfigsRequest",
    "DescribeConfigsResponse",
    "EndTxnRequest",
    "EndTxnResponse",
    "FetchRequest",
    "FetchResponse",
    "FindCoordinatorRequest",
    "FindCoordinatorResponse",
    "InitProducerIdRequest",
    "InitProducerIdResponse",
    "ListOffsetsRequest",
    "ListOffsetsResponse",
    "MetadataRequest",
    "MetadataResponse",
    "ProduceRequest",
    "ProduceResponse",
    "Request",
    "SaslAuthenticateRequest",
    "SaslAuthenticateResponse",
    "SaslHandshakeRequest",
    "SaslHandshakeResponse",
]
