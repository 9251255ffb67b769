"""Two owners of one job in DynamoDB and in S3, under any sequence of events: the laws of ``test_stores.Leases``."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from csv2kafka.checkpoints.dynamodb import DynamoDBStore
from csv2kafka.checkpoints.s3 import S3Store
from csv2kafka.model import JobStatus
from csv2kafka.protocols import CheckpointStore
from tests.aws.conftest import Aws
from tests.aws.stores import Answers, requests_take_no_time
from tests.properties.test_stores import JOB, Leases


class AwsLeases(Leases):
    """At most one can save at a time, epochs rise, what was saved last is loaded, a lost lease saves nothing; also
    when answers are lost."""

    answers = Answers()
    looks = 0

    def make(self, corner: str) -> CheckpointStore:
        """One of the stores of this example."""
        raise NotImplementedError

    def open_stores(self) -> dict[str, CheckpointStore]:
        corner = uuid.uuid4().hex
        return {owner: self.make(corner) for owner in "ab"}

    @rule(number=st.integers(1, 3))
    def next_answers_are_lost(self, number: int) -> None:
        self.answers.lost = number

    @precondition(lambda self: len(self.held) == 1 and self.holder in self.held)
    @rule()
    def taken_over_and_only_then_given_back(self) -> None:
        """What a run that was asleep does; single rules seldom come to it, and to what shows that it freed nothing."""
        (asleep,) = self.held
        successor = "b" if asleep == "a" else "a"
        self.take(successor)
        self.leave(asleep)
        self.renew(successor)

    @invariant()
    def every_client_sees_the_model(self) -> None:
        """One of them at a time: most of what this test takes is asking."""
        self.looks += 1
        store = self.stores["ab"[self.looks % 2]]
        assert self.run(store.load(JOB)) == self.checkpoint
        statuses = self.run(listed(store))
        assert [status.checkpoint for status in statuses] == ([self.checkpoint] if self.checkpoint else [])
        assert all(status.owner == self.holder for status in statuses)
        if self.looks % 4 == 0:
            assert self.run(store.load_manifest(JOB)) == self.manifest

    def teardown(self) -> None:
        self.answers.lost = 0
        if hasattr(self, "runner"):
            for context, _ in [*self.held.values(), *self.dead]:
                self.run(context.__aexit__(None, None, None))
            self.held, self.dead = {}, []
            for store in self.stores.values():
                self.run(store.close())
        super().teardown()


@pytest.mark.timeout(300)
def test_dynamodb(aws: Aws) -> None:
    class Machine(AwsLeases):
        def make(self, corner: str) -> CheckpointStore:
            return DynamoDBStore(corner)

        def open_stores(self) -> dict[str, CheckpointStore]:
            stores = super().open_stores()
            self.run(create(stores["a"]))
            return stores

    run(Machine)


@pytest.mark.timeout(300)
def test_s3(aws: Aws, bucket: str) -> None:
    class Machine(AwsLeases):
        def make(self, corner: str) -> CheckpointStore:
            return S3Store(bucket, corner)

    run(Machine)


async def listed(store: CheckpointStore) -> list[JobStatus]:
    return [status async for status in store.jobs()]


async def create(store: CheckpointStore) -> None:
    assert isinstance(store, DynamoDBStore)
    await store.create()


def run(machine: type[AwsLeases]) -> None:
    # A failure is shown as it was found: to make it smaller would take moto minutes.
    once = settings(max_examples=10, stateful_step_count=25, deadline=None, phases=[Phase.reuse, Phase.generate])
    with requests_take_no_time(AwsLeases.answers):
        run_state_machine_as_test(machine, settings=once)
