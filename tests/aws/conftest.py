"""AWS for tests: moto's server, found through botocore's own environment variables, as a user's would be."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest
from attrs import frozen

from tests.aws.moto import moto_server


@frozen
class Aws:
    """A running moto. ``environment``: what makes a process, or this one, use it."""

    url: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",  # boto3 in tests knows only this one
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str) -> Any:
        """boto3's client for it: another implementation than the package's, to put things there and look."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="eu-west-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """The server that this test process's tests share."""
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        yield Aws(url)


@pytest.fixture
def aws(moto: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The server, with this process's environment pointing at it."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    return moto


@pytest.fixture
def make_bucket(moto: Aws) -> Callable[[], str]:
    """Makes a bucket of the test's own and gives its name."""
    s3 = moto.client("s3")

    def make(*, versioned: bool = False) -> str:
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        if versioned:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    return make


@pytest.fixture
def bucket(make_bucket: Callable[[], str]) -> str:
    """The name of a new bucket without versioning."""
    return make_bucket()
