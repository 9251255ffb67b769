"""The version of an object that a job began with, and the text that says it."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Pin:
    """One of the two is empty: ``version_id`` where the bucket keeps versions, else ``etag`` (quotes included)."""

    version_id: str = ""
    etag: str = ""

    @classmethod
    def of(cls, version: str) -> Pin:
        """From ``versionId=…`` or ``etag="…"``."""
        kind, _, value = version.partition("=")
        return cls(version_id=value) if kind == "versionId" else cls(etag=value)

    def __str__(self) -> str:
        return f"versionId={self.version_id}" if self.version_id else f"etag={self.etag}"

    @property
    def parameters(self) -> dict[str, str]:
        """That make a request be of this version only."""
        return {"VersionId": self.version_id} if self.version_id else {"IfMatch": self.etag}

    @property
    def action(self) -> str:
        """The IAM permission to read it."""
        return "s3:GetObjectVersion" if self.version_id else "s3:GetObject"


@frozen(kw_only=True)
class Described:
    """What S3 says of an object. ``version_id`` is empty where its bucket keeps no versions."""

    size: int
    etag: str
    version_id: str

    @property
    def pin(self) -> Pin:
        return Pin(version_id=self.version_id) if self.version_id else Pin(etag=self.etag)
