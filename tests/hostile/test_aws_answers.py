"""A share of the campaign over what answers in the place of AWS, and what is more than one answer."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csv2kafka.aws import http
from csv2kafka.aws.client import AwsClient
from csv2kafka.errors import Csv2KafkaError, NotReachable
from tests.hostile import aws_answers
from tests.hostile.aws_answers import OF_ALL, OF_ITEMS, OF_LISTS, OF_OBJECTS, PORTAL, cases
from tests.hostile.aws_server import Asked, AwsServer, answer, aws_server, listing
from tests.hostile.campaign import campaign
from tests.hostile.forked import Forked, forked

KEY = "customers-own-key-of-32-bytes!!!"


@pytest.fixture(scope="module")
def serving() -> Iterator[AwsServer]:
    with aws_server() as made:
        yield made


@pytest.fixture
def aws(serving: AwsServer, monkeypatch: pytest.MonkeyPatch) -> AwsServer:
    """With this process's environment pointing at it."""
    serving.instead = lambda asked: None
    serving.asked.clear()
    serving.items.clear()
    serving.objects.clear()
    aws_answers.laid_out(serving)
    for name, value in serving.environment.items():
        monkeypatch.setenv(name, value)
    return serving


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    with forked(tmp_path_factory.mktemp("hostile")) as made:
        yield made


# Of each request one command; the campaign has them all.
SHARE = [
    *(("preview", "GetObject", name) for name in ["no ETag", "a range of something", "bytes without end"]),
    *(("a glob", "ListObjectsV2", name) for name in ["laughs", "laughs in UTF-16", "pages without end", "deep XML"]),
    *(("jobs of items", "GetItem", name) for name in ["deeper", "JSON without end", "bytes that are none"]),
    *(("jobs of items", "Scan", name) for name in ["an item of other things", "types that are none"]),
    ("a table", "DescribeTable", "items that are a map"),
    ("a table", "DescribeTimeToLive", "an item that is a list"),
    ("items", "UpdateItem", "an error with an item"),
    ("objects", "GetObject", "HTML with 404"),
]


@pytest.mark.parametrize(("of", "operation", "name"), SHARE)
def test_an_answer_that_is_none(
    aws: AwsServer, command: Forked, tmp_path: Path, of: str, operation: str, name: str
) -> None:
    assert (of, operation, name) in set(cases())
    aws_answers.tried(of, operation, name, aws, command, tmp_path, draw=random.Random(1))


def test_answers_that_are_spoiled(aws: AwsServer, command: Forked, tmp_path: Path) -> None:
    campaign("aws", lambda seed: aws_answers.try_one(seed, aws, command, tmp_path), count=3, first=2)


async def asked(operation: str = "get_object", service: str = "s3", *, seconds: float = 2.0, **parameters: Any) -> Any:
    client = AwsClient(service, connect_seconds=seconds, read_seconds=seconds, attempts=1)
    given = {"get_object": {"Bucket": "b", "Key": "orders.csv"}, "list_objects_v2": {"Bucket": "b"}}
    try:
        return await client.call(
            operation, doing="asking", action="", resource="", **given.get(operation, {}), **parameters
        )
    finally:
        await client.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nothing_follows_a_redirect(aws: AwsServer, status: int) -> None:
    """Session tokens and customers' keys would go to the other host; aiohttp takes away only ``Authorization``."""
    with aws_server() as other:
        aws.instead = lambda asked: [answer(status, b"", Location=f"{other.url}/b/orders.csv")]
        with pytest.raises(Csv2KafkaError):
            await asked(SSECustomerAlgorithm="AES256", SSECustomerKey=KEY)
        assert not other.asked
    assert len(aws.asked) <= 2  # the other asks for the bucket's region


@pytest.mark.parametrize("status", [301, 307])
async def test_a_redirect_to_itself_has_an_end(aws: AwsServer, status: int) -> None:
    """botocore would ask for the region until its stack is full, a hundred times."""
    aws.instead = lambda asked: [answer(status, b"", Location=f"{aws.url}/b/orders.csv")]
    with pytest.raises(NotReachable, match="which is not followed"):
        await asked()
    assert len(aws.asked) == 2


async def test_a_body_that_drips_has_an_end(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within the time of a read."""
    monkeypatch.setattr(http, "MOST_SECONDS", 0.5)

    def drip(_: Asked) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n"
        for _number in range(100):
            time.sleep(0.05)
            yield b" "

    aws.instead = drip
    with pytest.raises(NotReachable, match="was not over after 4 s"):
        await asked("list_objects_v2")


async def test_what_s3_copies_by_itself_may_take_its_time(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends spaces meanwhile, so that nobody takes the connection for dead."""
    monkeypatch.setattr(http, "MOST_SECONDS", 0.1)
    done = b'<CompleteMultipartUploadResult><ETag>"x-2"</ETag></CompleteMultipartUploadResult>'

    def slowly(_: Asked) -> Iterable[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n"
        for _number in range(15):
            time.sleep(0.1)
            yield b" "
        yield done

    aws.instead = slowly
    given: dict[str, Any] = {"Bucket": "b", "Key": "k", "UploadId": "u", "MultipartUpload": {"Parts": []}}
    assert (await asked("complete_multipart_upload", seconds=0.3, **given))["ETag"] == '"x-2"'


async def test_hints_that_do_not_end_have_one(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_SECONDS", 0.5)
    aws.instead = lambda asked: (b"HTTP/1.1 100 Continue\r\n\r\n" for _ in range(10_000_000))
    with pytest.raises(NotReachable):
        await asked()


async def test_a_page_for_people_is_no_missing_item(aws: AwsServer) -> None:
    """botocore would say that there is none, and a run begin at row 0."""
    for body in (PORTAL, b"", b"[]", b'{"Item', b"null"):
        aws.instead = lambda asked, body=body: [answer(200, body, "text/html")]  # type: ignore[misc]
        with pytest.raises(NotReachable, match="what answered is not AWS"):
            await asked("get_item", "dynamodb", TableName="table", Key={"job": {"S": "x"}})


@pytest.mark.parametrize(
    ("status", "page", "words"),
    [
        (400, PORTAL, "not AWS"),
        (403, PORTAL, "not AWS"),
        (404, PORTAL, "not AWS"),
        (404, b"", "not AWS"),
        (502, PORTAL, "AWS answered 502"),
    ],
)
async def test_a_refusal_that_is_not_of_aws_may_pass(aws: AwsServer, status: int, page: bytes, words: str) -> None:
    """A proxy's, say; a run that goes on for hours does not end for it."""
    aws.instead = lambda asked: [answer(status, page, "text/html")]
    with pytest.raises(Csv2KafkaError, match=words) as caught:
        await asked("list_objects_v2")
    assert caught.value.retryable


async def test_who_gives_credentials_is_asked_in_the_same_way(
    aws: AwsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("token")
    with aws_server() as other:
        aws.instead = lambda asked: [answer(307, b"", Location=f"{other.url}/")]
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/loader")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
        with pytest.raises(Csv2KafkaError):
            await asked()
        assert aws.asked
        assert not other.asked


async def test_a_listing_of_another_alphabet_is_a_listing(aws: AwsServer) -> None:
    """Or a wrong one would be refused for another reason."""
    aws.instead = lambda asked: [answer(200, "\ufeff".encode() + listing(["p/ä<!DOCTYPE"]), "application/xml")]
    page = await asked("list_objects_v2")
    assert [each["Key"] for each in page["Contents"]] == ["p/ä<!DOCTYPE"]


def test_every_answer_is_tried() -> None:
    assert {name for _, _, name in cases()} == {*OF_ALL, *OF_LISTS, *OF_OBJECTS, *OF_ITEMS}
