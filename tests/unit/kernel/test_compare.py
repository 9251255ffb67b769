"""Equal rows of two columns of records, wherever they begin."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csv2kafka import kernel
from csv2kafka.testing import records
from csv2kafka.testing.values import Row

pytestmark = pytest.mark.usefixtures("each_kernel")

# Short values of two letters: equal bytes that are cut elsewhere are frequent.
values = st.lists(st.binary(max_size=2).map(lambda data: bytes(97 + byte % 2 for byte in data)), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the kernel is the same for all examples
@given(values, values, st.data(), st.sampled_from(["none", "both", "left"]))
def test_it_counts_what_comparing_row_by_row_counts(
    left: list[bytes], right: list[bytes], data: st.DataObject, keys: str
) -> None:
    a_first, b_first = data.draw(st.integers(0, len(left))), data.draw(st.integers(0, len(right)))
    count = data.draw(st.integers(0, min(len(left) - a_first, len(right) - b_first)))
    a: list[Row] = [(value[:1] if keys != "none" else None, value) for value in left]
    b: list[Row] = [(value[:1] if keys == "both" else None, value) for value in right]
    pairs = zip(a[a_first : a_first + count], b[b_first : b_first + count], strict=True)
    expected = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    assert kernel.equal_rows(records(a), a_first, records(b), b_first, count) == expected


def test_equal_bytes_cut_elsewhere_are_not_equal() -> None:
    assert (
        kernel.equal_rows(records([(None, b"ab"), (None, b"c")]), 0, records([(None, b"a"), (None, b"bc")]), 0, 2) == 0
    )


def test_a_key_counts() -> None:
    one, other = records([(b"k", b"v"), (b"k", b"v")]), records([(b"k", b"v"), (b"l", b"v")])
    assert kernel.equal_rows(one, 0, other, 0, 2) == 1
    assert kernel.equal_rows(one, 0, records([(None, b"v")]), 0, 1) == 0
