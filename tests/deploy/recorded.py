"""The IAM calls that requests to AWS are, so that what a job does need not be guessed: it is recorded.

    async with HttpProxy(aws.url) as proxy:
        ... a job with AWS_ENDPOINT_URL=proxy.url ...
    calls = {call for request in proxy.requests for call in calls_of(request)}

S3 by paths, DynamoDB, Secrets Manager and SSM. A request that is none it knows is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import frozen

from tests.aws.http_proxy import Request
from tests.deploy.iam import ACCOUNT, REGION

# S3: the action of a method, for an object and for its tags; with a version's id another one.
_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}
_TAGGING = {"GET": "GetObjectTagging", "PUT": "PutObjectTagging"}
_OF_VERSION = {
    "GetObject": "GetObjectVersion",
    "GetObjectTagging": "GetObjectVersionTagging",
    "PutObjectTagging": "PutObjectVersionTagging",
    "DeleteObject": "DeleteObjectVersion",
}


@frozen
class Call:
    """``context``: condition keys and what the request has for them."""

    action: str
    resource: str = "*"
    context: tuple[tuple[str, str], ...] = ()


def calls_of(request: Request) -> Iterator[Call]:
    """What IAM is asked for it."""
    target = request.headers.get("x-amz-target", "")
    if target.startswith("DynamoDB_"):
        table = json.loads(request.body)["TableName"]
        yield Call(f"dynamodb:{request.operation}", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}")
    elif target.startswith("secretsmanager."):
        secret = json.loads(request.body)["SecretId"]
        yield Call(f"secretsmanager:{request.operation}", _secret(secret))
    elif target.startswith("AmazonSSM."):
        name = json.loads(request.body)["Name"].removeprefix("/")
        yield Call(f"ssm:{request.operation}", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name}")
    elif target:
        raise ValueError(f"{target} is not read here")
    else:
        yield from _of_s3(request)


def _of_s3(request: Request) -> Iterator[Call]:
    parts = urlsplit(request.path)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
    if not key:
        if request.operation != "GET" or "list-type" not in query:
            raise ValueError(f"{request.operation} {request.path} is not read here")
        yield Call("s3:ListBucket", f"arn:aws:s3:::{bucket}", (("s3:prefix", query.get("prefix", "")),))
        return
    yield _of_object(request.operation, bucket, key, query)
    if "x-amz-copy-source" in request.headers:  # tags go with it: they are read there and put here
        source = urlsplit(request.headers["x-amz-copy-source"])
        from_bucket, _, from_key = unquote(source.path).removeprefix("/").partition("/")
        version = {name: values[0] for name, values in parse_qs(source.query).items()}
        yield _of_object("GET", from_bucket, from_key, version)
        yield _of_object("GET", from_bucket, from_key, {"tagging": "", **version})
        yield _of_object("PUT", bucket, key, {"tagging": ""})


def _of_object(method: str, bucket: str, key: str, query: Mapping[str, str]) -> Call:
    action = (_TAGGING if "tagging" in query else _OBJECT)[method]
    if "uploadId" in query and method == "DELETE":
        action = "AbortMultipartUpload"
    if "versionId" in query:
        action = _OF_VERSION[action]
    return Call(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}")


def _secret(name: str) -> str:
    """Its ARN; AWS puts six letters behind the name."""
    return name if name.startswith("arn:") else f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf"
