"""What every configuration shares: the groups that help shows options in, and conversion and checking on building."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from csv2kafka.config import kinds
from csv2kafka.config.option import Contradiction, converted, option, options

SOURCE, TO, CSV, GUARANTEES, BAD_ROWS, PATIENCE, SEEN = (
    "Source",
    "Where to",
    "The CSV",
    "Guarantees",
    "Bad rows",
    "Patience",
    "What you see",
)
GROUPS = (SOURCE, TO, CSV, GUARANTEES, BAD_ROWS, PATIENCE, SEEN)

TOPIC = kinds.text(
    "TOPIC", "a topic name (letters, digits, '.', '_', '-'; at most 249)", r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}"
)


@frozen(kw_only=True, slots=False)  # slots do not go with the two bases of RunConfig
class CommonConfig:
    """What every configuration has."""

    debug: bool = option(
        kinds.switch(),
        group=SEEN,
        help="Show tracebacks and what the Kafka client logs.",
        default=False,
        off="--no-debug",
        verify=True,
    )

    def __attrs_post_init__(self) -> None:
        given = {name: getattr(self, name) for name in options(type(self))}
        for name, value in converted(type(self), given, type(self).contradictions).items():
            object.__setattr__(self, name, value)

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[Contradiction]:
        """What is wrong between options that are each right."""
        yield from ()
