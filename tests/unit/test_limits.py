"""The pipeline's options at their limits: the last value that is taken, and the first that is not."""

from __future__ import annotations

from typing import Any

import pytest

from csv2kafka.checks import check_options
from csv2kafka.errors import ConfigError
from csv2kafka.model import Dialect

SOUND: dict[str, Any] = {
    "dialect": Dialect(),
    "encoder_dialect": None,
    "encoding": "utf-8",
    "max_record": 100,
    "checkpoint_interval": 1.0,
    "checkpoint_rows": None,
    "connect_timeout": 1.0,
    "give_up_after": None,
    "on_bad_row": "fail",
    "on_foreign": "stop",
}


@pytest.mark.parametrize(
    ("option", "taken", "refused"),
    [
        ("max_record", 1, 0),
        ("max_record", 1 << 30, (1 << 30) + 1),
        ("checkpoint_interval", 0.01, 0.009),
        ("checkpoint_interval", 30, 30.1),
        ("checkpoint_rows", 1, 0),
        ("connect_timeout", 0, -0.1),
        ("connect_timeout", 0.5, -1),
        ("give_up_after", 0, -0.1),
        ("give_up_after", 0.5, -1),
    ],
)
def test_an_option_is_taken_up_to_its_limit(option: str, taken: float, refused: float) -> None:
    check_options(**{**SOUND, option: taken})
    with pytest.raises(ConfigError, match=option):
        check_options(**{**SOUND, option: refused})
