"""What botocore says, as this package's errors: what may pass is asked again, what cannot stops the run."""

from __future__ import annotations

import aiohttp
import pytest
from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError

from csv2kafka.aws.client import explained
from csv2kafka.errors import ConfigError, Csv2KafkaError, Doubt, NotAuthorized, NotReachable

URL = "http://here"


def answered(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered("SlowDown", 503), Doubt),
        (answered("Anything", 500), Doubt),
        (answered("Anything", 429), Doubt),
        (answered("ThrottlingException", 400), Doubt),
        (answered("ExpiredToken", 400), Doubt),
        (answered("RequestTimeTooSkewed", 403), Doubt),
        (answered("AccessDeniedException", 400), NotAuthorized),
        (answered("Anything", 403), NotAuthorized),
        (answered("InvalidAccessKeyId", 403), NotAuthorized),
        (answered("Anything", 400), ConfigError),
        (botocore_errors.IncompleteReadError(actual_bytes=1, expected_bytes=2), Doubt),
        (botocore_errors.FlexibleChecksumError(error_msg="another"), Doubt),
        (botocore_errors.CredentialRetrievalError(provider="role", error_msg="no answer"), Doubt),
        (aiohttp.ClientPayloadError("cut off"), Doubt),
        (TimeoutError(), Doubt),
        (ConnectionResetError(), Doubt),
        (botocore_errors.EndpointConnectionError(endpoint_url=URL), NotReachable),
        (botocore_errors.ConnectTimeoutError(endpoint_url=URL), NotReachable),
        (botocore_errors.ConnectionClosedError(endpoint_url=URL), NotReachable),
        (botocore_errors.ReadTimeoutError(endpoint_url=URL), NotReachable),
        (botocore_errors.SSLError(endpoint_url=URL, error="unknown authority"), NotReachable),
        (botocore_errors.ProxyConnectionError(proxy_url=URL), NotReachable),
        (botocore_errors.NoCredentialsError(), ConfigError),
        (botocore_errors.NoRegionError(), ConfigError),
        (botocore_errors.ProfileNotFound(profile="x"), ConfigError),
        (botocore_errors.UnsupportedS3ArnError(arn="arn:x"), ConfigError),
        (botocore_errors.UnsupportedS3ConfigurationError(msg="accelerate"), ConfigError),
        (botocore_errors.MissingDependencyException(msg="crt"), ConfigError),
        (botocore_errors.ParamValidationError(report="a name"), ConfigError),
        (botocore_errors.UnknownSignatureVersionError(signature_version="x"), ConfigError),
        (ValueError("Invalid endpoint: here"), ConfigError),
    ],
    ids=lambda value: f"{value}"[:50] if isinstance(value, Exception) else value.__name__,
)
def test_what_it_becomes(error: BaseException, kind: type[Csv2KafkaError]) -> None:
    found = explained(error, doing="reading it", action="s3:GetObject", resource="an object")
    assert type(found) is kind
    assert found.message.startswith("reading it: ")
    if isinstance(found, ConfigError) and not isinstance(error, ClientError):
        assert found.hint


def test_an_error_that_was_told_stays_as_it_is() -> None:
    error = Doubt("told")
    assert explained(error, doing="reading it") is error
