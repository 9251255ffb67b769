"""What a load costs in AWS on each target: arithmetic over the prices of one dated file, nothing is asked.

load (rows, bytes, time) ──┐
                           ├─▶ Cost of each target: its parts, their sum, and what was assumed
prices.toml ───────────────┘
"""

from __future__ import annotations

from csv2kafka.cost.estimate import TARGETS, Cost, Load, Target, cost, standing
from csv2kafka.cost.prices import Price, Prices, prices

__all__ = ["TARGETS", "Cost", "Load", "Price", "Prices", "Target", "cost", "prices", "standing"]
