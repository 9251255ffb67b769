"""Array jobs: one file for many jobs, with an ``[[array]]`` table for each that says what is its own.

AWS Batch starts the same command many times with the same environment, and tells each child its number, from 0, in
AWS_BATCH_JOB_ARRAY_INDEX. The child's table is stronger than the rest of the file. Every child looks at all tables
and refuses the same mistakes, so that a wrong file starts nothing, and not a half of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from csv2kafka.config.layer import Layer, settle_destination
from csv2kafka.config.option import PREFIX, Option, options
from csv2kafka.config.references import references
from csv2kafka.config.run import RunConfig
from csv2kafka.errors import ConfigError

KEY = "array"
INDEX, SIZE = "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"
TOLD = 10

_OWN = ("sources", "topic", "partition", "output", "job")


@frozen(kw_only=True)
class Children:
    """The tables of a file, in order. ``name``: the file's, for errors. ``shared``: the layer of what stands above
    them."""

    name: str
    shared: Layer
    tables: Sequence[Layer]

    def chosen(self, environ: Mapping[str, str], reads: Mapping[str, Option]) -> int | None:
        """The child that this process is. None: it need not be known, as no table has anything that is read here.

        ConfigError where it is needed and not told, or there is none of that number.
        """
        count = len(self.tables)
        size, index = environ.get(SIZE), environ.get(INDEX)
        if size and size != str(count):
            raise ConfigError(
                f"{self.name}: the array job has {size} children, and the file has {count} [[{KEY}]] tables: start it "
                f"with as many as there are tables"
            )
        if not index and not any(name in reads for table in self.tables for name in table.values):
            return None
        if not index:
            raise ConfigError(
                f"{self.name}: has {count} [[{KEY}]] tables, for the children of an array job, and {INDEX} is not set: "
                f"AWS Batch sets it; to look at one child elsewhere, set it to 0 … {count - 1}"
            )
        if not (index.isascii() and index.isdigit() and int(index) < count):
            raise ConfigError(
                f"{self.name}: expected {INDEX} to be 0 … {count - 1}, as there are {count} [[{KEY}]] tables, "
                f"found {index!r}"
            )
        return int(index)

    def problems(self, environment: Layer, chosen: int | None) -> list[str]:
        """What is wrong with the tables besides what their keys are. Of ``chosen`` not what its values are: that is
        told as any option's is. ``environment``: the layer above."""
        found = [*self._wrong(chosen), *self._overruled(environment), *self._shared(environment)]
        return first_of(found, self.name)

    def _wrong(self, chosen: int | None) -> Iterator[str]:
        for number, table in enumerate(self.tables):
            for name, value in table.values.items() if number != chosen else ():
                if next(references(value), None) is None:
                    try:
                        _known()[name].kind.parse(value)
                    except ValueError as error:
                        yield f"{_known()[name].label}: {error} {table.origin}"

    def _overruled(self, environment: Layer) -> Iterator[str]:
        """The environment wins, and is the same for all children: what a table says against it would be lost."""
        told: set[str] = set()
        for table in self.tables:
            own = Layer(dict(table.values))
            settle_destination([environment, own])
            names = [name for name in table.values if not _known()[name].kind.keyed]  # those are merged
            for name in names:
                if name not in told and (name in environment.values or name not in own.values):
                    told.add(name)
                    yield (
                        f"{_known()[name].label}: the environment says it for all children, against what stands "
                        f"{table.origin}: take it out of there (empty counts as not set)"
                    )

    def _shared(self, environment: Layer) -> Iterator[str]:
        """Two that write to one place would mix their rows; two of one name are one job."""
        first: dict[str, int] = {}
        for number, table in enumerate(self.tables):
            layers = [environment, Layer(dict(table.values)), Layer(dict(self.shared.values))]
            settle_destination(layers)
            counts = layers[2].values | layers[1].values | environment.values
            for what, hint in _places(counts):
                before = first.setdefault(what, number)
                if before != number:
                    yield f"{self.name}: children {before} and {number} both have {what}: {hint}"


def first_of(problems: Sequence[str], name: str) -> list[str]:
    """Those that are told: thousands of tables may all be wrong in the same way."""
    more = [f"{name}: and {len(problems) - TOLD} more like these"] if len(problems) > TOLD else []
    return [*problems[:TOLD], *more]


def same_for_all(environ: Mapping[str, str], flags: Mapping[str, Any], name: str) -> str | None:
    """What is wrong with a child of an array job that nothing tells from the others: no tables, and a command line
    without what could be its own. ``name``: the file, empty if there is none."""
    index = environ.get(INDEX)
    if not index or any(own in flags for own in _OWN):
        return None
    found = f"{name} has no [[{KEY}]] tables" if name else f"no file with [[{KEY}]] tables is given"
    return (
        f"--config (environment {PREFIX}CONFIG): this is child {index} of an array job ({INDEX}), and {found}: every "
        "child would do the same job. Give a file with a table for each, or start one ordinary job"
    )


@functools.cache
def _known() -> Mapping[str, Option]:
    return options(RunConfig)


def _places(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What no other child may have, and what to do about it."""
    if output := _value(values, "output"):
        yield f"output {output}", "give each a file of its own"
    elif topic := _value(values, "topic"):
        partition = _value(values, "partition")
        yield f"topic {topic}, partition {partition}", "give each a partition of its own, or the rows of both are mixed"
    if job := _value(values, "job"):
        yield f"job {job}", "give each a name of its own, or leave it out"


def _value(values: Mapping[str, Any], name: str) -> Any:
    """As it will be, so that 1 and "1" are the same; as it stands, if it is none."""
    said = _known()[name]
    given = values.get(name, said.default)
    try:
        return said.kind.parse(given)
    except ValueError:
        return given
