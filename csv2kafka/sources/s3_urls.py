"""``s3://`` URLs as the AWS CLI takes them, and which keys they name. No network here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from csv2kafka.sources.globs import matches

SCHEME = "s3://"
EXPECTED = "expected s3://BUCKET/KEY, s3://BUCKET/PREFIX/ or s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/KEY"

# Names with slashes in them, as the AWS CLI's find_bucket_key splits them.
_ACCESS_POINT = re.compile(r"(arn:aws[^:/]*:s3:[a-z\-0-9]*:[0-9]{12}:accesspoint[:/][^/]+)/?(.*)", re.DOTALL)
_OUTPOST = re.compile(
    r"(arn:aws[^:/]*:s3-outposts:[a-z\-0-9]+:[0-9]{12}:outpost[/:][a-zA-Z0-9\-]{1,63}[/:]accesspoint"
    r"[/:][a-zA-Z0-9\-]{1,63})[/:]?(.*)",
    re.DOTALL,
)
_BUCKET = re.compile(r"[a-zA-Z0-9.\-_]{1,255}")
_MAGIC = re.compile(r"[*?[]")


@frozen
class S3Url:
    """``bucket``: a name or an access point's ARN. ``key``: ends with / (or is empty) where a prefix is meant."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    @property
    def is_prefix(self) -> bool:
        return not self.key or self.key.endswith("/")

    @property
    def is_glob(self) -> bool:
        return bool(_MAGIC.search(self.key))

    @property
    def fixed(self) -> str:
        """What every key that is named begins with."""
        magic = _MAGIC.search(self.key)
        return self.key[: magic.start()] if magic else self.key

    @property
    def folder(self) -> str:
        """The part of ``fixed`` up to its last slash."""
        return self.fixed[: self.fixed.rfind("/") + 1]


def parse(url: str) -> S3Url:
    """The URL's parts. ValueError says what was expected."""
    if not url.startswith(SCHEME):
        raise ValueError(EXPECTED)
    rest = url.removeprefix(SCHEME)
    for pattern in (_ACCESS_POINT, _OUTPOST):
        if match := pattern.fullmatch(rest):
            return S3Url(match[1], match[2])
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(EXPECTED)
    return S3Url(bucket, key)


def named_by(url: S3Url, keys: Iterable[str]) -> list[str]:
    """Those of ``keys`` that a prefix or glob names.

    A prefix: those directly under it whose names do not begin with ``.`` or ``_``. A glob: as Python's, so ``*``
    does not match a slash, ``**`` does, and neither matches a name that begins with a dot. Folder markers (keys
    that end with a slash) are none of either.
    """
    if url.is_glob:
        found = [key for key in keys if matches(url.key, key)]
    else:
        names = ((key, key.removeprefix(url.key)) for key in keys if key.startswith(url.key))
        found = [key for key, name in names if name and "/" not in name and not name.startswith((".", "_"))]
    return [key for key in found if not key.endswith("/")]


def in_order(keys: Iterable[str]) -> list[str]:
    """Each of them once, in natural order: ``part-2`` before ``part-10``."""
    from natsort import natsorted, ns  # late, because most runs are of objects by name

    return natsorted(sorted(set(keys)), alg=ns.PATH)  # sorted first: part-1 and part-01 are equal to natsort
