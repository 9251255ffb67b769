"""A share of the campaign over record batches, and what is too large for its seeds."""

from __future__ import annotations

import pytest

from csv2kafka.errors import StateContradiction
from csv2kafka.kernel._python.compression import COMPRESSIONS, decompress
from tests import twins
from tests.hostile import batches
from tests.hostile.campaign import campaign

MIB = 1 << 20


def test_batches_that_lie() -> None:
    tally = campaign("batches", batches.try_one, count=2000, first=1)
    assert tally.ends["refused"] > 500
    assert tally.ends["taken"] > 500


def test_fetched_bytes_that_lie() -> None:
    tally = campaign("streams", batches.try_stream, count=1500, first=1)
    assert tally.ends["Doubt"] > 500
    assert tally.ends["taken"] > 100


@pytest.mark.parametrize("codec", COMPRESSIONS[1:])
def test_a_bomb_stops_at_the_limit(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is 256 MiB; a smaller one does for the test."""
    bomb = batches.bomb(codec, 3 * MIB)
    with pytest.raises(StateContradiction, match="decompresses to more than"):
        decompress(batches.packed(codec, bytes(3 * MIB)), codec, MIB)
    if twins.native is not None:
        monkeypatch.setitem(twins.native.unpack_batch.__globals__, "MAX_UNPACKED", MIB)
        with pytest.raises(StateContradiction, match="decompresses to more than"):
            twins.native.unpack_batch(bomb)


@pytest.mark.parametrize("name", ["python", "native"])
def test_an_endless_number_takes_no_longer_than_its_bytes(name: str) -> None:
    """Kept bit for bit, each of its bytes would cost as much as all before it: some hours for a batch."""
    with pytest.raises(StateContradiction, match="malformed"):
        twins.kernel_of(name).unpack_batch(batches.whole("none", b"\xff" * (4 * MIB), 1))


@pytest.mark.parametrize("name", ["python", "native"])
@pytest.mark.parametrize("count", [2**31 - 1, -1, -(2**31)])
def test_a_count_that_lies_takes_no_memory(name: str, count: int) -> None:
    with pytest.raises(StateContradiction, match="malformed"):
        twins.kernel_of(name).unpack_batch(batches.whole("zstd", batches.packed("zstd", bytes(MIB)), count))
