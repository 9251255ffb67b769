"""How ``csv2kafka check`` shows what it finds."""

from __future__ import annotations

import pytest

from csv2kafka.cli.check import line
from csv2kafka.errors import ConfigError
from csv2kafka.model.findings import Finding


@pytest.mark.parametrize(
    ("name", "message", "shown"),
    [
        ("topic orders: rights", "topic orders: this user may not Write", "this user may not Write"),
        ("broker host:9092", "host:9092: no answer in time", "no answer in time"),
        ("source", "1 object: /a.csv", "1 object: /a.csv"),
        ("topic orders", "there is no topic orders", "there is no topic orders"),
        ("source", "source: /a.csv", "/a.csv"),
    ],
)
def test_a_line_says_once_what_it_is_about(name: str, message: str, shown: str) -> None:
    finding = Finding.failed(name, ConfigError(message, hint="do this"))
    assert line(finding, marks=True).plain == f"✗ {name}: {shown}\n    → do this"
