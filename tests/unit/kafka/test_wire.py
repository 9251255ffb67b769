"""The hand-made requests and answers against bytes that Kafka 4.1's own Java classes wrote."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest

from csv2kafka.kafka import wire

# Made with org.apache.kafka.common.message.*Data and MessageUtil.toByteBufferAccessor(message, version), of
# kafka-clients 4.1.0. Large numbers are above what 32 bits hold.
GOLDEN = {
    "MetadataRequest": "0200000000000000000000000000000000076f72646572730000000000",
    "MetadataResponse": (
        "000000070300000001036231000023840000000000020362320000238502720008636c75737465720000000202000007"
        "6f72646572730102030405060708090a0b0c0d0e0f100003000000000000000000020000000503000000020000000102"
        "00000002020000000100000500000001ffffffffffffffff020000000101010080000000008000000000"
    ),
    "FindCoordinatorRequest": "00036a6f6201",
    "FindCoordinatorResponse": "00000007000000044e4f4e45000000030002623300002386",
    "InitProducerIdRequest": "00036a6f620000ea60",
    "InitProducerIdRequestNull": "ffff0000ea60",
    "InitProducerIdResponse": "00000007000000000000ee6b28000003",
    "AddPartitionsToTxnRequest": (
        "00036a6f6200000000ee6b280000030000000200066f726465727300000002000000000000000200036261640000000100000000"
    ),
    "AddPartitionsToTxnResponse": "000000070000000100066f726465727300000001000000020037",
    "EndTxnRequest": "00036a6f6200000000ee6b2800000301",
    "EndTxnResponse": "00000007005a",
    "ProduceRequest": "00036a6f62ffff00004e200000000100066f72646572730000000100000002000000056261746368",
    "ProduceResponse": (
        "0000000100066f72646572730000000100000002005700000000ee6b2800ffffffffffffffff00000000000000050000"
        "00010000000100066e6f206b6579000872656a656374656400000007"
    ),
    "FetchRequest": (
        "ffffffff000001f400000001001000000100000000ffffffff0000000100066f72646572730000000100000002ffffff"
        "ff00000000ee6b2800ffffffffffffffff00100000000000000000"
    ),
    "FetchResponse": (
        "000000070000000000000000000100066f72646572730000000100000002000000000000000000090000000000000008"
        "00000000000000010000000100000000ee6b28000000000000000003ffffffff000000056261746368"
    ),
    "ListOffsetsRequest": "ffffffff010000000100066f72646572730000000100000002fffffffffffffffe",
    "ListOffsetsResponse": "000000070000000100066f726465727300000001000000020000ffffffffffffffff00000000ee6b2800",
    "CreateTopicsRequest": (
        "0000000100066f726465727300000003ffff0000000000000001000e636c65616e75702e706f6c6963790007636f6d70"
        "61637400004e2000"
    ),
    "CreateTopicsResponse": "000000070000000100066f726465727300240006657869737473",
    "DescribeConfigsRequest": "000000010200066f7264657273ffffffff00",
    "DescribeConfigsResponse": (
        "0000000700000001000000000200066f726465727300000001000e636c65616e75702e706f6c6963790007636f6d7061"
        "63740001000000000100126c6f672e636c65616e75702e706f6c696379000664656c65746505"
    ),
    "SaslHandshakeRequest": "000b4f41555448424541524552",
    "SaslHandshakeResponse": "0021000000020005504c41494e000d534352414d2d5348412d353132",
    "SaslAuthenticateRequest": "000000036e2c2c",
    "SaslAuthenticateResponse": "003a00026e6f00000005627974657300000000ee6b2800",
}
BIG = 4_000_000_000
TOPIC_ID = bytes(range(1, 17))

REQUESTS: dict[str, wire.Request] = {
    "MetadataRequest": wire.MetadataRequest.about("orders"),
    "FindCoordinatorRequest": wire.FindCoordinatorRequest("job", wire.TRANSACTION_COORDINATOR),
    "InitProducerIdRequest": wire.InitProducerIdRequest("job", 60_000),
    "InitProducerIdRequestNull": wire.InitProducerIdRequest(None, 60_000),
    "AddPartitionsToTxnRequest": wire.AddPartitionsToTxnRequest("job", BIG, 3, [("orders", [0, 2]), ("bad", [0])]),
    "EndTxnRequest": wire.EndTxnRequest("job", BIG, 3, True),
    "FetchRequest": wire.FetchRequest.one("orders", 2, BIG, isolation=1, max_bytes=1 << 20, max_wait_ms=500),
    "ListOffsetsRequest": wire.ListOffsetsRequest.one("orders", 2, wire.EARLIEST, isolation=1),
    "CreateTopicsRequest": wire.CreateTopicsRequest(
        [("orders", 3, -1, [], [("cleanup.policy", "compact")])], 20_000, False
    ),
    "DescribeConfigsRequest": wire.DescribeConfigsRequest([(wire.TOPIC_RESOURCE, "orders", None)], False),
    "SaslHandshakeRequest": wire.SaslHandshakeRequest("OAUTHBEARER"),
    "SaslAuthenticateRequest": wire.SaslAuthenticateRequest(b"n,,"),
}
NO_TAGS: dict[int, bytes] = {}
ANSWERS: dict[str, tuple[type[Any], dict[str, object]]] = {
    "MetadataResponse": (
        wire.MetadataResponse,
        {
            "brokers": [(1, "b1", 9092, None, NO_TAGS), (2, "b2", 9093, "r", NO_TAGS)],
            "cluster_id": "cluster",
            "controller_id": 2,
            "topics": [
                (
                    0,
                    "orders",
                    TOPIC_ID,
                    False,
                    [(0, 0, 2, 5, [2, 1], [2], [1], NO_TAGS), (5, 1, -1, -1, [1], [], [], NO_TAGS)],
                    -(2**31),
                    NO_TAGS,
                )
            ],
        },
    ),
    "FindCoordinatorResponse": (
        wire.FindCoordinatorResponse,
        {"error_code": 0, "error_message": "NONE", "node_id": 3, "host": "b3", "port": 9094},
    ),
    "InitProducerIdResponse": (
        wire.InitProducerIdResponse,
        {"error_code": 0, "producer_id": BIG, "producer_epoch": 3},
    ),
    "AddPartitionsToTxnResponse": (wire.AddPartitionsToTxnResponse, {"topics": [("orders", [(2, 55)])]}),
    "EndTxnResponse": (wire.EndTxnResponse, {"error_code": 90}),
    "ProduceResponse": (
        wire.ProduceResponse,
        {"topics": [("orders", [(2, 87, BIG, -1, 5, [(1, "no key")], "rejected")])]},
    ),
    "FetchResponse": (
        wire.FetchResponse,
        {"error_code": 0, "topics": [("orders", [(2, 0, 9, 8, 1, [(BIG, 3)], -1, b"batch")])]},
    ),
    "ListOffsetsResponse": (wire.ListOffsetsResponse, {"topics": [("orders", [(2, 0, -1, BIG)])]}),
    "CreateTopicsResponse": (wire.CreateTopicsResponse, {"topics": [("orders", 36, "exists")]}),
    "DescribeConfigsResponse": (
        wire.DescribeConfigsResponse,
        {
            "results": [
                (
                    0,
                    "",
                    2,
                    "orders",
                    [("cleanup.policy", "compact", False, 1, False, [("log.cleanup.policy", "delete", 5)])],
                )
            ]
        },
    ),
    "SaslHandshakeResponse": (
        wire.SaslHandshakeResponse,
        {"error_code": 33, "mechanisms": ["PLAIN", "SCRAM-SHA-512"]},
    ),
    "SaslAuthenticateResponse": (
        wire.SaslAuthenticateResponse,
        {"error_code": 58, "error_message": "no", "auth_bytes": b"bytes", "session_lifetime_ms": BIG},
    ),
}
# API key → lowest and highest version that the brokers answer ApiVersions with.
KAFKA_2_8 = {
    0: (0, 9),
    1: (0, 12),
    2: (0, 6),
    3: (0, 11),
    10: (0, 3),
    17: (0, 1),
    19: (0, 7),
    22: (0, 4),
    24: (0, 3),
    26: (0, 3),
    32: (0, 4),
    36: (0, 2),
}
KAFKA_4_1 = {
    0: (3, 13),
    1: (4, 18),
    2: (1, 10),
    3: (0, 13),
    10: (0, 6),
    17: (0, 1),
    19: (2, 7),
    22: (0, 6),
    24: (0, 5),
    26: (0, 5),
    32: (1, 4),
    36: (0, 2),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_written_as_kafka_writes_them(name: str) -> None:
    assert REQUESTS[name].encode().hex() == GOLDEN[name]


def test_a_batch_stands_behind_the_produce_requests_last_field() -> None:
    batch = b"batch"
    head = wire.ProduceRequest("job", -1, 20_000, [("orders", [(2, len(batch))])])
    assert (head.encode() + batch).hex() == GOLDEN["ProduceRequest"]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_read_as_kafka_writes_them(name: str) -> None:
    kind, expected = ANSWERS[name]
    data = BytesIO(bytes.fromhex(GOLDEN[name]))
    answer = kind.decode(data)
    assert {field: getattr(answer, field) for field in expected} == expected
    assert data.read() == b""


def test_every_request_and_answer_is_compared() -> None:
    written = {request.__name__ for request in wire.REQUESTS}
    assert written == {name for name in GOLDEN if name.endswith("Request")}
    assert {request.RESPONSE_TYPE.__name__ for request in wire.REQUESTS} == set(ANSWERS)


@pytest.mark.parametrize("ranges", [KAFKA_2_8, KAFKA_4_1], ids=["2.8", "4.1"])
def test_the_one_version_of_each_request_is_spoken_by_old_and_new_brokers(ranges: dict[int, tuple[int, int]]) -> None:
    for request in wire.REQUESTS:
        low, high = ranges[request.API_KEY]
        assert low <= request.API_VERSION <= high, request.NAME


def test_headers_of_flexible_requests_have_tags() -> None:
    plain = wire.EndTxnRequest("job", 1, 0, True).build_request_header(5, "me").encode()
    flexible = wire.MetadataRequest.about().build_request_header(5, "me").encode()
    assert plain.hex() == "001a00020000000500026d65"
    assert flexible.hex() == "0003000a0000000500026d6500"
