"""The prices of prices.toml: each with its unit and the page it is from, all of one date and region."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from attrs import frozen

GOOD_FOR = datetime.timedelta(days=365)


@frozen(kw_only=True)
class Price:
    """What one ``unit`` costs, and where AWS says so. A share is told as one, too."""

    usd: float
    unit: str
    source: str


@frozen(kw_only=True)
class Prices:
    """``of["s3_get"]`` is dollars for one unit."""

    date: datetime.date
    region: str
    currency: str
    named: Mapping[str, Price]

    @property
    def of(self) -> Mapping[str, float]:
        return {name: price.usd for name, price in self.named.items()}

    def are_old(self, today: datetime.date) -> bool:
        """Whether they are more than a year old."""
        return today - self.date > GOOD_FOR


@cache
def prices() -> Prices:
    """Those that come with this package."""
    raw = tomllib.loads(files(__package__).joinpath("prices.toml").read_text(encoding="utf-8"))
    return Prices(
        date=raw["date"],
        region=raw["region"],
        currency=raw["currency"],
        named={name: Price(**entry) for name, entry in raw["prices"].items()},
    )
