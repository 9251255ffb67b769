"""Two owners of one job in DynamoDB and in S3, under any sequence of events: the laws of ``test_stores.Leases``."""

from __future__ import annotations

import uuid

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.checkpoints.s3 import S3Store
from csv2kafka.protocols import CheckpointStore
from tests.aws.conftest import Aws
from tests.aws.stores import Answers, requests_take_no_time
from tests.properties.test_stores import Leases


class AwsLeases(Leases):
    """At most one can save at a time, epochs rise, what was saved last is loaded, a lost lease saves nothing; also
    when answers are lost."""

    answers = Answers()

    def make(self, corner: str) -> CheckpointStore:
        """One of the stores of this example."""
        raise NotImplementedError

    def open_stores(self) -> dict[str, CheckpointStore]:
        corner = uuid.uuid4().hex
        return {owner: self.make(corner) for owner in "ab"}

    @rule(number=st.integers(1, 3))
    def next_answers_are_lost(self, number: int) -> None:
        self.answers.lost = number

    def teardown(self) -> None:
        self.answers.lost = 0
        if hasattr(self, "runner"):
            for context, _ in [*self.held.values(), *self.dead]:
                self.run(context.__aexit__(None, None, None))
            self.held, self.dead = {}, []
            for store in self.stores.values():
                self.run(store.close())
        super().teardown()


def test_dynamodb(aws: Aws) -> None:
    class Machine(AwsLeases):
        def make(self, corner: str) -> CheckpointStore:
            return DynamoDBStore(corner)

        def open_stores(self) -> dict[str, CheckpointStore]:
            stores = super().open_stores()
            self.run(create(stores["a"]))
            return stores

    run(Machine)


def test_s3(aws: Aws, bucket: str) -> None:
    class Machine(AwsLeases):
        def make(self, corner: str) -> CheckpointStore:
            return S3Store(bucket, corner)

    run(Machine)


async def create(store: CheckpointStore) -> None:
    assert isinstance(store, DynamoDBStore)
    await store.create()


def run(machine: type[AwsLeases]) -> None:
    with requests_take_no_time(AwsLeases.answers):
        run_state_machine_as_test(machine, settings=settings(max_examples=6, stateful_step_count=20, deadline=None))
