"""The kernels against each other on random input (tests/fuzz.py): some minutes in CI, a moment elsewhere."""

from __future__ import annotations

import pytest

from tests import fuzz, twins
from tests.conftest import IN_CI

MINUTES = 2.0 if IN_CI else 0.1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_difference_on_random_input() -> None:
    twins.kernel_of("native")
    _, count = fuzz.campaign(MINUTES)
    assert count > 0
