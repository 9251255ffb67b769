"""The S3 store against moto."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from csv2kafka.checkpoints.s3 import S3Store
from csv2kafka.testing import CheckpointStoreConformance
from tests.aws.conftest import Aws
from tests.aws.stores import run_virtual


class TestConformance(CheckpointStoreConformance):
    lease_seconds = 15.0

    @pytest.fixture(autouse=True)
    def _bucket(self, aws: Aws, bucket: str) -> None:
        self.bucket = bucket

    def make(self) -> S3Store:
        return S3Store(self.bucket, "checkpoints", lease_seconds=self.lease_seconds)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        run_virtual(main)
