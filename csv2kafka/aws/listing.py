"""A page of a bucket's listing: its keys and what names the next one, or that it is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csv2kafka.aws.client import not_aws

_SIGNS = ("IsTruncated", "KeyCount", "Contents", "CommonPrefixes")  # one is in each page of whatever speaks S3


def keys_of(page: Mapping[str, Any], doing: str) -> list[str]:
    """The page's keys. NotReachable if it is no listing: nothing would seem to be there."""
    found = [each.get("Key") for each in page.get("Contents", ())]
    if not any(sign in page for sign in _SIGNS) or not all(found):
        raise not_aws(doing, "it lists no keys")
    return found


def next_page(page: Mapping[str, Any], before: Mapping[str, Any], doing: str) -> str:
    """Its continuation token. NotReachable if there is none, or the one that led here."""
    token: str = page.get("NextContinuationToken", "")
    if not token or token == before.get("ContinuationToken"):
        raise not_aws(doing, "a listing that does not come to its end")
    return token
