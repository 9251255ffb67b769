"""The content hash, pinned: checkpoints hold it from run to run and version to version."""

from __future__ import annotations

from array import array

import pytest
from xxhash import xxh3_64_intdigest, xxh3_128_intdigest

from csv2kafka import kernel
from csv2kafka.model import Records
from csv2kafka.model.state import DIGEST_MULTIPLIER, ContentHash

pytestmark = pytest.mark.usefixtures("each_kernel")


def test_rows_fold_in_order() -> None:
    records = Records(values=b"onetwo", value_ends=array("I", [3, 6]))
    one, two = xxh3_128_intdigest(b"one"), xxh3_128_intdigest(b"two")
    assert kernel.digest(records) == (one * DIGEST_MULTIPLIER + two) % (1 << 128)
    assert str(ContentHash(value=kernel.digest(records))) == "81ab9b46b93e393f9f099b7fdc89402b"


def test_a_key_counts_and_an_empty_one_is_not_none() -> None:
    without = Records(values=b"one", value_ends=array("I", [3]))
    empty = Records(values=b"one", value_ends=array("I", [3]), keys=b"", key_ends=array("I", [0]))
    keyed = Records(values=b"one", value_ends=array("I", [3]), keys=b"k", key_ends=array("I", [1]))
    assert kernel.digest(keyed) == xxh3_128_intdigest(b"one", xxh3_64_intdigest(b"k"))
    assert len({kernel.digest(without), kernel.digest(empty), kernel.digest(keyed)}) == 3


def test_no_rows() -> None:
    assert kernel.digest(Records(values=b"", value_ends=array("I"))) == 0
