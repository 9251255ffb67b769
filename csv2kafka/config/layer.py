"""A layer of raw values, and how one sets aside what weaker ones say of the destination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

_DESTINATIONS = (("topic", "bootstrap_servers", "partition"), ("output",))


@frozen
class Layer:
    """Raw values by field name. ``origin``: how errors say where they came from."""

    values: dict[str, Any]
    origin: str = ""


def settle_destination(layers: Sequence[Layer]) -> None:
    """The strongest layer that names a destination decides whether it is Kafka or a file."""
    for place, layer in enumerate(layers):
        named = [group for group in _DESTINATIONS if any(name in layer.values for name in group)]
        if not named:
            continue
        aside = [name for group in _DESTINATIONS if group not in named for name in group]
        for weaker in layers[place + 1 :]:
            for name in aside:
                weaker.values.pop(name, None)
        return
