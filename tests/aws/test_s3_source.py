"""S3 sources over HTTP: what is found, how it is pinned, read, and taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from csv2kafka.sources.s3 import S3Source
from csv2kafka.testing import SourceConformance
from csv2kafka.testing.source_conformance import LARGE
from tests.aws.conftest import Aws


class TestS3Source(SourceConformance):
    """By ETag: the bucket keeps no versions."""

    versioned = False

    @pytest.fixture(autouse=True)
    def _bucket(self, aws: Aws, make_bucket: Callable[..., str]) -> None:
        self.s3, self.bucket = aws.client("s3"), make_bucket(versioned=self.versioned)
        self.made: list[S3Source] = []

    def put(self, objects: Sequence[tuple[str, bytes]]) -> None:
        for name, content in objects:
            self.s3.put_object(Bucket=self.bucket, Key=f"in/{name}", Body=content)

    def make(self) -> S3Source:
        self.made.append(S3Source(f"s3://{self.bucket}/in/"))
        return self.made[-1]

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        async def closing() -> None:
            try:
                await main
            finally:
                for source in self.made:
                    await source.close()

        asyncio.run(closing())


class TestS3SourceOfVersions(TestS3Source):
    """By VersionId: what was replaced is still there, and is read to its end."""

    versioned = True

    def test_a_change_is_seen_by_confirm_and_by_read(self) -> None:
        self.put([("part-1.csv", b"a,b\n1,2\n")])

        async def main() -> None:
            source = self.make()
            (obj,) = [obj async for obj in source.objects()]
            self.put([("part-1.csv", b"a,b\n1,3\n")])
            for asked in (source, self.make()):
                await asked.confirm(obj)
                assert b"".join([block async for block in asked.read(obj, 4)]) == b"1,2\n"
            (new,) = [obj async for obj in source.objects()]
            assert new.version != obj.version, "the next run sees that it was replaced"

        self.run(main())

    def test_a_change_while_reading_is_seen_before_the_end(self) -> None:
        self.put([("part-1.csv", LARGE)])

        async def main() -> None:
            source = self.make()
            (obj,) = [obj async for obj in source.objects()]
            reading = source.read(obj, 0)
            blocks = [await anext(reading)]
            self.put([("part-1.csv", LARGE[:-1] + b"!")])
            blocks += [block async for block in reading]
            assert b"".join(blocks) == LARGE

        self.run(main())
