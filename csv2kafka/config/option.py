"""What is said about an option, once: its kind, default, help, example, group and short flag.

It stands in the metadata of the attrs field, and from it come the flag, the environment variable, the TOML key,
the errors and the reference page. A field ``max_record`` is ``--max-record``, ``CSV2KAFKA_MAX_RECORD`` and
``max-record``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import attrs
from attrs import NOTHING, Attribute, frozen

from csv2kafka.config.kinds import Kind
from csv2kafka.config.references import references
from csv2kafka.errors import ConfigError

PREFIX = "CSV2KAFKA_"
_OPTION = "csv2kafka.option"

Contradiction = tuple[tuple[str, ...], str]  # the fields it is about, what is wrong


@frozen(kw_only=True)
class Option:
    """An option of the command. ``off``: the flag that switches it off again, for switches.

    ``verify``: the verify command takes it too. ``positional``: an argument, not a flag.
    """

    name: str
    kind: Kind
    group: str
    help: str
    default: Any
    example: str = ""
    short: str = ""
    off: str = ""
    verify: bool = False
    positional: bool = False
    repeatable: bool = False

    @property
    def required(self) -> bool:
        return self.default is NOTHING

    @property
    def is_switch(self) -> bool:
        return bool(self.off)

    @property
    def key(self) -> str:
        """The TOML key."""
        return self.name.replace("_", "-")

    @property
    def flag(self) -> str:
        return self.kind.metavar if self.positional else f"--{self.key}"

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def label(self) -> str:
        """How errors name it: flag, variable and TOML key."""
        key = f"[{self.key}]" if self.repeatable and not self.positional else self.key
        return f"{self.flag} (environment {self.variable}, file key {key})"

    def label_of(self, name: str) -> str:
        """The same for one value of those that it holds by name."""
        return f"{self.flag} {name}=… (environment {self.variable}_{name.upper()}, file key [{self.key}] {name})"

    @property
    def default_text(self) -> str:
        return "" if self.required else self.kind.show(self.default)


def option(kind: Kind, *, group: str, help: str, default: Any = NOTHING, **more: Any) -> Any:
    """An attrs field that is an option; ``more`` as in ``Option``."""
    said = {"kind": kind, "group": group, "help": help, "default": default, **more}
    return attrs.field(default=default, repr=kind.show if kind.keyed else True, metadata={_OPTION: said})


def options(cls: type) -> Mapping[str, Option]:
    """The options of a configuration class by field name."""
    fields: tuple[Attribute[Any], ...] = attrs.fields(cls)
    return {f.name: Option(name=f.name, **f.metadata[_OPTION]) for f in fields}


def converted(
    cls: type,
    raw: Mapping[str, Any],
    contradictions: Callable[[Mapping[str, Any]], Iterator[Contradiction]],
    origins: Mapping[str, str] | None = None,
    refused: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """``raw`` as the values of the fields of ``cls``. ``origins``: where each came from, for the errors. ``refused``:
    what is wrong with fields that are therefore not in ``raw``.

    Raises ConfigError with all problems: first those of single options, then those between options that are
    each right.
    """
    values: dict[str, Any] = {}
    refused = refused or {}
    problems: dict[str, str] = {}
    for name, said in options(cls).items():
        if name in refused:
            continue
        given = raw.get(name, said.default)
        if given is NOTHING:
            problems[name] = f"{said.label}: is needed"
            continue
        unknown = next(references(given), None)
        if unknown is not None:
            way = "load(…, resolve=csv2kafka.aws.secrets.resolve) does that"
            problems[name] = f"{said.label}: {unknown} was not looked up; {way}"
            continue
        try:
            values[name] = said.kind.parse(given)
        except ValueError as error:
            origin = (origins or {}).get(name, "")
            problems[name] = f"{said.label}: {error}{f' {origin}' if origin else ''}"
    told = [problem for found in refused.values() for problem in found] + list(problems.values())
    # A field that could not be read counts as its default, so that the rest can still be held against it.
    assumed = {name: said.default for name, said in options(cls).items()} | values
    told += [what for about, what in contradictions(assumed) if (problems.keys() | refused.keys()).isdisjoint(about)]
    if told:
        raise ConfigError(*told)
    return values


def did_you_mean(word: str, known: Iterator[str] | list[str]) -> str:
    """``; did you mean …?`` or nothing."""
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
