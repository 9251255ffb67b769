"""The DynamoDB store against moto."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine
from typing import Any

import pytest

from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.testing import CheckpointStoreConformance
from tests.aws.conftest import Aws
from tests.aws.stores import make_table, run_virtual


@pytest.fixture
def table(aws: Aws) -> str:
    """The name of a new table."""
    name = f"table-{uuid.uuid4().hex[:12]}"
    make_table(name)
    return name


class TestConformance(CheckpointStoreConformance):
    lease_seconds = 15.0

    @pytest.fixture(autouse=True)
    def _table(self, table: str) -> None:
        self.table = table

    def make(self) -> DynamoDBStore:
        return DynamoDBStore(self.table, lease_seconds=self.lease_seconds)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        run_virtual(main)
