"""A share of the campaign over what runs go on from."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator

import pytest

from csv2kafka.checkpoints.dynamodb_item import as_written, holder_of, unpacked
from csv2kafka.errors import DataError, StateContradiction
from csv2kafka.model import ResumePoint
from tests import compressed
from tests.hostile import checkpoints
from tests.hostile.campaign import campaign
from tests.hostile.forked import Forked, forked

PACKED = gzip.compress(b"x" * 99)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    with forked(tmp_path_factory.mktemp("hostile")) as made:
        yield made


def test_checkpoints_manifests_and_claims() -> None:
    tally = campaign("json", checkpoints.try_json, count=1500, first=1)
    assert tally.ends["StateContradiction"] > 500
    assert tally.ends["as it was"] > 10


def test_items_and_objects_of_the_stores_in_aws() -> None:
    tally = campaign("stores", checkpoints.try_stores, count=150, first=1)
    assert tally.ends["refused"] > 50
    assert tally.ends["as it was"] > 10


def test_states_of_decoders() -> None:
    tally = campaign("states", checkpoints.try_states, count=30, first=1)
    assert tally.ends["StateContradiction"] > 10


def test_the_database_of_a_run_that_stopped(command: Forked) -> None:
    base = command.directory
    campaign("sqlite", lambda seed: checkpoints.try_sqlite(seed, command, base), count=8, first=1)


@pytest.mark.parametrize("state", [state for state in checkpoints.STATES if state != "-1"])
async def test_a_state_that_no_decoder_gave_is_refused(state: str) -> None:
    data = "id,name\n1,x\n".encode("utf-16") * 2
    point = ResumePoint(offset=2, state=state)
    with pytest.raises((StateContradiction, DataError)):
        await asyncio.wait_for(compressed.decoded(data, start=point, offset=7, encoding="utf-16"), 20)


@pytest.mark.parametrize(
    "value", [{"B": b""}, {"B": b"x"}, {"B": gzip.compress(bytes(65 << 20))}, {"B": PACKED[:-9]}, {"N": "1"}]
)
def test_what_is_not_packed_as_it_should_be_is_refused(value: dict[str, object]) -> None:
    """A bomb among it: an item of 400 KB may become 400 MB."""
    with pytest.raises(StateContradiction, match=r"^here: not an item"), as_written("here"):
        unpacked(value)


def test_a_lease_that_lacks_a_part_is_refused() -> None:
    with pytest.raises(StateContradiction, match=r"^here: not an item"), as_written("here"):
        holder_of({"owner": {"S": "me"}})
