"""What of HTTP sources needs no server: addresses, and what is shown of them."""

from __future__ import annotations

import pytest

from csv2kafka.errors import ConfigError
from csv2kafka.sources.http import HttpSource


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://example.org/a.csv", "http://example.org/a.csv"),
        ("https://example.org:8443/a%20b.csv?v=2&w=%2F#part", "https://example.org:8443/a%20b.csv?v=2&w=%2F"),
        ("HTTPS://user:pa%40ss@example.org/a.csv", "https://example.org/a.csv"),
        ("http://example.org", "http://example.org/"),
        ("https://[::1]:8080/a.csv", "https://[::1]:8080/a.csv"),
        # S3, CloudFront, Google, Azure, and what people make up
        ("https://h/a.csv?X-Amz-Algorithm=x&X-Amz-Signature=s&versionId=3", "https://h/a.csv?versionId=3"),
        ("https://h/a.csv?Expires=1&Signature=s&Key-Pair-Id=k&Policy=p", "https://h/a.csv"),
        ("https://h/a.csv?X-Goog-Signature=s&GoogleAccessId=g", "https://h/a.csv"),
        ("https://h/a.csv?sv=2024&st=a&se=b&sr=b&sp=r&sig=s&snapshot=1", "https://h/a.csv?snapshot=1"),
        ("https://h/a.csv?token=t&access_token=t&api_key=k&apikey=k&format=csv", "https://h/a.csv?format=csv"),
    ],
)
def test_secrets_are_no_part_of_what_is_shown(url: str, shown: str) -> None:
    assert HttpSource(url).uri == shown


def test_several() -> None:
    assert HttpSource("http://h/b", "http://h/a").uri == "http://h/b http://h/a"


def test_all_that_is_wrong_is_told_at_once_without_what_was_given() -> None:
    with pytest.raises(ConfigError) as caught:
        HttpSource("http://u:s3cret@/x", "ftp://h/x", "http://h/a?token=1", "http://h/a?token=2", "http://[::/s3cret")
    assert len(caught.value.problems) == 4
    assert "'http://h/a': is given twice" in caught.value.problems[2]
    assert "s3cret" not in str(caught.value)


def test_nothing_given() -> None:
    with pytest.raises(ConfigError, match="no address"):
        HttpSource()
